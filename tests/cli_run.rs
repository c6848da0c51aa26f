//! `stashgate run`, the real program, with a Logstash that is not there, comes,
//! and goes.

use std::time::Duration;

use rustix::process::Signal;

mod gateway_support;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;

use gateway_support::program::{Gateway, output, run_command, stderr, stdout};
use gateway_support::{events, get, post_events, wait_for};
use logstash::{Logstash, Script};

/// A Logstash that is not there yet.
async fn absent_logstash() -> Logstash {
    let mut logstash = Logstash::start().await;
    logstash.stop_listening().await;
    logstash
}

fn leased_and_waiting(gateway: &Gateway) -> (u64, u64) {
    let shown: serde_json::Value =
        serde_json::from_slice(&gateway.status(&["--json"]).stdout).expect("JSON");
    let figure = |name: &str| shown["queues"][0][name].as_u64().expect("a number");
    (figure("leased_events"), figure("waiting_events"))
}

/// Has the gateway deliver event 0, and then hold event 1 for a Logstash that
/// takes nothing any more.
async fn block(gateway: &Gateway, logstash: &Logstash) {
    let http = gateway.address("http");
    assert_eq!(post_events(http, &events(0..1)).status, 200);
    wait_for("a confirmation", || {
        (leased_and_waiting(gateway) == (0, 0)).then_some(())
    });
    logstash.sink().assert_has(0..1);
    logstash.script(Script::Stall);
    assert_eq!(post_events(http, &events(1..2)).status, 200);
    wait_for("a lease", || {
        (leased_and_waiting(gateway) == (1, 0)).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn without_logstash_it_starts_accepts_and_waits_and_delivers_when_logstash_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut logstash = absent_logstash().await;
    let mut gateway = Gateway::start(folder.path(), logstash.address());

    let answer = post_events(gateway.address("http"), &events(0..50));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let text = wait_for("the refusal of a connection", || {
        let text = stdout(&gateway.status(&[]));
        text.contains("is unreachable for").then_some(text)
    });
    assert!(text.contains("waiting     50 events"), "{text}");
    assert!(
        text.contains("accepted 50 = confirmed 0 + waiting 50 + in hand 0; unaccounted: 0"),
        "{text}"
    );
    assert_eq!(
        get(gateway.address("admin"), "/readyz").status,
        200,
        "an absent Logstash is no reason"
    );

    logstash.start_again(Duration::ZERO).await;
    logstash.sink().wait_for(0..50).await;
    wait_for("the confirmation", || {
        (leased_and_waiting(&gateway) == (0, 0)).then_some(())
    });
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(logstash.sink().faults(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_at_a_stop_is_delivered_after_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut logstash = absent_logstash().await;
    let mut gateway = Gateway::start(folder.path(), logstash.address());
    assert_eq!(
        post_events(gateway.address("http"), &events(0..70)).status,
        200
    );
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0));

    logstash.start_again(Duration::ZERO).await;
    let gateway = Gateway::start(folder.path(), logstash.address());
    logstash.sink().wait_for(0..70).await;
    wait_for("an even ledger", || {
        let text = stdout(&gateway.status(&[]));
        text.contains("accepted 70 = confirmed 70 + waiting 0 + in hand 0; unaccounted: 0")
            .then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_logstash_does_not_hold_up_the_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let logstash = Logstash::start().await;
    let mut gateway = Gateway::start(folder.path(), logstash.address());
    block(&gateway, &logstash).await;
    let admin = gateway.address("admin");
    gateway.signal(Signal::TERM);
    wait_for("a draining gateway", || {
        (get(admin, "/readyz").status == 503).then_some(())
    });
    assert_eq!(gateway.wait().code(), Some(0));

    logstash.script(Script::Read);
    let _gateway = Gateway::start(folder.path(), logstash.address());
    logstash.sink().wait_for(0..2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let logstash = Logstash::start().await;
    let mut gateway = Gateway::start(folder.path(), logstash.address());
    block(&gateway, &logstash).await;
    let admin = gateway.address("admin");
    gateway.signal(Signal::TERM);
    wait_for("a draining gateway", || {
        (get(admin, "/readyz").status == 503).then_some(())
    });
    gateway.signal(Signal::INT);
    assert_eq!(gateway.wait().code(), Some(6));

    logstash.script(Script::Read);
    let _gateway = Gateway::start(folder.path(), logstash.address());
    logstash.sink().wait_for(0..2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_the_same_folder_refuses_to_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let logstash = absent_logstash().await;
    let _first = Gateway::start(folder.path(), logstash.address());
    let second = output(&mut run_command(folder.path(), logstash.address()));
    assert_eq!(second.status.code(), Some(4));
    let said = stderr(&second);
    assert!(said.contains("in use by another process"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_named_with_its_setting() {
    let folder = tempfile::tempdir().expect("a folder");
    let logstash = Logstash::start().await;
    let taken = logstash.address().to_string();
    let mut command = run_command(folder.path(), logstash.address());
    let started = output(command.env("STASHGATE__RECEIVERS__HTTP__LISTEN", &taken));
    assert_eq!(started.status.code(), Some(4));
    let said = stderr(&started);
    assert!(
        said.contains(&format!(
            "cannot listen on {taken}, as receivers.http.listen says"
        )),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_before_a_clean_stop_is_not_sent_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let logstash = Logstash::start().await;
    for life in 0..3 {
        let mut gateway = Gateway::start(folder.path(), logstash.address());
        let numbers = life * 10..life * 10 + 10;
        assert_eq!(
            post_events(gateway.address("http"), &events(numbers)).status,
            200
        );
        wait_for("the confirmation", || {
            (leased_and_waiting(&gateway) == (0, 0)).then_some(())
        });
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.wait().code(), Some(0));
    }
    let mut order = logstash.sink().order();
    order.sort_unstable();
    assert_eq!(order, (0..30).collect::<Vec<u64>>());
}
