//! A day that a real OpenSearch lost is sent again. Skipped, with a message, where
//! Java, Maven or the network is missing.

#[path = "support/command.rs"]
mod command;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/indexer.rs"]
mod indexer;
#[path = "support/opensearch.rs"]
mod opensearch;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/ruby.rs"]
mod ruby;
#[path = "support/site.rs"]
mod site;

use std::process::Stdio;
use std::time::{Duration, Instant};

use command::stashgate;
use gateway::PATIENCE;
use serde_json::Value;
use site::{DAY, Site, plain};

const EVENTS: u64 = 100_000;

/// All that was accepted since the test began, however late it is in the day.
const REPLAY: [&str; 5] = [
    "replay",
    "--from",
    "2026-01-01T00:00:00Z",
    "--yes",
    "--queue",
];

/// A site that has indexed all events, of a day that is past.
async fn indexed() -> Option<(Site, gateway::Gateway)> {
    let site = Site::new("").await?;
    let gateway = site.start().await;
    site.send(EVENTS, plain).await;
    site.comes_to(EVENTS as usize, 0).await;
    site.is_quiet().await;
    site.has_exactly(EVENTS).await;
    Some((site, gateway))
}

async fn replayed_to_the_end(site: &Site) {
    let ledger = site.is_quiet().await;
    let replayed = ledger["replayed"].as_u64().expect("a number");
    assert!(replayed >= EVENTS, "{ledger}");
    assert_eq!(site.indexer.ids() as u64, EVENTS, "the same ids");
    site.has_exactly(EVENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn a_lost_index_is_whole_again_and_one_that_was_not_lost_stays_as_it_was() {
    let Some((site, _gateway)) = indexed().await else {
        return;
    };
    let day = format!("/{DAY}");
    site.engine.call("DELETE", &day, &Value::Null).await;
    assert_eq!(site.engine.count("logstash-*").await, 0);
    let words = [&REPLAY[..], &["logstash"]].concat();
    let job = site.ask(&words).await;
    assert_eq!(job[0]["sent"]["events"], EVENTS, "{job:?}");
    replayed_to_the_end(&site).await;

    // Once more, with all of it there.
    site.ask(&words).await;
    replayed_to_the_end(&site).await;
}

/// Waits until the only replay is at its end.
async fn ended(site: &Site) -> Value {
    let until = Instant::now() + 2 * PATIENCE;
    loop {
        let list = site.ask(&["replay", "status"]).await;
        let job = list[0]["replays"][0].clone();
        if job["state"] == "done" {
            return job;
        }
        assert!(Instant::now() < until, "{job}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn a_gateway_killed_in_the_middle_of_a_replay_goes_on_with_it() {
    let Some((site, gateway)) = indexed().await else {
        return;
    };
    let day = format!("/{DAY}");
    site.engine.call("DELETE", &day, &Value::Null).await;
    let url = format!("http://{}", site.setup.admin);
    let mut replaying = stashgate(&REPLAY);
    replaying.args(["logstash", "--url", &url]);
    replaying.stdout(Stdio::null()).stderr(Stdio::null());
    let mut replaying = replaying.spawn().expect("it starts");
    let before = site.indexer.indexed();
    site.progress("some are there again", || site.indexer.indexed() > before)
        .await;
    gateway.kill();
    let there = site.engine.count(DAY).await;
    assert!(there < EVENTS, "in the middle: {there}");
    let _gateway = site.start().await;
    // Whoever looked on may have lost sight of it; the gateway goes on.
    let _ = tokio::task::spawn_blocking(move || replaying.wait()).await;
    let job = ended(&site).await;
    assert_eq!(job["sent"]["events"], EVENTS, "{job}");
    replayed_to_the_end(&site).await;
}

/// Events without a time of their own get that of their acceptance, so they go to the
/// index in which they were.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn events_without_a_time_find_their_index_again() {
    let Some(site) = Site::new("").await else {
        return;
    };
    let _gateway = site.start().await;
    site.send(1_000, |n| serde_json::json!({"n": n})).await;
    site.comes_to(1_000, 0).await;
    let times = || async {
        let path = "/logstash-*/_search?size=1000&sort=n";
        site.engine.count("logstash-*").await;
        let found = site.engine.call("GET", path, &Value::Null).await;
        let hits = found["hits"]["hits"].as_array().expect("hits").clone();
        let document = |hit: &Value| {
            let time = hit["_source"]["@timestamp"].to_string();
            (hit["_index"].to_string(), hit["_id"].to_string(), time)
        };
        hits.iter().map(document).collect::<Vec<_>>()
    };
    let before = times().await;
    assert_eq!(before.len(), 1_000);
    site.engine
        .call("DELETE", "/logstash-*", &Value::Null)
        .await;
    site.ask(&[&REPLAY[..], &["logstash"]].concat()).await;
    site.progress("all are there again", || site.indexer.indexed() >= 2_000)
        .await;
    assert_eq!(times().await, before);
}
