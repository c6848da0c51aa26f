//! `stashgate journal`, on what a stopped gateway left.

use std::fs;
use std::path::PathBuf;

#[path = "support/command.rs"]
mod command;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;

use command::{Ended, run, stashgate};
use gateway::{Gateway, Setup, free};
use http::{events, post};

fn journal(setup: &Setup, args: &[&str]) -> Ended {
    run(stashgate(&["journal"])
        .args(args)
        .arg("--config")
        .arg(setup.config_file()))
}

/// A gateway without a Logstash.
fn setup() -> Setup {
    Setup::new(free(), "")
}

/// Starts it; it takes two batches and a bad event.
async fn fill(setup: &Setup) -> Gateway {
    let gateway = setup.start_and_wait().await;
    post(setup.http, &events(0..3));
    post(setup.http, "{\"n\":3}\nbad\n");
    gateway
}

async fn fill_and_stop(setup: &Setup) {
    assert_eq!(fill(setup).await.terminate().await, Some(0));
}

fn first_segment(setup: &Setup) -> PathBuf {
    let queue = setup.data_dir().join("journal/logstash");
    let mut files = fs::read_dir(queue)
        .expect("read")
        .map(|entry| entry.expect("an entry").path());
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|e| e == "seg");
    files.find(is_segment).expect("a segment")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_running_gateway_are_left_alone() {
    let setup = setup();
    let _gateway = fill(&setup).await;
    for tool in ["check", "repair", "stat", "dump"] {
        let refused = journal(&setup, &[tool]);
        assert_eq!(refused.code, Some(4), "{tool}");
        assert!(
            refused.err.contains("in use by another process"),
            "{}",
            refused.err
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_can_be_looked_at_and_taken_out() {
    let setup = setup();
    fill_and_stop(&setup).await;

    let stat = journal(&setup, &["stat"]).out;
    assert!(stat.contains("queue logstash: 4 events wait"), "{stat}");
    assert!(stat.contains("unaccounted: 0"), "{stat}");

    assert_eq!(journal(&setup, &["dump", "--events"]).out, events(0..4));
    let dump = journal(&setup, &["dump", "--unsettled"]).out;
    let lines: Vec<_> = dump.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].contains("events 3") && lines[0].contains(" waiting "),
        "{dump}"
    );
    let none = journal(&setup, &["dump", "--to", "2020-01-01T00:00:00Z"]);
    assert_eq!((none.code, none.out.as_str()), (Some(0), ""));

    let letters = journal(
        &setup,
        &["dump", "--dead-letters", "--queue", "door", "--events"],
    );
    let letter: serde_json::Value = serde_json::from_str(&letters.out).expect("JSON");
    assert_eq!(letter["reason"], "invalid_json");
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_and_set_aside() {
    let setup = setup();
    fill_and_stop(&setup).await;
    let clean = journal(&setup, &["check"]);
    assert_eq!(clean.code, Some(0), "{}", clean.out);
    assert!(clean.out.contains("nothing to repair"));

    let segment = first_segment(&setup);
    let mut bytes = fs::read(&segment).expect("read");
    let at = bytes
        .windows(7)
        .position(|w| w == b"{\"n\":1}")
        .expect("event 1");
    bytes[at + 5] ^= 1;
    fs::write(&segment, bytes).expect("written");

    let found = journal(&setup, &["check"]);
    assert_eq!(found.code, Some(1));
    assert!(
        found.out.contains("damaged: batches 1 to 1, 3 events"),
        "{}",
        found.out
    );
    let json = journal(&setup, &["check", "--json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["queues"][0]["problems"][0]["kind"], "damaged");

    let repaired = journal(&setup, &["repair"]);
    assert_eq!(repaired.code, Some(0), "{}", repaired.err);
    assert!(
        repaired.out.contains("damaged: batches 1 to 1"),
        "{}",
        repaired.out
    );
    assert_eq!(journal(&setup, &["check"]).code, Some(0));
    assert_eq!(journal(&setup, &["dump", "--events"]).out, events(3..4));
}

#[test]
fn a_folder_without_a_journal_is_named() {
    let check = journal(&setup(), &["check"]);
    assert_eq!(check.code, Some(4));
    assert!(
        check.err.contains("there is no journal in"),
        "{}",
        check.err
    );
}
