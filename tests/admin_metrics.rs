//! `docs/metrics.md` lists what `/metrics` gives, no less and no more.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use stashgate::gateway::Gateway;
use tokio::task::spawn_blocking;

mod gateway_support;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;

use gateway_support::{ask, config, events, get, post_events, wait_for};
use logstash::{Fault, Logstash};

/// The rows of the page: name and type.
fn documented() -> BTreeMap<String, String> {
    let page = include_str!("../docs/metrics.md");
    let (lists, _) = page
        .split_once("## Worth an alert")
        .expect("the end of the lists");
    let rows = lists.lines().filter_map(|row| row.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`'));
        let mut next = || cells.next().expect("a cell").to_owned();
        (next(), next())
    })
    .collect()
}

/// What a scrape declares: name and type.
fn declared(scrape: &str) -> BTreeMap<String, String> {
    let lines = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    lines
        .map(|line| {
            let (name, kind) = line.split_once(' ').expect("a name and a type");
            (name.to_owned(), kind.to_owned())
        })
        .collect()
}

/// Makes everything happen that is counted.
fn make_traffic(http: SocketAddr) {
    assert_eq!(post_events(http, &events(0..100)).status, 200);
    assert_eq!(post_events(http, "{\"n\":100}\nnot JSON\n").status, 200);
    let nowhere = format!(
        "POST /v1/events?queue=nowhere HTTP/1.1\r\nHost: {http}\r\nContent-Type: application/json"
    );
    assert_eq!(ask(http, &nowhere, "{}").status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_lists_what_a_scrape_of_a_gateway_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    let logstash = Logstash::start().await;
    logstash.faults([Fault::Reset]);
    let gateway = Gateway::start(config(folder.path(), logstash.address()))
        .await
        .expect("started");
    let (http, admin) = (
        gateway.address("http").expect("bound"),
        gateway.address("admin").expect("bound"),
    );
    spawn_blocking(move || make_traffic(http))
        .await
        .expect("sent");
    logstash.sink().wait_for(0..101).await;

    let scrape = spawn_blocking(move || {
        wait_for("a confirmation", || {
            let scrape = get(admin, "/metrics").body;
            let done = "stashgate_ledger_events_total{queue=\"logstash\",entry=\"confirmed\"} 101";
            scrape.contains(done).then_some(scrape)
        })
    });
    let scrape = scrape.await.expect("scraped");
    assert_eq!(declared(&scrape), documented());
    for line in [
        "stashgate_accepted_events_total{receiver=\"http\",queue=\"logstash\"} 101",
        "stashgate_rejected_events_total{receiver=\"http\",queue=\"logstash\",reason=\"invalid_json\"} 1",
        "stashgate_ledger_unaccounted_events{queue=\"logstash\"} 0",
        "stashgate_dead_letters_held_events 1",
        "stashgate_ready 1",
    ] {
        assert!(scrape.lines().any(|l| l == line), "no {line} in\n{scrape}");
    }
    gateway.stop().await;
}
