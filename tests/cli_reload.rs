//! `stashgate run` and SIGHUP: the real program reads its configuration again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;
#[path = "support/pki.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod pki;

use gateway::{Gateway, Setup, eventually, free};
use http::{ask, events, get, post};
use logstash::{Logstash, Script};
use pki::{Authority, Front};

/// Said once a reload, at its end.
const DONE: &str = "the configuration was read again";

/// Replaces `old` in the settings, where it stands.
fn edit(setup: &Setup, old: &str, new: &str) {
    let text = std::fs::read_to_string(setup.config_file()).expect("settings");
    assert!(text.contains(old), "{old} is not in {text}");
    std::fs::write(setup.config_file(), text.replace(old, new)).expect("written");
}

/// Has it read the settings again; what it said of that.
async fn reload(setup: &Setup, gateway: &Gateway) -> String {
    let before = setup.log();
    let done = |log: &str| log.matches(DONE).count() > before.matches(DONE).count();
    gateway.signal(Signal::HUP);
    eventually("a reload", || done(&setup.log())).await;
    setup.log()[before.len()..].to_owned()
}

/// The status of a request with these events.
fn try_post(setup: &Setup, lines: &str) -> u16 {
    let http = setup.http;
    let head =
        format!("POST /v1/events HTTP/1.1\r\nHost: {http}\r\nContent-Type: application/x-ndjson");
    ask(http, &head, lines).status
}

/// What it says about itself.
fn status(setup: &Setup) -> serde_json::Value {
    let body = get(setup.admin, "/api/v1/status").body;
    serde_json::from_str(&body).expect("JSON")
}

/// The status of the only queue.
fn queue(setup: &Setup) -> serde_json::Value {
    status(setup)["queues"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_dead_host_goes_to_the_one_that_replaces_it() {
    let (dead, living) = (free(), Logstash::start().await);
    let setup = Setup::new(dead, "");
    let gateway = setup.start_and_wait().await;
    post(setup.http, &events(0..50));
    eventually("a refused connection", || {
        queue(&setup)["endpoints"][0]["state"] == "unreachable"
    })
    .await;

    let address = living.address().to_string();
    edit(&setup, &dead.to_string(), &address);
    let said = reload(&setup, &gateway).await;
    let change = format!("queues.logstash.output.hosts: [\"{dead}\"] -> [\"{address}\"]");
    assert!(said.contains(&format!("reloaded {change}")), "{said}");
    living.sink().wait_for(0..50).await;
    eventually("the confirmation", || {
        queue(&setup)["ledger"]["confirmed"] == 50
    })
    .await;
    let endpoints = &queue(&setup)["endpoints"];
    assert_eq!(endpoints.as_array().map(Vec::len), Some(1), "{endpoints}");
    assert_eq!(endpoints[0]["address"], address);
    let counted = format!("endpoint=\"{address}\",result=\"confirmed\"");
    assert!(get(setup.admin, "/metrics").body.contains(&counted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_changes_nothing_and_is_explained() {
    let logstash = Logstash::start().await;
    let setup = Setup::new(logstash.address(), "[limits]\nmax_batch_events = 10");
    let gateway = setup.start_and_wait().await;
    // One change would be good by itself.
    edit(
        &setup,
        "max_batch_events = 10",
        "max_batch_events = 1\nmax_conections = 5",
    );
    gateway.signal(Signal::HUP);
    let explained = "there is no setting `limits.max_conections`; the nearest one is";
    eventually("an explanation", || setup.log().contains(explained)).await;
    assert!(setup.log().contains("not reloaded"), "{}", setup.log());

    post(setup.http, &events(0..10));
    logstash.sink().wait_for(0..10).await;
    assert!(!setup.log().contains(DONE), "{}", setup.log());
    edit(&setup, "\nmax_conections = 5", "");
    reload(&setup, &gateway).await;
    assert_eq!(try_post(&setup, &events(10..20)), 413);
    assert_eq!(gateway.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_limits_hold_for_the_next_request_and_for_connections_that_are_open() {
    let logstash = Logstash::start().await;
    let setup = Setup::new(
        logstash.address(),
        "[limits]\nmax_batch_events = 100\nmax_event_bytes = 200",
    );
    let gateway = setup.start_and_wait().await;
    let mut line = TcpStream::connect(setup.tcp).await.expect("connected");
    line.write_all(events(0..1).as_bytes()).await.expect("sent");
    logstash.sink().wait_for(0..1).await;

    edit(&setup, "max_batch_events = 100", "max_batch_events = 3");
    edit(&setup, "max_event_bytes = 200", "max_event_bytes = 50");
    let said = reload(&setup, &gateway).await;
    let change = "reloaded limits.max_batch_events: 100 -> 3";
    assert!(said.contains(change), "{said}");
    assert_eq!(try_post(&setup, &events(0..4)), 413);
    assert_eq!(try_post(&setup, &events(1..4)), 200);

    // It has nothing to be refused by: its lines travel in smaller batches.
    let long = format!("{{\"n\":50,\"pad\":\"{}\"}}\n", "x".repeat(100));
    line.write_all(long.as_bytes()).await.expect("sent");
    line.write_all(events(4..40).as_bytes())
        .await
        .expect("sent");
    line.shutdown().await.expect("ended");
    let end = line.read(&mut [0]).await;
    assert_eq!(end.expect("a clean end"), 0, "{}", setup.log());
    logstash.sink().wait_for(0..40).await;
    eventually("the long one is a letter", || {
        status(&setup)["dead_letters"]["held"] == 1
    })
    .await;
    assert_eq!(logstash.sink().distinct(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_larger_than_the_start_allowed_and_an_address_need_a_restart() {
    let logstash = Logstash::start().await;
    let more = "[limits]\nmax_batch_bytes = \"2MiB\"\nmax_batch_events = 5";
    let setup = Setup::new(logstash.address(), more);
    let gateway = setup.start_and_wait().await;
    let elsewhere = free();
    edit(&setup, &setup.http.to_string(), &elsewhere.to_string());
    edit(
        &setup,
        "\"2MiB\"\nmax_batch_events = 5",
        "\"3MiB\"\nmax_batch_events = 6",
    );
    let said = reload(&setup, &gateway).await;
    let listen = format!(
        "takes effect after a restart: receivers.http.listen: \"{}\" -> \"{elsewhere}\"",
        setup.http
    );
    assert!(said.contains(&listen), "{said}");
    let larger = "takes effect after a restart: limits.max_batch_bytes: \"2MiB\" -> \"3MiB\"";
    assert!(said.contains(larger), "{said}");
    assert!(
        said.contains("reloaded limits.max_batch_events: 5 -> 6"),
        "{said}"
    );
    assert_eq!(try_post(&setup, &events(0..6)), 200);
    assert!(TcpStream::connect(elsewhere).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_asked_for_at_once_and_is_never_said() {
    let logstash = Logstash::start().await;
    let setup = Setup::new(logstash.address(), "");
    let gateway = setup.start_and_wait().await;
    let token = "a-token-of-some-length";
    edit(&setup, "[admin]", &format!("[admin]\ntoken = \"{token}\""));
    let said = reload(&setup, &gateway).await;
    assert!(said.contains("reloaded admin.token: nothing ->"), "{said}");
    assert!(!setup.log().contains(token), "{}", setup.log());
    assert_eq!(get(setup.admin, "/metrics").status, 401);
    let admin = setup.admin;
    let head = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {token}");
    assert_eq!(ask(admin, &head, "").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_blocked_host_has_in_hand_comes_first_at_the_one_that_replaces_it() {
    let (blocked, living) = (Logstash::start().await, Logstash::start().await);
    let setup = Setup::new(blocked.address(), "ordered = true");
    let gateway = setup.start_and_wait().await;
    post(setup.http, &events(0..1));
    eventually("a confirmation", || {
        queue(&setup)["ledger"]["confirmed"] == 1
    })
    .await;
    blocked.script(Script::Stall);
    post(setup.http, &events(1..2));
    eventually("a lease", || queue(&setup)["leased_events"] == 1).await;
    post(setup.http, &events(2..3));

    let (old, new) = (blocked.address().to_string(), living.address().to_string());
    edit(&setup, &old, &new);
    gateway.signal(Signal::HUP);
    living.sink().wait_for(1..3).await;
    // A confirmation that a busy machine holds up has it sent again.
    let mut order = living.sink().order();
    order.truncate(order.iter().position(|n| *n == 2).expect("it came") + 1);
    order.dedup();
    assert_eq!(order, [1, 2]);
    assert_eq!(blocked.sink().distinct(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_reloads_under_load_lose_nothing_of_what_was_answered() {
    let sinks = [Logstash::start().await, Logstash::start().await];
    let setup = Setup::new(sinks[0].address(), "");
    let gateway = setup.start_and_wait().await;
    let enough = Arc::new(AtomicBool::new(false));
    let (http, until) = (setup.http, enough.clone());
    let load = std::thread::spawn(move || {
        let mut answered = 0;
        while !until.load(SeqCst) {
            post(http, &events(answered..answered + 20));
            answered += 20;
        }
        answered
    });
    for round in 0..10 {
        let (here, there) = (&sinks[round % 2], &sinks[(round + 1) % 2]);
        let before = here.received();
        eventually("events at this sink", || here.received() > before).await;
        let (old, new) = (here.address().to_string(), there.address().to_string());
        edit(&setup, &old, &new);
        reload(&setup, &gateway).await;
    }
    enough.store(true, SeqCst);
    let answered = load.join().expect("every batch is answered");

    let both_have = || {
        let [a, b] = sinks.each_ref().map(|sink| sink.sink().order());
        let all: std::collections::BTreeSet<u64> = a.into_iter().chain(b).collect();
        all == (0..answered).collect()
    };
    eventually("every event at one of the two", both_have).await;
    eventually("an even ledger", || {
        queue(&setup)["ledger"]["confirmed"] == answered
    })
    .await;
    assert_eq!(queue(&setup)["unaccounted_events"], 0);
    assert_eq!(sinks.each_ref().map(|sink| sink.sink().faults()), [0, 0]);
    assert_eq!(gateway.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_were_replaced_in_their_files_hold_after_a_reload() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (
        Authority::new(folder.path(), "old"),
        Authority::new(folder.path(), "new"),
    );
    let logstash = Logstash::start().await;
    let files = new.certify("127.0.0.1");
    let config = stashgate::tls::server_config(&files.cert, &files.key, None).expect("serves");
    let front = Front::start(config, logstash.address()).await;
    let tls = format!(
        "confirm = \"written\"\n[queues.logstash.output.tls]\nenabled = true\nca_file = {:?}",
        old.file()
    );
    let setup = Setup::new(front.address, &tls);
    let gateway = setup.start_and_wait().await;
    post(setup.http, &events(0..50));
    eventually("mistrust", || {
        let error = queue(&setup)["endpoints"][0].to_string();
        error.contains("no TLS")
    })
    .await;

    let good = std::fs::read(new.file()).expect("read");
    std::fs::write(old.file(), "no certificate").expect("written");
    gateway.signal(Signal::HUP);
    eventually("a complaint", || {
        setup.log().contains("holds no certificate")
    })
    .await;
    assert_eq!(logstash.received(), 0);

    std::fs::write(old.file(), good).expect("written");
    let said = reload(&setup, &gateway).await;
    assert!(said.contains("TLS were replaced"), "{said}");
    logstash.sink().wait_for(0..50).await;
}
