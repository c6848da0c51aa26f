//! What the tests of replays share: the real program, asked by its own command.

#![allow(dead_code)]

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::command::{Ended, run, stashgate};
use crate::gateway::{Gateway, Setup, eventually};
use crate::http::{Answer, ask, get, post};

/// Events of a post.
pub(crate) const POSTED: u64 = 50;

pub(crate) async fn start(setup: &Setup) -> Gateway {
    let gateway = setup.start_and_wait().await;
    eventually("a start", || status(setup)["state"] == "running").await;
    gateway
}

pub(crate) fn status(setup: &Setup) -> Value {
    json(&get(setup.admin, "/api/v1/status"))
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).expect("JSON")
}

/// The status of the queue with this name.
pub(crate) fn queue(setup: &Setup, name: &str) -> Value {
    let status = status(setup);
    let queues = status["queues"].as_array().expect("queues").clone();
    let found = queues.into_iter().find(|queue| queue["queue"] == name);
    found.expect("the queue")
}

/// What came in, and what was confirmed: `[accepted, replayed, confirmed]`. The sums come
/// out at 0.
pub(crate) fn books(setup: &Setup, name: &str) -> [u64; 3] {
    let queue = queue(setup, name);
    assert_eq!(queue["unaccounted_events"], 0, "{queue}");
    ["accepted", "replayed", "confirmed"].map(|entry| number(&queue["ledger"][entry]))
}

pub(crate) fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("a number: {value}"))
}

/// Sends events numbered `numbers` with `padding` bytes of text each, some at a time.
pub(crate) fn send(setup: &Setup, numbers: std::ops::Range<u64>, padding: usize) {
    let text = "x".repeat(padding);
    let mut at = numbers.start;
    while at < numbers.end {
        let to = numbers.end.min(at + POSTED);
        let event = |n| format!("{{\"n\":{n},\"text\":\"{text}\"}}\n");
        post(setup.http, &(at..to).map(event).collect::<String>());
        at = to;
    }
}

/// Runs `stashgate replay ARGS` against the gateway.
pub(crate) fn replay(setup: &Setup, args: &[&str]) -> Ended {
    let url = format!("http://{}", setup.admin);
    let mut command = stashgate(&["replay"]);
    command.args(args).env("STASHGATE_URL", url);
    run(&mut command)
}

/// Runs it and reads the replay that it prints.
pub(crate) fn replayed(setup: &Setup, args: &[&str]) -> Value {
    let ended = replay(setup, &[args, &["--json"]].concat());
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    serde_json::from_str(&ended.out).expect("JSON")
}

/// Begins one over the API.
pub(crate) fn begin(setup: &Setup, wanted: &Value) -> Value {
    let answer = asked(setup.admin, "", wanted);
    assert_eq!(answer.status, 200, "{}", answer.body);
    json(&answer)
}

/// `POST /api/v1/replays…`
pub(crate) fn asked(admin: SocketAddr, path: &str, body: &Value) -> Answer {
    let head = format!(
        "POST /api/v1/replays{path} HTTP/1.1\r\nHost: {admin}\r\nContent-Type: application/json"
    );
    ask(admin, &head, &body.to_string())
}

pub(crate) fn job(setup: &Setup, id: u64) -> Value {
    json(&get(setup.admin, &format!("/api/v1/replays/{id}")))
}

/// Waits until a replay is in this state.
pub(crate) async fn wait_for(setup: &Setup, id: u64, state: &str) -> Value {
    eventually(state, || job(setup, id)["state"] == state).await;
    job(setup, id)
}

/// All that there is.
pub(crate) fn all() -> Value {
    json!({ "from": "2020-01-01T00:00:00Z" })
}

/// `all()` with more.
pub(crate) fn all_and(more: Value) -> Value {
    let mut wanted = all();
    let (Value::Object(wanted_fields), Value::Object(more)) = (&mut wanted, more) else {
        panic!("objects");
    };
    wanted_fields.extend(more);
    wanted
}
