//! The real program, killed with SIGKILL while it files dead letters: each that was
//! answered as kept is in the store, once.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
mod letters_support;
#[path = "support/sink.rs"]
mod sink;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway::{PATIENCE, Setup};
use letters_support::*;
use serde_json::Value;
use sink::Sink;
use tokio::time::sleep;

const KILLS: usize = 8;
const CLIENTS: usize = 4;
const LINES: u64 = 200;

/// What the clients share.
#[derive(Default)]
struct Sent {
    next: AtomicU64,
    /// First numbers of the requests that were answered as kept.
    kept: Mutex<BTreeSet<u64>>,
    is_over: AtomicBool,
}

/// The event of this number, which is no JSON.
fn bad(number: u64) -> String {
    format!("{{\"bad\":{number}")
}

/// Sends bad events for ever, each request until it is answered.
fn send(address: SocketAddr, sent: &Sent) {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-ndjson"
    );
    while !sent.is_over.load(Relaxed) {
        let first = sent.next.fetch_add(LINES, Relaxed);
        let lines: String = (first..first + LINES).map(|n| bad(n) + "\n").collect();
        while !sent.is_over.load(Relaxed) {
            let answer = http::try_ask(address, &head, &lines);
            if answer.is_ok_and(|answer| answer.body.contains("\"kept\":true")) {
                sent.kept.lock().expect("no holder panics").insert(first);
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The letters' part of the status, when all are filed.
async fn settled(setup: &Setup) -> Value {
    let (mut last, mut until) = (Value::Null, Instant::now() + PATIENCE);
    loop {
        let letters = setup.status().await["dead_letters"].take();
        if letters["unfiled"] == 0 {
            return letters;
        }
        if letters["unfiled"] != last {
            (last, until) = (letters["unfiled"].clone(), Instant::now() + PATIENCE);
        }
        assert!(Instant::now() < until, "not filed: {letters}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_letter_that_was_kept_is_filed_once_whatever_was_killed() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let sent = Arc::new(Sent::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (http, sent) = (setup.http, sent.clone());
            std::thread::spawn(move || send(http, &sent))
        })
        .collect();
    let answers = || sent.kept.lock().expect("no holder panics").len();
    for kill in 0..KILLS {
        let before = answers();
        let gateway = setup.start();
        let until = Instant::now() + PATIENCE;
        while answers() < before + 5 {
            assert!(Instant::now() < until, "nothing is kept: {}", setup.log());
            sleep(Duration::from_millis(5)).await;
        }
        // Somewhere in a change of the store, or between it and the inbox.
        sleep(Duration::from_micros(fastrand::u64(0..300_000))).await;
        eprintln!("kill {kill}: {} requests answered", answers());
        gateway.kill();
    }
    sent.is_over.store(true, Relaxed);
    for client in clients {
        client.join().expect("ends");
    }

    let gateway = setup.start_and_wait().await;
    let letters = settled(&setup).await;
    for place in letters["places"].as_array().expect("places") {
        assert_eq!(place["unaccounted"], 0, "{letters}");
    }
    assert_eq!(gateway.terminate().await, Some(0));

    let store = table_at(&setup.data_dir(), options());
    let held = held(&store).await;
    assert_eq!(letters["held"], held.len(), "{letters}");
    let events: BTreeSet<_> = held
        .iter()
        .map(|letter| letter.letter.event.clone())
        .collect();
    assert_eq!(events.len(), held.len(), "none is there twice");
    let kept = sent.kept.lock().expect("no holder panics");
    let numbers = kept.iter().flat_map(|first| *first..first + LINES);
    let missing: Vec<_> = numbers
        .filter(|n| !events.contains(bad(*n).as_bytes()))
        .collect();
    assert!(missing.is_empty(), "{missing:?} of {} answers", kept.len());
}
