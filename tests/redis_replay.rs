//! `stashgate replay` over Redis: two gateways share it, and the old agent wrote there.

#[path = "support/command.rs"]
mod command;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/load.rs"]
mod load;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;
mod redis_site;
mod redis_support;
mod replay_support;
#[path = "support/sink.rs"]
mod sink;

use deadpool_redis::redis::cmd;
use gateway::{Setup, eventually};
use logstash::Logstash;
use redis_site::in_redis;
use redis_support::RedisServer;
use replay_support::*;
use serde_json::json;

const SINCE: &str = "2020-01-01T00:00:00Z";

/// The list `key` as the old agent left it: plain events.
fn agent(redis: &RedisServer, key: &str, numbers: std::ops::Range<u64>) {
    let events: Vec<String> = numbers.map(|n| format!("{{\"n\":{n}}}")).collect();
    let mut push = cmd("RPUSH");
    push.arg(key).arg(events);
    push.query::<u64>(&mut redis.client()).expect("pushed");
}

/// Waits until all of `events` are in the archive.
async fn kept(setup: &Setup, events: u64) {
    eventually("kept", || {
        let job = replayed(setup, &["--from", SINCE, "--dry-run"]);
        // Where there is nothing yet, nothing is left to be cancelled.
        if job["state"] == "counted" {
            let cancelled = replay(setup, &["cancel", &job["id"].to_string()]);
            assert_eq!(cancelled.code, Some(0), "{}", cancelled.err);
        }
        number(&job["counted"]["events"]) == events
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_all_gateways_delivered_is_sent_again_once_with_the_same_ids() {
    let (redis, logstash) = (RedisServer::start(), Logstash::start().await);
    let settings = in_redis(&redis, "");
    let [one, two] = [(); 2].map(|()| Setup::new(logstash.address(), &settings));
    let _gateways = (start(&one).await, start(&two).await);
    send(&one, 0..1_000, 0);
    send(&two, 1_000..2_000, 0);
    logstash.sink().wait_for(0..2_000).await;
    kept(&one, 2_000).await;
    for times in 1..=2 {
        let job = replayed(&one, &["--from", SINCE, "--yes"]);
        assert_eq!(job["sent"]["events"], 2_000, "{job}");
        // The books are Redis', so each gateway has the same.
        for setup in [&one, &two] {
            eventually("all is sent", || {
                books(setup, "logstash") == [2_000, 2_000 * times, 2_000 + 2_000 * times]
            })
            .await;
        }
    }
    // Nothing was archived a second time.
    kept(&two, 2_000).await;
    assert_eq!(logstash.sink().order().len(), 6_000);
    assert_eq!(logstash.sink().faults(), 0);
    // They belong to the gateway that was asked.
    let is_done = |setup: &Setup| status(setup)["replays"].to_string().contains("\"done\"");
    assert!(is_done(&one) && !is_done(&two));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dated_lists_of_the_old_agent_are_sent_again_padded_or_not() {
    let (redis, logstash) = (RedisServer::start(), Logstash::start().await);
    agent(&redis, "logstash-2026/1/5", 0..300);
    agent(&redis, "logstash-2026/01/06", 300..400);
    agent(&redis, "logstash-2026/1/7", 400..500);
    // What a person or another program left there.
    redis.ask::<u64>(&["SADD", "logstash-2026/1/6", "{\"n\":9}"]);
    for damaged in ["{\"n\":", "[]", "7", "not JSON", "{\"n\":9}\n{\"n\":9}"] {
        redis.ask::<u64>(&["RPUSH", "logstash-2026/01/06", damaged]);
    }
    let setup = Setup::new(logstash.address(), &in_redis(&redis, ""));
    let _gateway = start(&setup).await;
    let day = replayed(&setup, &["--day", "2026-01-05", "--yes"]);
    assert_eq!(day["counted"]["foreign_events"], 300, "{day}");
    eventually("all is sent", || books(&setup, "logstash") == [0, 300, 300]).await;
    let range = [
        "--from",
        "2026-01-05T00:00:00Z",
        "--to",
        "2026-01-07T00:00:00Z",
    ];
    let picked = [&range[..], &["--where", ".n >= 290", "--yes"]].concat();
    let job = replayed(&setup, &picked);
    assert_eq!(job["sent"]["events"], 110, "{job}");
    assert_eq!(job["counted"]["unreadable"], 5, "{job}");
    assert!(
        setup.log().contains("key=logstash-2026/1/6"),
        "{}",
        setup.log()
    );
    eventually("all is sent", || books(&setup, "logstash") == [0, 410, 410]).await;
    let order = logstash.sink().order();
    let times = |n: u64| order.iter().filter(|seen| **seen == n).count();
    assert!((0..290).all(|n| times(n) == 1) && (290..300).all(|n| times(n) == 2));
    assert!((300..400).all(|n| times(n) == 1) && (400..500).all(|n| times(n) == 0));
    // They are where they were.
    assert_eq!(redis.ask::<u64>(&["LLEN", "logstash-2026/1/5"]), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_gateway_goes_on_with_its_replay() {
    let (redis, logstash) = (RedisServer::start(), Logstash::start().await);
    let settings = in_redis(&redis, "heartbeat = \"1s\"");
    let setup = Setup::new(logstash.address(), &settings);
    let mut gateway = start(&setup).await;
    send(&setup, 0..2_000, 0);
    logstash.sink().wait_for(0..2_000).await;
    kept(&setup, 2_000).await;
    let id = number(&begin(&setup, &all_and(json!({ "rate": 400 })))["id"]);
    let mut before = 0;
    for _ in 0..2 {
        let enough = 2_000.min(before + 200);
        eventually("it goes on", || {
            number(&job(&setup, id)["sent"]["events"]) >= enough
        })
        .await;
        before = number(&job(&setup, id)["sent"]["events"]);
        gateway.kill();
        gateway = start(&setup).await;
    }
    let done = wait_for(&setup, id, "done").await;
    assert_eq!(done["sent"]["events"], 2_000, "{done}");
    assert_eq!(done["missing_events"], 0, "{done}");
    let order = || logstash.sink().order();
    let is_there = |n: u64| order().iter().filter(|seen| **seen == n).count() >= 2;
    eventually("all is sent", || (0..2_000).all(is_there)).await;
    eventually("the books", || {
        let [accepted, replayed, confirmed] = books(&setup, "logstash");
        accepted == 2_000 && replayed >= 2_000 && confirmed == accepted + replayed
    })
    .await;
    assert_eq!(logstash.sink().faults(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_waits_for_a_redis_that_is_away() {
    let mut redis = RedisServer::start();
    let logstash = Logstash::start().await;
    let settings = in_redis(&redis, "spill = false");
    let setup = Setup::new(logstash.address(), &settings);
    let _gateway = start(&setup).await;
    send(&setup, 0..500, 0);
    logstash.sink().wait_for(0..500).await;
    kept(&setup, 500).await;
    // It would take ten seconds.
    let id = number(&begin(&setup, &all_and(json!({ "rate": 50 })))["id"]);
    eventually("it runs", || number(&job(&setup, id)["sent"]["events"]) > 0).await;
    redis.kill();
    eventually("it says for what it waits", || {
        job(&setup, id)["reason"].is_string()
    })
    .await;
    assert_eq!(job(&setup, id)["state"], "running");
    redis.restart();
    let done = wait_for(&setup, id, "done").await;
    assert_eq!(done["sent"]["events"], 500, "{done}");
    logstash.sink().wait_for(0..500).await;
    assert_eq!(logstash.sink().faults(), 0);
}
