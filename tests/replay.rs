//! `stashgate replay` with the real program over its journal.

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

use std::process::Stdio;
use std::time::{Duration, Instant};

use command::{run, stashgate};
use gateway::{Setup, eventually};
use http::get;
use logstash::Logstash;
use replay_support::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const SINCE: &str = "2020-01-01T00:00:00Z";

/// A gateway that has delivered the events `0..events`.
async fn delivered(events: u64, padding: usize) -> (Logstash, Setup, gateway::Gateway) {
    let logstash = Logstash::start().await;
    let setup = Setup::new(
        logstash.address(),
        "[spool.journal]\nmin_free_bytes = \"1MiB\"",
    );
    let gateway = start(&setup).await;
    send(&setup, 0..events, padding);
    logstash.sink().wait_for(0..events).await;
    eventually("the books", || books(&setup, "logstash")[2] == events).await;
    (logstash, setup, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_sent_again_with_the_same_ids_as_often_as_asked() {
    let (logstash, setup, _gateway) = delivered(2_000, 0).await;
    for times in 1..=3 {
        let job = replayed(&setup, &["--from", SINCE, "--yes"]);
        assert_eq!(
            (&job["state"], &job["sent"]["events"]),
            (&json!("done"), &json!(2_000))
        );
        assert_eq!(job["missing_events"], 0);
        eventually("all is sent", || {
            books(&setup, "logstash") == [2_000, 2_000 * times, 2_000 + 2_000 * times]
        })
        .await;
        assert_eq!(logstash.sink().order().len() as u64, 2_000 + 2_000 * times);
    }
    // The same events under the same ids, and no others.
    assert_eq!(logstash.sink().faults(), 0);
    assert_eq!(logstash.sink().distinct(), 2_000);
    let metrics = get(setup.admin, "/metrics").body;
    assert!(
        metrics.contains("stashgate_replayed_events_total{queue=\"logstash\"} 6000"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_day_by_day_and_sends_what_it_counted_when_told_to() {
    let (logstash, setup, _gateway) = delivered(500, 0).await;
    let today = &stashgate::batch::UnixMillis::now().to_string()[..10];
    let counted = replay(&setup, &["--day", today, "--dry-run"]);
    assert_eq!(counted.code, Some(0), "{}", counted.err);
    for said in [today, "500 events", "10 batches", "replay resume 1"] {
        assert!(counted.out.contains(said), "{said}: {}", counted.out);
    }
    // What comes after the count is not in it.
    send(&setup, 500..600, 0);
    logstash.sink().wait_for(0..600).await;
    assert_eq!(logstash.sink().order().len(), 600);
    assert_eq!(replay(&setup, &["resume"]).code, Some(0));
    let job = wait_for(&setup, 1, "done").await;
    assert_eq!(
        (&job["sent"]["events"], &job["counted"]["events"]),
        (&json!(500), &json!(500))
    );
    eventually("all is sent", || books(&setup, "logstash")[2] == 1_100).await;
    assert_eq!(logstash.sink().faults(), 0);
    let long_ago = replay(&setup, &["--day", "2020-02-29", "--dry-run"]);
    assert_eq!(long_ago.code, Some(0));
    assert!(!long_ago.out.contains("resume"), "{}", long_ago.out);
    assert!(long_ago.out.contains("nothing to send"), "{}", long_ago.out);
    assert_eq!(replay(&setup, &["resume"]).code, Some(1), "none is left");
    let yesterday = replay(&setup, &["--day", "2020-02-29", "--yes"]);
    assert_eq!(yesterday.code, Some(1));
    assert!(
        yesterday.out.contains("nothing to send"),
        "{}",
        yesterday.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_picks_events_for_another_queue_and_they_keep_their_ids() {
    let (first, other) = (Logstash::start().await, Logstash::start().await);
    let more = format!(
        "[queues.copy.output]\nprotocol = \"json_lines\"\nhosts = [\"{}\"]",
        other.address()
    );
    let setup = Setup::new(first.address(), &more);
    let _gateway = start(&setup).await;
    // Among them one that is refused at the door, and takes a position.
    http::post(
        setup.http,
        &http::events(0..100).replace("{\"n\":7}", "{\"n\":7"),
    );
    first.sink().wait_for(0..7).await;
    eventually("the books", || books(&setup, "logstash")[2] == 99).await;
    let picks = ".n % 3 == 0 or (.n == 50 and error(\"no\"))";
    let wish = ["--from", SINCE, "--where", picks, "--to-queue", "copy"];
    let job = replayed(&setup, &[&wish[..], &["--yes"]].concat());
    let sent = &job["sent"];
    assert_eq!(
        (&sent["events"], &sent["left_out"], &sent["failed"]),
        (&json!(34), &json!(64), &json!(1))
    );
    assert_eq!(job["counted"]["matching_events"], 34);
    eventually("all is sent", || books(&setup, "copy") == [0, 34, 34]).await;
    let expected: Vec<u64> = (0..100).filter(|n| n % 3 == 0).collect();
    assert_eq!(other.sink().order(), expected);
    for n in expected {
        assert_eq!(other.sink().id(n), first.sink().id(n), "{n}");
    }
    let wrong = replay(&setup, &["--from", SINCE, "--where", ".n ==", "--yes"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.err.contains(".n =="), "{}", wrong.err);
}

/// How many events a replay has sent so far.
fn sent(setup: &Setup, id: u64) -> u64 {
    number(&job(setup, id)["sent"]["events"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_can_be_paused_and_cancelled_while_the_next_one_has_its_turn() {
    let (logstash, setup, _gateway) = delivered(1_000, 0).await;
    // So slow that it never comes to its end here.
    let id = number(&begin(&setup, &all_and(json!({ "rate": 10 })))["id"]);
    let next = number(&begin(&setup, &all())["id"]);
    eventually("some is sent", || sent(&setup, id) > 0).await;
    assert_eq!(job(&setup, next)["state"], "waiting", "one at a time");
    assert_eq!(replay(&setup, &["pause", "1"]).code, Some(0));
    // The next one has its turn meanwhile.
    wait_for(&setup, next, "done").await;
    let paused = job(&setup, id);
    assert_eq!(paused["state"], "paused");
    let url = format!("http://{}", setup.admin);
    let status = run(&mut stashgate(&["status", "--url", &url])).out;
    assert!(status.contains("replay 1 of logstash"), "{status}");
    let before = number(&paused["sent"]["events"]);
    assert!(before < 1_000, "{paused}");
    assert_eq!(replay(&setup, &["resume"]).code, Some(0));
    eventually("it goes on", || sent(&setup, id) > before).await;

    assert_eq!(replay(&setup, &["cancel"]).code, Some(0));
    let cancelled = job(&setup, id);
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(replay(&setup, &["resume", "1"]).code, Some(1), "for good");
    let status = replay(&setup, &["status"]);
    assert!(
        status.out.contains("cancelled") && status.out.contains("done"),
        "{}",
        status.out
    );
    let replayed = 1_000 + sent(&setup, id);
    eventually("all is sent", || {
        books(&setup, "logstash") == [1_000, replayed, 1_000 + replayed]
    })
    .await;
    assert_eq!(logstash.sink().faults(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_no_faster_than_it_was_told() {
    let (_logstash, setup, _gateway) = delivered(1_000, 0).await;
    let begun = Instant::now();
    let id = number(&begin(&setup, &all_and(json!({ "rate": 500 })))["id"]);
    wait_for(&setup, id, "done").await;
    // The last of it need not wait.
    assert!(begun.elapsed() > Duration::from_millis(1_500), "too fast");
    assert_eq!(sent(&setup, id), 1_000);
}

/// How many events of the only replay are written down as sent.
fn written_down(setup: &Setup) -> u64 {
    let file = std::fs::read_to_string(setup.data_dir().join("replays.json"));
    let file: Value = serde_json::from_str(&file.expect("the file")).expect("JSON");
    number(&file["entries"][0]["job"]["sent"]["events"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_goes_on_with_its_replay_and_counts_each_event_once() {
    let (logstash, setup, gateway) = delivered(4_000, 1_000).await;
    // While nothing is sent, a replay puts only so much into the queue, a mebibyte.
    hold(&setup, "hold");
    eventually("held", || {
        queue(&setup, "logstash")["endpoints"][0]["state"] == "held"
    })
    .await;
    let id = number(&begin(&setup, &all_and(json!({ "rate": 500 })))["id"]);
    eventually("some is written down", || written_down(&setup) > 0).await;
    gateway.kill();
    let gateway = start(&setup).await;
    let kept = sent(&setup, id);
    assert!((1..4_000).contains(&kept), "{kept}");
    hold(&setup, "resume");
    eventually("it goes on", || sent(&setup, id) > kept).await;
    gateway.kill();
    let _gateway = start(&setup).await;
    let followed = replay(&setup, &["status", "1", "--follow"]);
    assert_eq!(followed.code, Some(0), "{}{}", followed.out, followed.err);
    let done = wait_for(&setup, id, "done").await;
    assert_eq!(done["sent"]["events"], 4_000);
    assert_eq!(
        (&done["sent"]["read_events"], &done["missing_events"]),
        (&json!(4_000), &json!(0))
    );
    eventually("all is sent", || {
        let [accepted, replayed, confirmed] = books(&setup, "logstash");
        accepted == 4_000 && replayed >= 4_000 && confirmed == accepted + replayed
    })
    .await;
    let mut times = vec![0; 4_000];
    for n in logstash.sink().order() {
        times[n as usize] += 1;
    }
    assert!(times.iter().all(|times| *times >= 2), "{times:?}");
    assert_eq!(logstash.sink().faults(), 0);
}

fn hold(setup: &Setup, what: &str) {
    let url = format!("http://{}", setup.admin);
    let ended = run(&mut stashgate(&[what, "--url", &url, "logstash"]));
    assert_eq!(ended.code, Some(0), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn live_events_overtake_a_replay() {
    const PADDING: usize = 2_000;
    let (logstash, setup, _gateway) = delivered(4_000, PADDING).await;
    hold(&setup, "hold");
    eventually("held", || {
        queue(&setup, "logstash")["endpoints"][0]["state"] == "held"
    })
    .await;
    let id = number(&begin(&setup, &all())["id"]);
    eventually("it fills what it may", || {
        number(&queue(&setup, "logstash")["waiting_bytes"]) > 500_000
    })
    .await;
    // A live event comes while most of the replay is still to be sent.
    send(&setup, 9_000_000..9_000_001, 0);
    assert_eq!(job(&setup, id)["state"], "running");
    hold(&setup, "resume");
    wait_for(&setup, id, "done").await;
    eventually("all is sent", || {
        books(&setup, "logstash") == [4_001, 4_000, 8_001]
    })
    .await;
    let order = logstash.sink().order();
    let live = order.iter().position(|n| *n == 9_000_000).expect("it came");
    let before = live - 4_000;
    // A mebibyte may wait, and each of two connections may have had a batch.
    assert!(
        before * PADDING < 3 << 20,
        "{before} replayed events were before it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_waits_while_live_traffic_has_a_backlog() {
    const PADDING: usize = 2_000;
    let (logstash, setup, _gateway) = delivered(1_000, PADDING).await;
    hold(&setup, "hold");
    eventually("held", || {
        queue(&setup, "logstash")["endpoints"][0]["state"] == "held"
    })
    .await;
    let before = stashgate::batch::UnixMillis::now();
    send(&setup, 10_000..11_000, PADDING);
    let id = number(&begin(&setup, &all_and(json!({ "to": before })))["id"]);
    eventually("it says for what it waits", || {
        let reason = job(&setup, id)["reason"].to_string();
        reason.contains("wait in queue logstash")
    })
    .await;
    assert_eq!(job(&setup, id)["sent"]["events"], 0);
    hold(&setup, "resume");
    wait_for(&setup, id, "done").await;
    eventually("all is sent", || books(&setup, "logstash")[2] == 3_000).await;
    assert_eq!(logstash.sink().faults(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_with_the_reason() {
    let logstash = Logstash::start().await;
    let setup = Setup::new(logstash.address(), "");
    let _gateway = start(&setup).await;
    for (path, body, status, words) in [
        (
            "",
            json!({ "queue": "nobody" }),
            404,
            "there is no queue `nobody`",
        ),
        ("", json!({ "to_queue": "nobody" }), 404, "logstash"),
        ("", json!({ "rate": 0 }), 400, "rate"),
        ("", json!({ "from": "2999-01-01T00:00:00Z" }), 400, "empty"),
        (
            "",
            json!({ "from": "2999-01-01T00:00:00Z", "to": "2999-01-02T00:00:00Z" }),
            400,
            "before now",
        ),
        ("", json!({ "from": "yesterday" }), 422, "from"),
        ("", json!({ "form": 1 }), 422, "form"),
        ("", json!({ "where": ".a |" }), 400, ".a |"),
        // Only a repair has one.
        ("", json!({ "where": "$original.a" }), 400, "$original"),
        ("/7/pause", json!({}), 404, "replay 7"),
        ("/x/pause", json!({}), 404, "number"),
    ] {
        let answer = asked(setup.admin, path, &body);
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(answer.body.contains(words), "{body}: {}", answer.body);
    }
    let id = number(&begin(&setup, &all())["id"]);
    wait_for(&setup, id, "done").await;
    assert_eq!(asked(setup.admin, "/1/pause", &json!({})).status, 409);
    assert_eq!(get(setup.admin, "/api/v1/replays/2").status, 404);
    for (args, code, words) in [
        (&["--from", SINCE][..], 2, "--yes"),
        (&["--yes"], 2, "--day"),
        (&["--day", "yesterday", "--yes"], 2, "such as 2026-11-20"),
        (
            &["--from", SINCE, "--yes", "--queue", "nobody"],
            1,
            "no queue `nobody`",
        ),
        (&["pause"], 1, "no replay is under way"),
        (&["resume", "9"], 1, "there is no replay 9"),
    ] {
        let ended = replay(&setup, args);
        assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(words), "{args:?}: {}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_during_the_count_is_told_that_nothing_is_sent_by_itself() {
    let (_logstash, setup, _gateway) = delivered(500, 0).await;
    // Another one has its turn, so that the second one stays where it is.
    begin(&setup, &all_and(json!({ "rate": 1 })));
    wait_for(&setup, 1, "running").await;
    let child = stashgate(&["replay", "--from", SINCE, "--yes"])
        .args(["--url", &format!("http://{}", setup.admin)])
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    eventually("it listens to Ctrl-C", || catches_int(child.id())).await;
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let ended = child.wait_with_output().expect("ended");
    let err = String::from_utf8(ended.stderr).expect("text");
    assert_eq!(ended.status.code(), Some(130), "{err}");
    assert!(err.contains("sends nothing by itself"), "{err}");
    assert!(err.contains("replay resume 2"), "{err}");
    assert_eq!(replay(&setup, &["cancel", "1"]).code, Some(0));
    assert_eq!(wait_for(&setup, 2, "counted").await["sent"]["events"], 0);
}

/// Whether the process does something of its own at SIGINT.
fn catches_int(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.unwrap_or_default();
    let caught = status.lines().find_map(|l| l.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & (1 << (Signal::INT.as_raw() - 1)) != 0)
}
