//! Finding the server of a list, and logging in there, with real servers.

mod redis_support;

use std::time::{Duration, Instant};

use deadpool_redis::redis::{cmd, pipe};
use redis_support::sentinel::{self, Sentinel, Watcher};
use redis_support::tls::Certificates;
use redis_support::{PATIENCE, RedisServer, ServerKind};
use stashgate::spool::redis::nodes::facts::{Facts, Memory};
use stashgate::spool::redis::nodes::{BadServer, Conn, Fault, Nodes, ServerOptions};

/// How long a server may take that is not to hang.
const PATIENT: Duration = Duration::from_secs(20);
/// How long it may take that hangs in the end.
const BRIEF: Duration = Duration::from_secs(2);

fn options(url: String) -> ServerOptions {
    ServerOptions {
        url,
        connect_timeout: PATIENT,
        response_timeout: PATIENT,
        ..ServerOptions::default()
    }
}

fn nodes(url: String) -> Nodes {
    Nodes::new(&options(url)).expect("settings")
}

#[tokio::test]
async fn a_single_server_is_connected_to() {
    let server = RedisServer::start();
    let nodes = nodes(server.url());
    let mut conn = nodes.connect("logstash").await.expect("connected");
    let mut flush = pipe();
    flush
        .atomic()
        .cmd("RPUSH")
        .arg("logstash")
        .arg("a")
        .arg("b");
    flush.cmd("SET").arg("{logstash}:x").arg(1).ignore();
    flush.cmd("GET").arg("{logstash}:x");
    let (length, x): (u64, u64) = conn.run(&flush).await.expect("done");
    assert_eq!((length, x), (2, 1));
    let clients: String = conn.call(cmd("CLIENT").arg("LIST")).await.expect("told");
    assert!(clients.contains(&format!("id={} ", conn.id())), "{clients}");
}

#[tokio::test]
async fn a_pool_lends_a_connection_again_but_not_one_that_lost_an_answer() {
    let mut server = RedisServer::start();
    let nodes = Nodes::new(&ServerOptions {
        connect_timeout: BRIEF,
        response_timeout: BRIEF,
        ..options(server.url())
    });
    let nodes = nodes.expect("settings");
    let conn = nodes.connect("logstash").await.expect("connected");
    let first = conn.id();
    drop(conn);
    let mut conn = nodes.connect("logstash").await.expect("connected");
    assert_eq!(conn.id(), first);
    server.stop();
    let fault = conn.call::<()>(&cmd("PING")).await.expect_err("frozen");
    assert!(matches!(fault, Fault::Lost(_)), "{fault}");
    nodes.suspect("logstash", &fault);
    drop(conn);
    let fault = nodes.connect("logstash").await.expect_err("frozen");
    assert!(matches!(fault, Fault::Unreachable(_)), "{fault}");
    server.cont();
    let conn = nodes.connect("logstash").await.expect("connected");
    assert_ne!(conn.id(), first);
}

#[tokio::test]
async fn a_connection_that_lost_an_answer_is_not_lent_again_though_it_works_again() {
    let mut server = RedisServer::start();
    let nodes = Nodes::new(&ServerOptions {
        connect_timeout: BRIEF,
        response_timeout: BRIEF,
        pool_size: 1,
        ..options(server.url())
    });
    let nodes = nodes.expect("settings");
    let mut conn = nodes.connect("logstash").await.expect("connected");
    let first = conn.id();
    let fault = nodes.connect("logstash").await.expect_err("only one");
    assert!(fault.to_string().contains("in use"), "{fault}");
    server.stop();
    conn.call::<()>(&cmd("PING")).await.expect_err("frozen");
    server.cont();
    assert!(conn.is_lost());
    drop(conn);
    let conn = nodes.connect("logstash").await.expect("connected");
    assert_ne!(conn.id(), first);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_and_is_found_when_it_comes_back() {
    let mut server = RedisServer::start();
    let nodes = nodes(server.url());
    let mut conn = nodes.connect("logstash").await.expect("connected");
    let _: () = conn.call(cmd("SET").arg("k").arg("v")).await.expect("done");
    server.kill();
    let fault = conn.call::<()>(&cmd("PING")).await.expect_err("cut");
    assert!(matches!(fault, Fault::Lost(_)), "{fault}");
    nodes.suspect("logstash", &fault);
    let fault = nodes.connect("logstash").await.expect_err("gone");
    assert!(matches!(fault, Fault::Unreachable(_)), "{fault}");
    assert!(
        fault.to_string().contains(&server.port().to_string()),
        "{fault}"
    );
    server.restart();
    let mut conn = nodes.connect("logstash").await.expect("connected");
    let kept: String = conn.call(cmd("GET").arg("k")).await.expect("told");
    assert_eq!(kept, "v");
}

#[tokio::test]
async fn a_wrong_password_is_refused_with_the_servers_words() {
    let server = RedisServer::start_as(ServerKind {
        password: Some("right"),
        ..ServerKind::default()
    });
    nodes(server.url())
        .connect("q")
        .await
        .expect("the right one");
    let wrong = options(format!("redis://:wrong@127.0.0.1:{}", server.port()));
    for (options, words) in [
        (wrong, "WRONGPASS"),
        (
            options(format!("redis://127.0.0.1:{}", server.port())),
            "NOAUTH",
        ),
    ] {
        let nodes = Nodes::new(&options).expect("settings");
        let fault = nodes.connect("q").await.expect_err("refused");
        assert!(matches!(fault, Fault::Refused(_)), "{fault}");
        assert!(fault.to_string().contains(words), "{fault}");
        assert!(!fault.to_string().contains("wrong@"), "{fault}");
    }
}

#[tokio::test]
async fn an_acl_user_may_do_what_the_spool_needs_and_nothing_else() {
    let server = RedisServer::start_as(ServerKind {
        more: vec![
            "user gateway on >secret ~logstash ~{logstash}* +@all -@dangerous +info +role"
                .to_owned(),
        ],
        ..ServerKind::default()
    });
    let by_parts = ServerOptions {
        user: Some("gateway".to_owned()),
        password: Some("secret".to_owned()),
        ..options(server.url())
    };
    let by_url = options(format!("redis://gateway:secret@{}/0", server.address()));
    for options in [by_parts, by_url] {
        let nodes = Nodes::new(&options).expect("settings");
        let mut conn = nodes.connect("logstash").await.expect("logged in");
        let me: String = conn.call(cmd("ACL").arg("WHOAMI")).await.expect("told");
        assert_eq!(me, "gateway");
        let facts = Facts::of(&mut conn).await.expect("told");
        assert_eq!(facts.policy.as_deref(), Some("noeviction"), "from INFO");
        assert_eq!((facts.aof, facts.fsync), (Some(true), None));
        let mut other = cmd("RPUSH");
        let fault = conn.call::<()>(other.arg("other").arg(1)).await;
        let fault = fault.expect_err("not allowed");
        assert!(matches!(fault, Fault::Refused(_)), "{fault}");
        assert!(fault.to_string().contains("NOPERM"), "{fault}");
    }
}

#[tokio::test]
async fn tls_trusts_a_private_ca_and_shows_a_certificate() {
    let certificates = Certificates::new();
    let (_server, port) = certificates.server(&[]);
    let good = ServerOptions {
        ca_file: Some(certificates.file("ca.pem")),
        cert_file: Some(certificates.file("client.pem")),
        key_file: Some(certificates.file("client.key")),
        ..options(format!("rediss://localhost:{port}"))
    };
    let nodes = Nodes::new(&good).expect("settings");
    let mut conn = nodes.connect("q").await.expect("connected");
    let _: () = conn.call(&cmd("PING")).await.expect("answered");
    let strange_ca = ServerOptions {
        ca_file: Some(Certificates::new().file("ca.pem")),
        ..good.clone()
    };
    assert!(Nodes::new(&strange_ca).is_err(), "its folder is gone");
    let others = Certificates::new();
    let strange_ca = ServerOptions {
        ca_file: Some(others.file("ca.pem")),
        ..good.clone()
    };
    let no_certificate = ServerOptions {
        cert_file: None,
        key_file: None,
        ..good.clone()
    };
    for bad in [strange_ca, no_certificate] {
        let nodes = Nodes::new(&bad).expect("settings");
        let fault = nodes.connect("q").await.expect_err("not trusted");
        assert!(matches!(fault, Fault::Refused(_)), "{fault}");
        assert!(
            fault.to_string().to_lowercase().contains("certificate"),
            "{fault}"
        );
    }
    let half = ServerOptions {
        key_file: None,
        ..good
    };
    assert!(matches!(
        Nodes::new(&half),
        Err(BadServer::HalfACertificate)
    ));
}

#[tokio::test]
async fn a_cluster_is_spoken_to_at_its_ports_for_tls() {
    let certificates = Certificates::new();
    let (server, port) = certificates.server(&["cluster-enabled yes", "tls-cluster yes"]);
    let _: String = server.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let nodes = Nodes::new(&ServerOptions {
        cluster: vec![format!("localhost:{port}")],
        ca_file: Some(certificates.file("ca.pem")),
        cert_file: Some(certificates.file("client.pem")),
        key_file: Some(certificates.file("client.key")),
        ..options("rediss://unused".to_owned())
    });
    let conn = push(&nodes.expect("settings"), "logstash").await;
    assert_eq!(conn.address().port, port);
}

#[test]
fn settings_that_cannot_work_are_refused_before_anything_is_connected() {
    let base = ServerOptions::default;
    let bad = [
        options("http://localhost".to_owned()),
        options("redis+unix:///tmp/x".to_owned()),
        ServerOptions {
            user: Some("u".to_owned()),
            ..base()
        },
        ServerOptions {
            ca_file: Some("ca.pem".into()),
            ..base()
        },
        ServerOptions {
            cluster: vec!["a:b".to_owned()],
            ..base()
        },
        ServerOptions {
            cluster: vec!["redis://a".to_owned()],
            ..base()
        },
        ServerOptions {
            cluster: vec!["a".to_owned()],
            sentinels: vec!["b".to_owned()],
            ..base()
        },
        ServerOptions {
            cluster: vec!["a".to_owned()],
            ..options("redis://a/3".to_owned())
        },
    ];
    for options in bad {
        let url = options.url.clone();
        assert!(Nodes::new(&options).is_err(), "{url} {options:?}");
    }
}

#[tokio::test]
async fn a_newer_valkey_is_as_good() {
    let Some(program) = redis_support::valkey::program() else {
        return;
    };
    let server = RedisServer::start_as(ServerKind {
        program,
        ..ServerKind::default()
    });
    let nodes = nodes(server.url());
    let mut conn = nodes.connect("q").await.expect("connected");
    let facts = Facts::of(&mut conn).await.expect("told");
    assert!(facts.version.starts_with("Valkey 9."), "{}", facts.version);
    assert!(!facts.too_old);
    assert_eq!(
        (facts.aof, facts.fsync.as_deref()),
        (Some(true), Some("always"))
    );
}

#[tokio::test]
async fn facts_and_memory_are_what_the_server_was_told() {
    let server = RedisServer::start_as(ServerKind {
        aof: Some("everysec"),
        maxmemory: 64 << 20,
        ..ServerKind::default()
    });
    let nodes = nodes(server.url());
    let mut conn = nodes.connect("q").await.expect("connected");
    let facts = Facts::of(&mut conn).await.expect("told");
    assert_eq!(facts.fsync.as_deref(), Some("everysec"));
    assert_eq!(facts.save.as_deref(), Some(""));
    assert_eq!(facts.refusal(false), None);
    let memory = Memory::of(&mut conn).await.expect("told");
    assert_eq!(memory.max, Some(64 << 20));
    assert!(memory.used > 0 && memory.used < 64 << 20, "{memory:?}");
    let _: () = server.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let facts = Facts::of(&mut conn).await.expect("told");
    assert!(
        facts
            .refusal(false)
            .expect("refused")
            .contains("allkeys-lru")
    );
    assert_eq!(facts.refusal(true), None);
}

/// Waits for a connection as a worker does: each fault is told, then again.
async fn connect_patiently(nodes: &Nodes, list: &str) -> Conn {
    let until = Instant::now() + PATIENCE;
    loop {
        match nodes.connect(list).await {
            Ok(conn) => return conn,
            Err(fault) => {
                assert!(Instant::now() < until, "{fault}");
                nodes.suspect(list, &fault);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Appends one element, as often as nothing was done.
async fn push(nodes: &Nodes, list: &str) -> Conn {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut conn = connect_patiently(nodes, list).await;
        let mut flush = pipe();
        flush.atomic().cmd("RPUSH").arg(list).arg("element");
        flush.cmd("INCR").arg(format!("{{{list}}}:ledger"));
        match conn.run::<(u64, u64)>(&flush).await {
            Ok(_) => return conn,
            Err(fault) => {
                assert!(Instant::now() < until, "{fault}");
                assert!(
                    !matches!(fault, Fault::Lost(_) | Fault::Refused(_)),
                    "{fault}"
                );
                nodes.suspect(list, &fault);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn sentinel_options(sentinel: &Sentinel) -> ServerOptions {
    ServerOptions {
        sentinels: sentinel.sentinels(),
        sentinel_master: sentinel::MASTER.to_owned(),
        ..options(ServerOptions::default().url)
    }
}

#[tokio::test]
async fn the_master_that_sentinels_name_is_found_again_after_a_failover() {
    let mut sentinel = Sentinel::start();
    let mut options = sentinel_options(&sentinel);
    // One that is not there does not stop the others.
    options
        .sentinels
        .insert(0, format!("127.0.0.1:{}", redis_support::free_port()));
    let nodes = Nodes::new(&options).expect("settings");
    let mut conn = push(&nodes, "logstash").await;
    assert_eq!(conn.address().to_string(), sentinel.nodes[0].address());
    let copies: u64 = conn
        .call(cmd("WAIT").arg(2).arg(15_000))
        .await
        .expect("told");
    assert_eq!(copies, 2);
    let new = sentinel.kill_master();
    let fault = conn.call::<()>(&cmd("PING")).await.expect_err("cut");
    assert!(matches!(fault, Fault::Lost(_)), "{fault}");
    nodes.suspect("logstash", &fault);
    let conn = push(&nodes, "logstash").await;
    assert_eq!(conn.address().to_string(), sentinel.nodes[new].address());
    let length: u64 = sentinel.nodes[new].ask(&["LLEN", "logstash"]);
    assert_eq!(length, 2);
}

#[tokio::test]
async fn a_master_that_was_made_a_replica_is_left_for_the_new_one() {
    let sentinel = Sentinel::start();
    let nodes = Nodes::new(&sentinel_options(&sentinel)).expect("settings");
    let mut conn = push(&nodes, "logstash").await;
    sentinel.fail_over();
    let fault = loop {
        // Until the old master heard of it, or when it cuts its clients off.
        let answer = conn.call::<u64>(cmd("RPUSH").arg("logstash").arg(1)).await;
        if let Err(fault) = answer {
            break fault;
        }
    };
    assert!(
        matches!(fault, Fault::Elsewhere(_) | Fault::Lost(_)),
        "{fault}"
    );
    nodes.suspect("logstash", &fault);
    let conn = push(&nodes, "logstash").await;
    assert_ne!(conn.address().to_string(), sentinel.nodes[0].address());
}

#[tokio::test]
async fn sentinels_with_a_password_and_without_such_a_master() {
    let sentinel = Sentinel::start_with_password(Some("watch"));
    let good = ServerOptions {
        sentinel_password: Some("watch".to_owned()),
        ..sentinel_options(&sentinel)
    };
    push(&Nodes::new(&good).expect("settings"), "q").await;
    let other_name = ServerOptions {
        sentinel_master: "nobody".to_owned(),
        ..good.clone()
    };
    for (bad, words) in [
        (other_name, "knows no master"),
        (sentinel_options(&sentinel), "NOAUTH"),
    ] {
        let nodes = Nodes::new(&bad).expect("settings");
        let fault = nodes.connect("q").await.expect_err("refused");
        assert!(matches!(fault, Fault::Refused(_)), "{fault}");
        assert!(fault.to_string().contains(words), "{fault}");
    }
}

#[tokio::test]
async fn a_sentinel_that_names_a_replica_is_not_believed() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    // Alone, so that it cannot replace the master by itself.
    let watcher = Watcher::start(old.port(), None);
    let nodes = Nodes::new(&ServerOptions {
        sentinels: vec![watcher.address()],
        sentinel_master: sentinel::MASTER.to_owned(),
        ..ServerOptions::default()
    });
    let nodes = nodes.expect("settings");
    push(&nodes, "q").await;
    let port = new.port().to_string();
    let _: String = old.ask(&["REPLICAOF", "127.0.0.1", &port]);
    nodes.suspect("q", &Fault::Lost("a reason to look again".to_owned()));
    let fault = nodes.connect("q").await.expect_err("a replica");
    assert!(matches!(fault, Fault::NotNow(_)), "{fault}");
    assert!(fault.to_string().contains("calls itself slave"), "{fault}");
}

#[tokio::test]
async fn idle_connections_to_a_server_that_hangs_are_closed_with_the_first_that_notices() {
    let mut server = RedisServer::start();
    let nodes = Nodes::new(&ServerOptions {
        connect_timeout: BRIEF,
        response_timeout: BRIEF,
        ..options(server.url())
    });
    let nodes = nodes.expect("settings");
    let mut conns = Vec::new();
    for _ in 0..5 {
        conns.push(nodes.connect("logstash").await.expect("connected"));
    }
    let mut last = conns.pop().expect("one of them");
    drop(conns);
    assert_eq!(nodes.pools()[0].1.available, 4);
    server.stop();
    last.call::<()>(&cmd("PING")).await.expect_err("frozen");
    assert_eq!(nodes.pools()[0].1.available, 0);
}
