//! Events that Elasticsearch refused, given to a running gateway as Logstash gives them.

#![allow(dead_code)]

use serde_json::{Value, json};

use super::gateway::{Setup, eventually};
use super::http::{ask, get};

/// As Logstash's elasticsearch output writes it.
const REASON: &str = r#"Could not index event to Elasticsearch. status: 400, action: ["index", {:_id=>"7", :_index=>"web", :routing=>nil}, {"user"=>{"id"=>"anna"}}], response: {"index"=>{"_index"=>"web", "status"=>400, "error"=>{"type"=>"mapper_parsing_exception", "reason"=>"failed to parse field [user.id] of type [long] in document with id '7'. Preview of field's value: 'anna'"}}}"#;

/// Refused event number `n`, under the id `id-N`.
pub(crate) fn refused(n: u64) -> Value {
    json!({
        "n": n,
        "user": {"id": n},
        "_gateway_dlq": {
            "reason": REASON,
            "entry_time": "2026-11-20T10:00:00Z",
            "id": format!("id-{n}"),
            "attempt": 1,
        },
    })
}

/// Has these events refused; they are kept.
pub(crate) fn post(setup: &Setup, events: &[Value]) {
    for events in events.chunks(1000) {
        let body = Value::from(events).to_string();
        let head = format!(
            "POST /v1/dead-letters HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json",
            setup.http
        );
        let answer = ask(setup.http, &head, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// Has these events refused, and waits until their letters are in the store.
pub(crate) async fn refuse(setup: &Setup, events: &[Value]) {
    let before = held(setup);
    post(setup, events);
    let expected = before + events.len() as u64;
    eventually("filed", || held(setup) == expected).await;
}

/// How many letters the groups count.
pub(crate) fn held(setup: &Setup) -> u64 {
    let groups = get(setup.admin, "/api/v1/dead-letters/groups");
    assert_eq!(groups.status, 200, "{}", groups.body);
    let groups: Value = serde_json::from_str(&groups.body).expect("JSON");
    let groups = groups["groups"].as_array().expect("a list");
    groups
        .iter()
        .filter_map(|group| group["events"].as_u64())
        .sum()
}
