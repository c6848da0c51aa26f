//! `stashgate run`, the real program, with a Logstash that is not there, comes,
//! and goes.

use std::time::Duration;

use rustix::process::Signal;

#[path = "support/beats.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod beats;
#[path = "support/command.rs"]
mod command;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;

use beats::Beats;
use command::{run, stashgate};
use gateway::{Gateway, Setup, eventually};
use http::{events, get, post};
use logstash::{Logstash, Script};

/// A Logstash that is not there yet.
async fn absent_logstash() -> Logstash {
    let mut logstash = Logstash::start().await;
    logstash.stop_listening().await;
    logstash
}

/// What `stashgate status` shows.
fn shown(setup: &Setup) -> String {
    let url = format!("http://{}", setup.admin);
    run(&mut stashgate(&["status", "--url", &url])).out
}

/// Events in hand, and events waiting.
fn held(setup: &Setup) -> (u64, u64) {
    let url = format!("http://{}", setup.admin);
    let json = run(&mut stashgate(&["status", "--json", "--url", &url])).out;
    let status: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let figure = |name: &str| status["queues"][0][name].as_u64().expect("a number");
    (figure("leased_events"), figure("waiting_events"))
}

/// Has the gateway deliver event 0, and then hold event 1 for a Logstash that
/// takes nothing any more.
async fn block(setup: &Setup, logstash: &Logstash) {
    post(setup.http, &events(0..1));
    eventually("a confirmation", || held(setup) == (0, 0)).await;
    logstash.sink().assert_has(0..1);
    logstash.script(Script::Stall);
    post(setup.http, &events(1..2));
    eventually("a lease", || held(setup) == (1, 0)).await;
}

/// Asks it to stop, and waits until it says that it is stopping.
async fn begin_to_stop(setup: &Setup, gateway: &Gateway) {
    gateway.signal(Signal::TERM);
    eventually("a draining gateway", || {
        get(setup.admin, "/readyz").status == 503
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_logstash_it_starts_accepts_and_waits_and_delivers_when_logstash_comes() {
    let mut logstash = absent_logstash().await;
    let setup = Setup::new(logstash.address(), "");
    let gateway = setup.start_and_wait().await;
    post(setup.http, &events(0..50));
    eventually("a refused connection", || {
        shown(&setup).contains("is unreachable for")
    })
    .await;
    let text = shown(&setup);
    assert!(text.contains("waiting     50 events"), "{text}");
    let books = "accepted 50 = confirmed 0 + waiting 50 + in hand 0; unaccounted: 0";
    assert!(text.contains(books), "{text}");
    assert_eq!(
        get(setup.admin, "/readyz").status,
        200,
        "an absent Logstash is no reason"
    );

    logstash.start_again(Duration::ZERO).await;
    logstash.sink().wait_for(0..50).await;
    eventually("the confirmation", || held(&setup) == (0, 0)).await;
    assert_eq!(gateway.terminate().await, Some(0));
    assert_eq!(logstash.sink().faults(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_warns_of_nothing() {
    let logstash = Logstash::start().await;
    let setup = Setup::new(logstash.address(), "");
    let _gateway = setup.start_and_wait().await;
    let mut status = serde_json::Value::Null;
    eventually("a start", || {
        status = serde_json::from_str(&get(setup.admin, "/api/v1/status").body).expect("JSON");
        status["state"] == "running"
    })
    .await;
    assert_eq!(status["warnings"], serde_json::json!([]), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_at_a_stop_is_delivered_after_the_next_start() {
    let mut logstash = absent_logstash().await;
    let setup = Setup::new(logstash.address(), "");
    let gateway = setup.start_and_wait().await;
    post(setup.http, &events(0..70));
    assert_eq!(gateway.terminate().await, Some(0));

    logstash.start_again(Duration::ZERO).await;
    let _gateway = setup.start_and_wait().await;
    logstash.sink().wait_for(0..70).await;
    let books = "accepted 70 = confirmed 70 + waiting 0 + in hand 0; unaccounted: 0";
    eventually("an even ledger", || shown(&setup).contains(books)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_before_a_clean_stop_is_not_sent_again() {
    // By a protocol in which a confirmation may take its time.
    let logstash = Beats::start().await;
    let setup = Setup::new(logstash.address(), "");
    setup.output("protocol = \"lumberjack\"");
    for life in 0..3 {
        let gateway = setup.start_and_wait().await;
        post(setup.http, &events(life * 10..life * 10 + 10));
        eventually("the confirmation", || held(&setup) == (0, 0)).await;
        assert_eq!(gateway.terminate().await, Some(0));
    }
    let mut order = logstash.sink().order();
    order.sort_unstable();
    assert_eq!(order, (0..30).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_logstash_does_not_hold_up_the_stop() {
    let logstash = Logstash::start().await;
    let setup = Setup::new(logstash.address(), "");
    let gateway = setup.start_and_wait().await;
    block(&setup, &logstash).await;
    begin_to_stop(&setup, &gateway).await;
    assert_eq!(gateway.exit_code().await, Some(0));

    logstash.script(Script::Read);
    let _gateway = setup.start_and_wait().await;
    logstash.sink().wait_for(0..2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    let logstash = Logstash::start().await;
    let setup = Setup::new(logstash.address(), "");
    let gateway = setup.start_and_wait().await;
    block(&setup, &logstash).await;
    begin_to_stop(&setup, &gateway).await;
    gateway.signal(Signal::INT);
    assert_eq!(gateway.exit_code().await, Some(6));

    logstash.script(Script::Read);
    let _gateway = setup.start_and_wait().await;
    logstash.sink().wait_for(0..2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_the_same_folder_refuses_to_start() {
    let logstash = absent_logstash().await;
    let setup = Setup::new(logstash.address(), "");
    let _first = setup.start_and_wait().await;
    let second = run(stashgate(&["run", "--config"])
        .arg(setup.config_file())
        .env("STASHGATE__ADMIN__LISTEN", "127.0.0.1:0")
        .env("STASHGATE__RECEIVERS__GRPC__LISTEN", "127.0.0.1:0")
        .env("STASHGATE__RECEIVERS__HTTP__LISTEN", "127.0.0.1:0")
        .env("STASHGATE__RECEIVERS__TCP__DEFAULT__LISTEN", "127.0.0.1:0"));
    assert_eq!(second.code, Some(4));
    assert!(
        second.err.contains("in use by another process"),
        "{}",
        second.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_address_is_named_with_its_setting() {
    let logstash = Logstash::start().await;
    let setup = Setup::new(logstash.address(), "");
    let taken = logstash.address().to_string();
    let started = run(stashgate(&["run", "--config"])
        .arg(setup.config_file())
        .env("STASHGATE__RECEIVERS__HTTP__LISTEN", &taken));
    assert_eq!(started.code, Some(4));
    let said = format!("cannot listen on {taken}, as receivers.http.listen says");
    assert!(started.err.contains(&said), "{}", started.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_beside_the_gateway_says_that_it_runs_and_after_it_that_the_addresses_are_free() {
    let setup = Setup::new(Logstash::start().await.address(), "");
    let check = || {
        run(stashgate(&["check", "--config"])
            .arg(setup.config_file())
            .env("STASHGATE__SPOOL__JOURNAL__MIN_FREE_BYTES", "1MiB"))
    };
    let gateway = setup.start_and_wait().await;
    let beside = check();
    assert_eq!(beside.code, Some(0), "{}", beside.out);
    for part in [
        format!("ok       receivers.grpc.listen: {} is taken", setup.grpc),
        "the settings are usable; a gateway runs in this data_dir now".to_owned(),
    ] {
        assert!(beside.out.contains(&part), "no {part:?} in {}", beside.out);
    }

    assert_eq!(gateway.terminate().await, Some(0));
    let after = check();
    assert!(
        after.out.contains("the settings are usable\n"),
        "{}",
        after.out
    );
}
