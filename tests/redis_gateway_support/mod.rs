//! A gateway whose spool is in Redis, and a sink that counts what comes.

#![allow(dead_code)]

use serde_json::Value;

use crate::gateway::{Setup, eventually};
use crate::http::get;
use crate::redis_support::RedisServer;
use crate::sink::Sink;

/// The settings of a spool at `server`.
pub(crate) fn redis_at(server: &RedisServer, more: &str) -> String {
    let url = server.url();
    format!(
        "[spool]\nkind = \"redis\"\n[spool.journal]\nmin_free_bytes = 0\n[spool.redis]\nurl = \"{url}\"\n{more}\n"
    )
}

/// A gateway with its spool at `server` that forwards to `sink`.
pub(crate) fn setup(sink: &Sink, server: &RedisServer, more: &str) -> Setup {
    Setup::new(sink.address, &redis_at(server, more))
}

/// Events that the sink knows by their number.
pub(crate) fn events(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| format!("{{\"seq\":{n}}}\n")).collect()
}

/// A sink that does not answer yet: whoever connects waits.
pub(crate) fn blocked() -> std::net::TcpListener {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a port for the sink")
}

pub(crate) async fn arrives(sink: &Sink, count: u64) {
    eventually("all events arrive", || sink.distinct() >= count).await;
    assert_eq!(sink.faults(), Vec::<String>::new());
}

pub(crate) async fn queue(setup: &Setup) -> Value {
    setup.status().await["queues"][0].clone()
}

pub(crate) async fn is_ready(setup: &Setup) {
    eventually("ready", || get(setup.admin, "/readyz").status == 200).await;
}

/// Runs a gateway that refuses to start; what it says.
pub(crate) async fn refusal(setup: &Setup) -> String {
    let code = setup.start().exit_code().await;
    assert_ne!(code, Some(0), "{}", setup.log());
    setup.log()
}
