//! Settings that would strand or lose what is in Redis are refused at the start; a spool
//! moves to Redis, and away from there.

use rustix::process::Signal;

#[path = "support/command.rs"]
mod command;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
mod redis_gateway_support;
mod redis_support;
#[path = "support/sink.rs"]
mod sink;

use command::{run, stashgate};
use gateway::{Setup, eventually};
use http::{ask, get, post};
use redis_gateway_support::*;
use redis_support::{RedisServer, ServerKind};
use sink::Sink;

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_may_evict_is_refused_unless_it_is_allowed() {
    let kind = ServerKind {
        more: vec!["maxmemory-policy allkeys-lru".into()],
        ..ServerKind::default()
    };
    let server = RedisServer::start_as(kind);
    let sink = Sink::start();
    let refused = refusal(&setup(&sink, &server, "")).await;
    assert!(
        refused.contains("set it to noeviction, or say allow_eviction = true"),
        "{refused}"
    );

    let allowed = setup(&sink, &server, "allow_eviction = true");
    let _gateway = allowed.start_and_wait().await;
    is_ready(&allowed).await;
    let warnings = allowed.status().await["warnings"].to_string();
    assert!(
        warnings.contains("maxmemory-policy allkeys-lru"),
        "{warnings}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_gone_from_the_settings_is_not_left_behind_in_redis() {
    let server = RedisServer::start();
    let listener = blocked();
    let address = listener.local_addr().expect("bound");
    let audit =
        format!("[queues.audit.output]\nprotocol = \"json_lines\"\nhosts = [\"{address}\"]\n");
    let both = Setup::new(address, &(audit + &redis_at(&server, "")));
    let gateway = both.start_and_wait().await;
    is_ready(&both).await;
    let head = format!(
        "POST /v1/events?queue=audit HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson",
        both.http
    );
    assert_eq!(ask(both.http, &head, &events(0..5)).status, 200);
    // While a living gateway sends it, another one need not.
    let one = Setup::new(address, &redis_at(&server, ""));
    let beside = one.start_and_wait().await;
    is_ready(&one).await;
    let seen = one.status().await["redis"].take();
    assert!(seen["fault"].is_null(), "{seen}");
    assert_eq!(beside.terminate().await, Some(0));
    assert_eq!(gateway.terminate().await, Some(0));

    let refused = refusal(&one).await;
    assert!(
        refused.contains("configure [queues.audit] until it is drained"),
        "{refused}"
    );
    // The ledger knows of batches that a dead gateway had in hand.
    assert!(refused.contains("DEL audit {audit}:ledger"), "{refused}");
    let check = run(stashgate(&["check", "--config"]).arg(one.config_file()));
    assert!(
        check.out.contains("BAD") && check.out.contains("[queues.audit]"),
        "{}",
        check.out
    );

    let _gateway = both.start_and_wait().await;
    arrives(&Sink::serve(listener), 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_moves_from_redis_to_the_journal_only_when_redis_is_drained() {
    let server = RedisServer::start();
    let listener = blocked();
    let address = listener.local_addr().expect("bound");
    let setup = Setup::new(address, &redis_at(&server, ""));
    let gateway = setup.start_and_wait().await;
    is_ready(&setup).await;
    post(setup.http, &events(0..10));
    assert_eq!(gateway.terminate().await, Some(0));

    let in_redis = std::fs::read_to_string(setup.config_file()).expect("read");
    let in_journal = in_redis.replace("kind = \"redis\"", "kind = \"journal\"");
    let to = |settings: &str| std::fs::write(setup.config_file(), settings).expect("written");
    to(&in_journal);
    let refused = refusal(&setup).await;
    assert!(
        refused.contains("batches may wait in Redis at 127.0.0.1:"),
        "{refused}"
    );

    to(&in_redis);
    let gateway = setup.start_and_wait().await;
    arrives(&Sink::serve(listener), 10).await;
    eventually("settled", || {
        get(setup.admin, "/metrics")
            .body
            .contains("entry=\"confirmed\"} 10\n")
    })
    .await;
    assert_eq!(gateway.terminate().await, Some(0));
    to(&in_journal);
    let gateway = setup.start_and_wait().await;
    is_ready(&setup).await;
    assert_eq!(gateway.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_moves_from_the_journal_to_redis_and_takes_along_what_waits() {
    let server = RedisServer::start();
    let listener = blocked();
    let address = listener.local_addr().expect("bound");
    let setup = Setup::new(address, &redis_at(&server, "spill = false"));
    let in_redis = std::fs::read_to_string(setup.config_file()).expect("read");
    let in_journal = in_redis.replace("kind = \"redis\"", "kind = \"journal\"");
    std::fs::write(setup.config_file(), in_journal).expect("written");
    let gateway = setup.start_and_wait().await;
    is_ready(&setup).await;
    post(setup.http, &events(0..10));
    gateway.signal(Signal::KILL);
    assert_eq!(gateway.exit_code().await, None);

    std::fs::write(setup.config_file(), in_redis).expect("written");
    let _gateway = setup.start_and_wait().await;
    is_ready(&setup).await;
    post(setup.http, &events(10..20));
    assert_eq!(queue(&setup).await["waiting_events"], 20);
    arrives(&Sink::serve(listener), 20).await;
}
