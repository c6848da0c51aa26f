//! `docs/metrics.md` lists what `/metrics` gives, no less and no more.

use std::collections::BTreeMap;
use std::net::SocketAddr;

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;

use gateway::{Setup, eventually};
use http::{ask, events, get, post};
use logstash::{Fault, Logstash};

/// The rows of the page, but for what only a spool in Redis has: name and type.
fn documented() -> BTreeMap<String, String> {
    let page = include_str!("../docs/metrics.md");
    let (lists, _) = page
        .split_once("## With a spool in Redis")
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
    post(http, &events(0..100));
    post(http, "{\"n\":100}\nnot JSON\n");
    let nowhere = format!(
        "POST /v1/events?queue=nowhere HTTP/1.1\r\nHost: {http}\r\nContent-Type: application/json"
    );
    assert_eq!(ask(http, &nowhere, "{}").status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_lists_what_a_scrape_of_a_gateway_gives() {
    let logstash = Logstash::start().await;
    logstash.faults([Fault::Reset]);
    let setup = Setup::new(logstash.address(), "");
    let _gateway = setup.start_and_wait().await;
    make_traffic(setup.http);

    let mut scrape = String::new();
    let confirmed = "stashgate_ledger_events_total{queue=\"logstash\",entry=\"confirmed\"} 101";
    eventually("the confirmation", || {
        scrape = get(setup.admin, "/metrics").body;
        scrape.contains(confirmed)
    })
    .await;
    // All of it once more.
    let replay = format!(
        "POST /api/v1/replays HTTP/1.1\r\nHost: {0}\r\nContent-Type: application/json",
        setup.admin
    );
    assert_eq!(ask(setup.admin, &replay, "{\"from\":0}").status, 200);
    let replayed = "stashgate_replayed_events_total{queue=\"logstash\"} 101";
    let held = "stashgate_dead_letters_held_events{place=\"door\"} 1\n";
    let filed = "stashgate_dead_letters_ledger_events_total{place=\"door\",entry=\"received\"} 1\n";
    eventually("a replay, and the letter in the store", || {
        scrape = get(setup.admin, "/metrics").body;
        let parts = [replayed, held, filed];
        parts.iter().all(|part| scrape.contains(part))
    })
    .await;
    assert_eq!(declared(&scrape), documented());
    let endpoint = format!("endpoint=\"{}\"", logstash.address());
    for name in [
        "stashgate_forwarded_events_total",
        "stashgate_endpoint_state",
    ] {
        let mut lines = scrape.lines().filter(|line| line.starts_with(name));
        assert!(
            lines.any(|line| line.contains(&endpoint)),
            "no {name} of {endpoint} in\n{scrape}"
        );
    }
    for line in [
        "stashgate_accepted_events_total{receiver=\"http\",queue=\"logstash\"} 101",
        "stashgate_rejected_events_total{receiver=\"http\",queue=\"logstash\",reason=\"invalid_json\"} 1",
        "stashgate_ledger_unaccounted_events{queue=\"logstash\"} 0",
        "stashgate_dead_letters_held_events{place=\"door\"} 1",
        "stashgate_dead_letters_ledger_events_total{place=\"door\",entry=\"received\"} 1",
        "stashgate_dead_letters_unaccounted_events{place=\"door\"} 0",
        "stashgate_dead_letters_kept_events_total{source=\"http\",reason=\"invalid_json\"} 1",
        "stashgate_dead_letters_poisoned{place=\"forwarder\"} 0",
        "stashgate_ready 1",
    ] {
        assert!(scrape.lines().any(|l| l == line), "no {line} in\n{scrape}");
    }
    for syncs in [
        "stashgate_sync_seconds_count{store=\"spool\",queue=\"logstash\"}",
        "stashgate_sync_seconds_count{store=\"dead_letters\",queue=\"door\"}",
    ] {
        assert!(scrape.contains(syncs), "no {syncs} in\n{scrape}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_dead_letters_that_failed_is_seen_everywhere() {
    let setup = Setup::new(Logstash::start().await.address(), "");
    let _gateway = setup.start_and_wait().await;
    eventually("ready", || get(setup.admin, "/readyz").status == 200).await;
    // The store makes its file there when it gets its first letter.
    std::fs::remove_dir_all(setup.data_dir().join("dead-letters/door")).expect("removed");
    post(setup.http, "not JSON\n");

    assert_eq!(get(setup.admin, "/readyz").status, 503);
    let scrape = get(setup.admin, "/metrics").body;
    for line in [
        "stashgate_dead_letters_poisoned{place=\"door\"} 1",
        "stashgate_dead_letters_poisoned{place=\"forwarder\"} 0",
        "stashgate_spool_poisoned{queue=\"logstash\"} 0",
        "stashgate_ready 0",
    ] {
        assert!(scrape.lines().any(|l| l == line), "no {line} in\n{scrape}");
    }
    let status = setup.status().await;
    assert_eq!(status["state"], "poisoned");
    assert_eq!(status["dead_letters"]["places"][0]["place"], "door");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_that_are_soon_thrown_away_are_seen_everywhere() {
    let settings = "[dead_letters]\nretention = \"2d\"";
    let setup = Setup::new(Logstash::start().await.address(), settings);
    let _gateway = setup.start_and_wait().await;
    post(setup.http, "not JSON\n");
    let expiring = "stashgate_dead_letters_expiring_events 1";
    let mut scrape = String::new();
    eventually("it is filed", || {
        scrape = get(setup.admin, "/metrics").body;
        scrape.lines().any(|line| line == expiring)
    })
    .await;
    for line in [
        "stashgate_dead_letters_reason_events{reason=\"invalid_json\"} 1",
        "stashgate_dead_letters_trouble 0",
    ] {
        assert!(scrape.lines().any(|l| l == line), "no {line} in\n{scrape}");
    }
    let status = setup.status().await;
    let warnings = status["warnings"].to_string();
    let warning = "1 dead letters are thrown away within three days";
    assert!(warnings.contains(warning), "{warnings}");
}
