//! The table of errors, with the answers that real servers give.

mod redis_support;

use std::time::Duration;

use deadpool_redis::redis::{Cmd, cmd, pipe};
use redis_support::{RedisServer, ServerKind, eventually};
use stashgate::spool::redis::nodes::{Conn, Fault, Nodes, ServerOptions};

fn nodes(server: &RedisServer) -> Nodes {
    Nodes::new(&ServerOptions {
        url: server.url(),
        connect_timeout: redis_support::PATIENCE,
        response_timeout: redis_support::PATIENCE,
        ..ServerOptions::default()
    })
    .expect("settings")
}

async fn connect(server: &RedisServer) -> Conn {
    nodes(server).connect("logstash").await.expect("connected")
}

fn start(more: &[&str]) -> RedisServer {
    RedisServer::start_as(ServerKind {
        more: more.iter().map(|line| (*line).to_owned()).collect(),
        ..ServerKind::default()
    })
}

/// What a push gets: alone, in a transaction, and from a script.
async fn pushes(conn: &mut Conn) -> [Fault; 3] {
    let mut alone = cmd("RPUSH");
    let alone = conn.call::<u64>(alone.arg("logstash").arg("x")).await;
    let transaction = flush(conn).await;
    let script = conn.call::<u64>(&push_by_script()).await;
    [alone, transaction, script].map(|answer| answer.expect_err("refused"))
}

fn push_by_script() -> Cmd {
    let mut script = cmd("EVAL");
    let body = "return redis.call('RPUSH', KEYS[1], ARGV[1])";
    script.arg(body).arg(1).arg("logstash").arg("x");
    script
}

async fn flush(conn: &mut Conn) -> Result<u64, Fault> {
    let mut flush = pipe();
    flush.atomic().cmd("RPUSH").arg("logstash").arg("x");
    flush.cmd("SET").arg("{logstash}:x").arg(1).ignore();
    let (length,) = conn.run::<(u64,)>(&flush).await?;
    Ok(length)
}

fn all(faults: &[Fault], kind: &str, code: &str) {
    for fault in faults {
        let shown = format!("{fault:?}");
        assert!(shown.starts_with(&format!("{kind}(")), "{shown}");
        assert!(shown.contains(code), "{shown}");
    }
}

async fn nothing_was_done(server: &RedisServer) {
    assert_eq!(
        server.ask::<u64>(&["EXISTS", "logstash", "{logstash}:x"]),
        0
    );
}

#[tokio::test]
async fn a_server_without_memory_is_full() {
    let server = start(&["maxmemory 1"]);
    all(&pushes(&mut connect(&server).await).await, "Full", "OOM");
    nothing_was_done(&server).await;
}

#[tokio::test]
async fn a_replica_sends_elsewhere_and_one_without_a_master_cannot_do_it_now() {
    let master = start(&[]);
    let follow = format!("replicaof 127.0.0.1 {}", master.port());
    let replica = start(&[&follow]);
    eventually("in step", || {
        redis_support::ask_once(&replica.url(), &["INFO", "replication"])
            .is_some_and(|info| info.contains("master_link_status:up"))
    });
    let mut conn = connect(&replica).await;
    all(&pushes(&mut conn).await, "Elsewhere", "READONLY");
    nothing_was_done(&master).await;
    let _: String = replica.ask(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    drop(master);
    let read = || async {
        connect(&replica)
            .await
            .call::<u64>(cmd("LLEN").arg("l"))
            .await
    };
    let mut fault = read().await;
    while fault.is_ok() {
        fault = read().await;
    }
    all(&[fault.expect_err("stale")], "NotNow", "MASTERDOWN");
}

#[tokio::test]
async fn too_few_replicas_are_a_matter_of_time() {
    let server = start(&["min-replicas-to-write 1"]);
    all(
        &pushes(&mut connect(&server).await).await,
        "NotNow",
        "NOREPLICAS",
    );
    nothing_was_done(&server).await;
}

#[tokio::test]
async fn a_server_that_cannot_write_its_snapshots_is_not_to_be_written_to() {
    let server = start(&["dbfilename taken", "save 3600 1"]);
    std::fs::create_dir_all(server.folder().join("taken")).expect("a folder");
    let _: String = server.ask(&["BGSAVE"]);
    eventually("the snapshot failed", || {
        server
            .ask::<String>(&["INFO", "persistence"])
            .contains("bgsave_status:err")
    });
    all(
        &pushes(&mut connect(&server).await).await,
        "NotNow",
        "MISCONF",
    );
    nothing_was_done(&server).await;
}

#[tokio::test]
async fn a_server_that_loads_or_is_busy_cannot_do_it_now() {
    let mut server = start(&[]);
    let fill = "for i = 1, 20000 do redis.call('SET', 'k' .. i, i) end";
    let _: Option<String> = server.ask(&["EVAL", fill, "0"]);
    let _: String = server.ask(&["CONFIG", "SET", "key-load-delay", "1000"]);
    let _: String = server.ask(&[
        "CONFIG",
        "SET",
        "loading-process-events-interval-bytes",
        "1024",
    ]);
    let _: String = server.ask(&["CONFIG", "REWRITE"]);
    server.restart_while_loading();
    let mut conn = connect(&server).await;
    all(&pushes(&mut conn).await, "NotNow", "LOADING");
}

#[tokio::test]
async fn a_script_that_does_not_end_makes_it_busy() {
    let server = start(&["busy-reply-threshold 50"]);
    let mut conn = connect(&server).await;
    let mut endless = server.client();
    let endless = std::thread::spawn(move || {
        let _ = redis_support::ask::<u64>(&mut endless, &["EVAL", "while true do end", "0"]);
    });
    let mut answer = conn.call::<String>(&cmd("PING")).await;
    while answer.is_ok() {
        answer = conn.call::<String>(&cmd("PING")).await;
    }
    all(&[answer.expect_err("busy")], "NotNow", "BUSY");
    all(&pushes(&mut conn).await, "NotNow", "BUSY");
    let _: String = conn.call(cmd("SCRIPT").arg("KILL")).await.expect("killed");
    endless.join().expect("ended");
}

#[tokio::test]
async fn too_many_clients_are_a_matter_of_time_with_a_password_too() {
    let server = RedisServer::start_as(ServerKind {
        password: Some("secret"),
        more: vec!["maxclients 3".to_owned()],
        ..ServerKind::default()
    });
    let others: Vec<_> = (0..3).map(|_| server.client()).collect();
    let fault = nodes(&server).connect("q").await.expect_err("too many");
    let kinds = matches!(fault, Fault::NotNow(_) | Fault::Unreachable(_));
    assert!(kinds, "{fault:?}");
    drop(others);
    eventually("they are gone", || {
        redis_support::ask_once(&server.url(), &["PING"]).is_some()
    });
    connect(&server).await;
}

#[tokio::test]
async fn what_only_a_person_can_mend_is_refused() {
    let server = start(&[]);
    let mut conn = connect(&server).await;
    let refused = async |conn: &mut Conn, words: &[&str]| {
        let mut question = cmd(words[0]);
        let answer = conn.call::<()>(question.arg(&words[1..])).await;
        answer.expect_err("refused")
    };
    let _: () = conn.call(cmd("SET").arg("s").arg(1)).await.expect("done");
    all(
        &[refused(&mut conn, &["RPUSH", "s", "x"]).await],
        "Refused",
        "WRONGTYPE",
    );
    all(
        &[refused(&mut conn, &["NONSENSE"]).await],
        "Refused",
        "unknown command",
    );
    all(
        &[refused(&mut conn, &["CLUSTER", "SLOTS"]).await],
        "Refused",
        "cluster support",
    );
    let missing = ["EVALSHA", "ffffffffffffffffffffffffffffffffffffffff", "0"];
    all(
        &[refused(&mut conn, &missing).await],
        "NoScript",
        "NOSCRIPT",
    );
}

#[tokio::test]
async fn a_list_of_another_type_fails_alone_in_a_transaction_that_is_done() {
    let server = start(&[]);
    let _: String = server.ask(&["SET", "logstash", "no list"]);
    let fault = flush(&mut connect(&server).await)
        .await
        .expect_err("refused");
    all(&[fault], "Refused", "WRONGTYPE");
    // As the table says: what the others wrote proves nothing.
    assert_eq!(server.ask::<u64>(&["EXISTS", "{logstash}:x"]), 1);
}

#[tokio::test]
async fn a_wait_that_is_broken_off_leaves_open_what_was_copied() {
    let server = start(&[]);
    let nodes = nodes(&server);
    let mut conn = nodes.connect("q").await.expect("connected");
    let mut other = nodes.connect("q").await.expect("connected");
    let demote = async {
        loop {
            let clients: String = other.call(cmd("INFO").arg("clients")).await?;
            if clients.contains("blocked_clients:1") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut demote = cmd("REPLICAOF");
        other.call::<()>(demote.arg("127.0.0.1").arg(1)).await
    };
    let _: () = conn.call(cmd("SET").arg("k").arg(1)).await.expect("done");
    let mut wait = cmd("WAIT");
    wait.arg(1).arg(0);
    let (waited, demoted) = futures_util::join!(conn.call::<u64>(&wait), demote);
    demoted.expect("done");
    all(&[waited.expect_err("broken off")], "Lost", "UNBLOCKED");
}

#[tokio::test]
async fn a_cluster_says_what_it_lacks() {
    let server = start(&["cluster-enabled yes"]);
    let mut conn = connect(&server).await;
    all(&pushes(&mut conn).await, "NotNow", "CLUSTERDOWN");
    let _: String = server.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    eventually("it is whole", || {
        server
            .ask::<String>(&["CLUSTER", "INFO"])
            .contains("cluster_state:ok")
    });
    let mut two = cmd("DEL");
    let answer = conn.call::<u64>(two.arg("a").arg("b")).await;
    all(&[answer.expect_err("two slots")], "Refused", "CROSSSLOT");
}
