//! Finding the server of a list, and logging in there, with real servers.

mod redis_support;

use std::time::Duration;

use deadpool_redis::redis::{cmd, pipe};
use redis_support::{RedisServer, ServerKind};
use stashgate::spool::redis::nodes::{Fault, Nodes, ServerOptions};

fn options(url: String) -> ServerOptions {
    ServerOptions {
        url,
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
        response_timeout: Duration::from_millis(300),
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
