//! One of three hosts is frozen: its kernel takes connections, nobody reads.

use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;

use gateway::{Gateway, Setup, eventually, free};
use http::{events, get, post};

/// The only queue of a gateway.
fn queue(setup: &Setup) -> Value {
    let body = get(setup.admin, "/api/v1/status").body;
    let status: Value = serde_json::from_str(&body).expect("JSON");
    status["queues"][0].clone()
}

fn accepted(setup: &Setup) -> u64 {
    number(&queue(setup)["ledger"]["accepted"])
}

/// There is none while a gateway starts.
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// A process that takes lines and closes as Logstash does: another gateway.
async fn sink() -> (Setup, Gateway) {
    let setup = Setup::new(free(), "");
    let process = setup.start_and_wait().await;
    (setup, process)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_others_go_on_and_what_it_has_in_hand_does_not_grow() {
    let sinks = [sink().await, sink().await, sink().await];
    let addresses = [0, 1, 2].map(|at: usize| sinks[at].0.tcp.to_string());
    let setup = Setup::new(sinks[0].0.tcp, "");
    let settings = std::fs::read_to_string(setup.config_file()).expect("settings");
    let one = format!("hosts = [\"{}\"]", addresses[0]);
    let settings = settings.replace(&one, &format!("hosts = {addresses:?}"));
    std::fs::write(setup.config_file(), settings).expect("written");
    let _gateway = setup.start_and_wait().await;

    let mut posted = 0;
    let mut feed = |batches: u64| {
        for _ in 0..batches {
            post(setup.http, &events(posted..posted + 50));
            posted += 50;
        }
        posted
    };
    let patience = Instant::now() + gateway::PATIENCE;
    while sinks.iter().any(|(sink, _)| accepted(sink) == 0) {
        feed(20);
        assert!(Instant::now() < patience, "a sink gets nothing");
    }
    let (_, frozen) = &sinks[0];
    frozen.signal(Signal::STOP);
    let is_blocked = || queue(&setup)["endpoints"][0]["state"] == "blocked";
    let patience = Instant::now() + gateway::PATIENCE;
    while !is_blocked() {
        feed(5);
        assert!(Instant::now() < patience, "{}", queue(&setup));
    }
    let settled = |total: u64| {
        let queue = queue(&setup);
        let in_hand = number(&queue["leased_events"]);
        let confirmed = number(&queue["ledger"]["confirmed"]);
        (queue["waiting_events"] == 0 && confirmed + in_hand == total).then_some(in_hand)
    };
    let total = feed(20);
    eventually("all that it has not", || settled(total).is_some()).await;
    // Each of its two slots has a stretch that waits and one that is being sent.
    let in_hand = settled(total).unwrap_or(u64::MAX);
    let total = feed(200);
    let within = |in_hand_now: Option<u64>| in_hand_now.is_some_and(|now| now <= in_hand);
    eventually("everything else is delivered", || within(settled(total))).await;

    frozen.signal(Signal::CONT);
    eventually("the rest", || settled(total) == Some(0)).await;
    assert_eq!(queue(&setup)["unaccounted_events"], 0);
    let arrived: u64 = sinks.iter().map(|(sink, _)| accepted(sink)).sum();
    assert!(arrived >= total, "{arrived} of {total}");
}
