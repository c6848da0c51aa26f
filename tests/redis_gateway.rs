//! The real program with its spool in a real Redis.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

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
use gateway::{Gateway, Setup, eventually};
use http::{ask, get, post};
use redis_gateway_support::*;
use redis_support::{RedisServer, ServerKind};
use sink::Sink;

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_without_redis_spills_and_drains_both_when_redis_comes() {
    let mut server = RedisServer::start();
    let listener = blocked();
    let address = listener.local_addr().expect("bound");
    let setup = Setup::new(address, &redis_at(&server, ""));
    server.kill();
    let gateway = setup.start_and_wait().await;
    is_ready(&setup).await;
    post(setup.http, &events(0..100));
    let status = setup.status().await;
    assert_eq!(
        status["queues"][0]["spill"]["waiting_events"], 100,
        "{status}"
    );
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("go to the journal"), "{warnings}");

    server.restart();
    eventually("Redis takes batches", || {
        let scrape = get(setup.admin, "/metrics").body;
        scrape.contains("stashgate_redis_available{queue=\"logstash\"} 1")
    })
    .await;
    post(setup.http, &events(100..200));
    assert_eq!(queue(&setup).await["spill"]["waiting_events"], 100);
    assert_eq!(queue(&setup).await["waiting_events"], 200);
    let sink = Sink::serve(listener);
    arrives(&sink, 200).await;
    eventually("the books are closed", || {
        let scrape = get(setup.admin, "/metrics").body;
        scrape.contains("entry=\"confirmed\"} 200\n")
            && scrape.contains("stashgate_ledger_unaccounted_events{queue=\"logstash\"} 0\n")
    })
    .await;
    assert_eq!(gateway.terminate().await, Some(0));
    let log = setup.log();
    assert!(log.contains("Redis takes batches again"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_holds_up_no_ingest_and_costs_no_reclaim() {
    let mut server = RedisServer::start();
    let sink = Sink::start();
    let more = "heartbeat = \"5s\"";
    let setups = [setup(&sink, &server, more), setup(&sink, &server, more)];
    let mut gateways: Vec<Gateway> = Vec::new();
    for setup in &setups {
        gateways.push(setup.start_and_wait().await);
        is_ready(setup).await;
    }
    let mut sent = 0;
    let mut send = |count: u64| {
        for _ in 0..count {
            for setup in &setups {
                post(setup.http, &events(sent..sent + 10));
                sent += 10;
            }
        }
        sent
    };
    send(5);
    server.stop();
    let before = std::time::Instant::now();
    // Four times the heartbeat. Each is answered while Redis is frozen.
    while before.elapsed() < Duration::from_secs(20) {
        send(1);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.cont();
    let count = send(5);
    arrives(&sink, count).await;
    for setup in &setups {
        let scrape = get(setup.admin, "/metrics").body;
        for line in [
            "stashgate_redis_reclaimed_batches_total{queue=\"logstash\"} 0",
            "stashgate_ledger_unaccounted_events{queue=\"logstash\"} 0",
        ] {
            assert!(scrape.lines().any(|l| l == line), "no {line} in\n{scrape}");
        }
        assert!(!setup.log().contains("fell silent"), "{}", setup.log());
    }
    for gateway in gateways {
        assert_eq!(gateway.terminate().await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_spill_it_starts_without_redis_and_says_why_it_takes_nothing() {
    let mut server = RedisServer::start();
    let sink = Sink::start();
    let setup = setup(&sink, &server, "spill = false");
    server.kill();
    let gateway = setup.start_and_wait().await;
    let ready = || get(setup.admin, "/readyz");
    eventually("it is open", || !ready().body.contains("starting")).await;
    let ready = ready();
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("unavailable: "), "{}", ready.body);
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson",
        setup.http
    );
    let answer = ask(setup.http, &head, &events(0..1));
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(
        answer.head.to_lowercase().contains("retry-after: 2"),
        "{}",
        answer.head
    );
    // One who cannot be told is not cut off, but waits.
    let mut lines = std::net::TcpStream::connect(setup.tcp).expect("connected");
    std::io::Write::write_all(&mut lines, events(1..4).as_bytes()).expect("written");

    server.restart();
    is_ready(&setup).await;
    arrives(&sink, 3).await;
    post(setup.http, &events(0..1));
    arrives(&sink, 4).await;
    assert!(
        !setup.data_dir().join("journal").exists(),
        "nothing to spill to"
    );
    drop(lines);
    assert_eq!(gateway.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_what_redis_promises_and_the_password_nowhere() {
    let kind = ServerKind {
        aof: Some("everysec"),
        password: Some("s3cret-word"),
        ..ServerKind::default()
    };
    let mut server = RedisServer::start_as(kind);
    let sink = Sink::start();
    let setup = setup(&sink, &server, "min_replicas = 1");
    let check = || {
        let ended = run(stashgate(&["check", "--config"]).arg(setup.config_file()));
        assert!(
            !(ended.out.clone() + &ended.err).contains("s3cret"),
            "{}",
            ended.out
        );
        ended.out
    };
    let said = check();
    let port = server.port();
    for expected in [
        format!("url = \"redis://(hidden)@127.0.0.1:{port}\""),
        format!("ok       spool.redis: 127.0.0.1:{port} answers in "),
        "it is Redis 7".into(),
        format!(
            "BAD      127.0.0.1:{port} has 0 replicas, and spool.redis.min_replicas asks for 1"
        ),
        "a power cut may lose the last second or two".into(),
    ] {
        assert!(said.contains(&expected), "no {expected} in\n{said}");
    }
    let file = std::fs::read_to_string(setup.config_file()).expect("read");
    std::fs::write(
        setup.config_file(),
        file.replace("s3cret-word", "s3cret-wrong"),
    )
    .expect("written");
    let said = check();
    assert!(
        said.contains("BAD      spool.redis: Redis refused"),
        "{said}"
    );
    server.kill();
    let said = check();
    assert!(
        said.contains("warning  spool.redis: Redis cannot be reached"),
        "{said}"
    );
    assert!(
        said.contains("batches go to the journal until it does"),
        "{said}"
    );
}

/// The rows of the page: name and type.
fn documented() -> BTreeMap<&'static str, &'static str> {
    let page = include_str!("../docs/metrics.md");
    let (_, rest) = page
        .split_once("## With a spool in Redis")
        .expect("the part");
    let (part, _) = rest.split_once("\n## ").expect("its end");
    let rows = part.lines().filter_map(|row| row.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`'));
        let mut next = || cells.next().expect("a cell");
        (next(), next())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_and_the_status_show_all_of_redis() {
    let kind = ServerKind {
        maxmemory: 1 << 30,
        ..ServerKind::default()
    };
    let mut server = RedisServer::start_as(kind);
    let sink = Sink::start();
    let setup = setup(&sink, &server, "");
    let _gateway = setup.start_and_wait().await;
    is_ready(&setup).await;
    post(setup.http, &events(0..10));
    arrives(&sink, 10).await;
    let status = run(&mut stashgate(&[
        "status",
        "--url",
        &format!("http://{}", setup.admin),
    ]));
    for expected in [
        "spool         in Redis at redis://127.0.0.1:",
        "Redis 7",
        "loses nothing",
        "stored",
    ] {
        assert!(
            status.out.contains(expected),
            "no {expected} in\n{}",
            status.out
        );
    }
    // An appender, a lane and a keeper have one each.
    assert!(!status.out.contains("connections 0 of"), "{}", status.out);
    server.kill();
    post(setup.http, &events(10..20));
    arrives(&sink, 20).await;

    let scrape = get(setup.admin, "/metrics").body;
    let declared: BTreeMap<&str, &str> = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .filter(|(name, _)| name.contains("_redis_") || name.contains("_spill"))
        .collect();
    assert_eq!(declared, documented());
    for name in documented().keys() {
        let has_value = |line: &str| line.starts_with(name) && !line.starts_with('#');
        assert!(
            scrape.lines().any(has_value),
            "no value of {name} in\n{scrape}"
        );
    }
    for expected in [
        "stashgate_spilled_events_total{queue=\"logstash\"} 10",
        "stashgate_redis_available{queue=\"logstash\"} 0",
    ] {
        assert!(scrape.contains(expected), "no {expected} in\n{scrape}");
    }
    let status = run(&mut stashgate(&[
        "status",
        "--url",
        &format!("http://{}", setup.admin),
    ]));
    assert!(
        status.out.contains("AWAY        Redis takes no batches"),
        "{}",
        status.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_the_page_may_do_all_that_is_needed() {
    let server = RedisServer::start();
    let page = include_str!("../docs/redis.md");
    let mut rules = page.lines().filter(|line| line.starts_with("ACL SETUSER"));
    let rule = rules.next().expect("the rule");
    server.ask::<()>(&rule.split(' ').collect::<Vec<_>>());
    server.ask::<()>(&["ACL", "SETUSER", "default", "off"]);
    let sink = Sink::start();
    let setup = Setup::new(sink.address, &redis_at(&server, ""));
    let file = std::fs::read_to_string(setup.config_file()).expect("read");
    let url = format!("redis://stashgate:PASSWORD@127.0.0.1:{}/0", server.port());
    let file = file.replace(&server.url(), &url);
    std::fs::write(setup.config_file(), file).expect("written");
    let gateway = setup.start_and_wait().await;
    is_ready(&setup).await;
    post(setup.http, &events(0..100));
    arrives(&sink, 100).await;
    let status = setup.status().await;
    assert_eq!(status["queues"][0]["spill"]["stored_bytes"], 0, "{status}");
    assert_eq!(status["redis"]["fault"], Value::Null, "{status}");
    assert_eq!(gateway.terminate().await, Some(0));
    assert!(!setup.log().contains("NOPERM"), "{}", setup.log());
    assert!(
        !setup.data_dir().join("batches-in-redis").exists(),
        "drained"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_changed_later_is_said() {
    let server = RedisServer::start();
    let setup = setup(&Sink::start(), &server, "");
    let _gateway = setup.start_and_wait().await;
    is_ready(&setup).await;
    server.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    eventually("the warning", || {
        let said = get(setup.admin, "/api/v1/status").body;
        said.contains("has maxmemory-policy allkeys-lru")
    })
    .await;
    assert!(setup.log().contains("allkeys-lru"), "{}", setup.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_refuses_the_password_is_spilled_and_said() {
    let kind = ServerKind {
        password: Some("s3cret-word"),
        ..ServerKind::default()
    };
    let server = RedisServer::start_as(kind);
    let sink = Sink::start();
    let settings = redis_at(&server, "").replace("s3cret-word", "s3cret-wrong");
    let setup = Setup::new(sink.address, &settings);
    let _gateway = setup.start_and_wait().await;
    is_ready(&setup).await;
    post(setup.http, &events(0..10));
    arrives(&sink, 10).await;
    let warnings = setup.status().await["warnings"].to_string();
    assert!(
        warnings.contains("see to user, password and ACL"),
        "{warnings}"
    );
    let all = warnings + &setup.log();
    assert!(!all.contains("s3cret"), "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_on_the_disk_holds_what_was_delivered_and_redis_nothing() {
    let (server, sink) = (RedisServer::start(), Sink::start());
    let more = "[archive]\nplace = \"journal\"";
    let setup = setup(&sink, &server, more);
    let gateway = setup.start_and_wait().await;
    is_ready(&setup).await;
    post(setup.http, &events(0..10));
    arrives(&sink, 10).await;
    gateway.terminate().await;
    let kept: Vec<String> = server.ask(&["KEYS", "{logstash}-*"]);
    assert_eq!(kept, Vec::<String>::new());
    let segment = setup.data_dir().join("archive/logstash");
    let files = std::fs::read_dir(segment).expect("it is there");
    let bytes = |file: std::fs::DirEntry| std::fs::read(file.path()).unwrap_or_default();
    let mut kept = files.flatten().map(bytes);
    let has_it = |bytes: Vec<u8>| bytes.windows(9).any(|part| part == b"{\"seq\":9}");
    assert!(kept.any(has_it), "no event in the archive");
}
