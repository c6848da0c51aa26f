//! What a person sees of `stashgate replay` on a terminal: the bar, the question, and what
//! is told to who leaves.

#[path = "support/command.rs"]
mod command;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;
mod replay_support;
#[path = "support/terminal.rs"]
mod terminal;

use gateway::{Gateway, Setup, eventually};
use logstash::Logstash;
use replay_support::*;
use terminal::{CTRL_C, Left, Terminal};

const EVENTS: u64 = 400;
const SINCE: &str = "2020-01-01T00:00:00Z";

/// A gateway that has delivered some events.
async fn delivered() -> (Logstash, Setup, Gateway) {
    let logstash = Logstash::start().await;
    let setup = Setup::new(
        logstash.address(),
        "[spool.journal]\nmin_free_bytes = \"1MiB\"",
    );
    let gateway = start(&setup).await;
    send(&setup, 0..EVENTS, 0);
    logstash.sink().wait_for(0..EVENTS).await;
    eventually("the books", || books(&setup, "logstash")[2] == EVENTS).await;
    (logstash, setup, gateway)
}

fn on_terminal(setup: &Setup, args: &[&str]) -> Terminal {
    let url = format!("http://{}", setup.admin);
    let args = [&["replay"], args, &["--url", &url]].concat();
    Terminal::start(100, &args, &[], None)
}

/// Whether nothing reminds of a bar.
fn assert_clean(left: &Left) {
    assert!(left.is_cursor_shown);
    for rest in ["░", "█", "% ", "counting: "] {
        let is_left = left.screen.contains(rest);
        assert!(!is_left, "{rest} is left: {}", left.screen);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_a_replay_is_told_that_it_goes_on_and_what_can_be_done_with_it() {
    let (_logstash, setup, _gateway) = delivered().await;
    let terminal = on_terminal(&setup, &["--from", SINCE, "--yes", "--rate", "1"]);
    terminal
        .shows("a bar", |screen| {
            screen.contains("replay 1 ") && screen.contains('░') && screen.contains("left")
        })
        .await;
    terminal.press(CTRL_C);
    let left = terminal.end();
    assert_eq!(left.code, Some(130), "{}", left.screen);
    assert_clean(&left);
    assert!(
        left.screen.contains("\nreplay 1 goes on at the gateway\n"),
        "{}",
        left.screen
    );
    let url = format!(" --url http://{}", setup.admin);
    for next in ["status 1 --follow", "pause 1", "cancel 1"] {
        let command = format!("stashgate replay {next}{url}");
        assert!(left.screen.contains(&command), "{}", left.screen);
    }
    assert_eq!(job(&setup, 1)["state"], "running", "it does go on");
    // The same who looks on again.
    let again = on_terminal(&setup, &["status", "1", "--follow"]);
    again.shows("a bar", |screen| screen.contains('░')).await;
    assert_eq!(replay(&setup, &["cancel", "1"]).code, Some(0));
    let left = again.end();
    assert_eq!(left.code, Some(1), "not all is sent: {}", left.screen);
    assert_clean(&left);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_and_leaves_sends_nothing() {
    let (_logstash, setup, _gateway) = delivered().await;
    for (keys, code) in [(CTRL_C, 130), ("n\r", 1), ("\r", 1)] {
        let terminal = on_terminal(&setup, &["--from", SINCE]);
        terminal
            .shows("the question", |screen| {
                screen.contains("Put 400 events into queue logstash again? [y/N]")
            })
            .await;
        terminal.press(keys);
        let left = terminal.end();
        assert_eq!(left.code, Some(code), "{}", left.screen);
        assert_clean(&left);
        assert!(
            left.screen.trim_end().ends_with("\nnothing is sent"),
            "{}",
            left.screen
        );
    }
    let states = (1..=3).map(|id| job(&setup, id)["state"].clone());
    assert_eq!(states.collect::<Vec<_>>(), ["cancelled"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_yes_sees_it_through() {
    let (logstash, setup, _gateway) = delivered().await;
    let terminal = on_terminal(&setup, &["--from", SINCE]);
    terminal
        .shows("the question", |screen| screen.contains("[y/N]"))
        .await;
    terminal.press("y\r");
    let left = terminal.end();
    assert_eq!(left.code, Some(0), "{}", left.screen);
    assert_clean(&left);
    assert!(
        left.screen
            .contains("replay 1: 400 events are in queue logstash again"),
        "{}",
        left.screen
    );
    eventually("all is sent", || {
        books(&setup, "logstash") == [EVENTS, EVENTS, 2 * EVENTS]
    })
    .await;
    assert_eq!(logstash.sink().faults(), 0);
}
