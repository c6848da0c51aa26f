//! The real program under a port scanner and clients that send nothing but garbage, at
//! full speed over each protocol: good events all arrive, and letters from Elasticsearch
//! are kept, while the budget of what receivers reject is used up.

#![allow(missing_docs)]

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/load.rs"]
mod load;
#[path = "support/sink.rs"]
mod sink;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gateway::{PATIENCE, Setup};
use load::{Books, Style, send_for_ever};
use sink::Sink;
use stashgate::proto::AppendRequest;
use stashgate::proto::ingest_service_client::IngestServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Budget of a place.
const MAX_BYTES: u64 = 2 << 20;

/// What was seen of the flood.
#[derive(Default)]
struct Seen {
    /// TCP connections that the gateway ended.
    closed: AtomicU64,
    /// Batches of garbage that were answered, and those that were not kept.
    answered: AtomicU64,
    not_kept: AtomicU64,
}

/// Lines that are no events, none like another: they are not one letter.
fn garbage() -> String {
    let first = fastrand::u64(..) >> 20;
    let lines = (first..first + 1000).map(|n| format!("\u{1}GET /{n} {{\"of\": no JSON,]\n"));
    lines.collect()
}

/// Connects and sends what scanners send, or nothing, then leaves.
async fn scan(address: SocketAddr) {
    let probes: [&[u8]; 5] = [
        b"",
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0\0\0\0\xff\xff\xff\xff\n\n\n",
        b"SSH-2.0-scan\r\n",
    ];
    for probe in probes.iter().cycle() {
        if let Ok(mut socket) = TcpStream::connect(address).await {
            let _ = socket.write_all(probe).await;
        }
    }
}

/// Sends bad lines until the gateway ends the connection, and begins again.
async fn garbage_by_tcp(address: SocketAddr, seen: Arc<Seen>) {
    loop {
        let Ok(mut socket) = TcpStream::connect(address).await else {
            continue;
        };
        let lines = garbage();
        while socket.write_all(lines.as_bytes()).await.is_ok() {}
        seen.closed.fetch_add(1, Relaxed);
    }
}

async fn garbage_by_http(address: SocketAddr, seen: Arc<Seen>) {
    loop {
        let lines = garbage();
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
            lines.len()
        );
        let Ok(mut socket) = TcpStream::connect(address).await else {
            continue;
        };
        let mut answer = Vec::new();
        let _ = socket.write_all(format!("{head}{lines}").as_bytes()).await;
        let _ = socket.read_to_end(&mut answer).await;
        let says = |what: &[u8]| memchr::memmem::find(&answer, what).is_some();
        seen.answered
            .fetch_add(u64::from(says(b"\"rejected\":[")), Relaxed);
        seen.not_kept
            .fetch_add(u64::from(says(b"\"kept\":false")), Relaxed);
    }
}

async fn garbage_by_grpc(address: SocketAddr, seen: Arc<Seen>) {
    let client = IngestServiceClient::connect(format!("http://{address}")).await;
    let mut client = client
        .expect("connects")
        .max_decoding_message_size(64 << 20);
    loop {
        let request = AppendRequest {
            ndjson: garbage().into(),
            ..AppendRequest::default()
        };
        if let Ok(answer) = client.append(request).await {
            let rejected = answer.into_inner().rejected;
            assert_eq!(rejected.len(), 1000);
            seen.answered.fetch_add(1, Relaxed);
            seen.not_kept
                .fetch_add(u64::from(!rejected[0].kept), Relaxed);
        }
    }
}

fn flood(setup: &Setup, seen: &Arc<Seen>) -> JoinSet<()> {
    let mut flood = JoinSet::new();
    flood.spawn(scan(setup.tcp));
    flood.spawn(garbage_by_tcp(setup.tcp, Arc::clone(seen)));
    flood.spawn(garbage_by_http(setup.http, Arc::clone(seen)));
    flood.spawn(garbage_by_grpc(setup.grpc, Arc::clone(seen)));
    flood
}

/// Posts letter number `n` as Logstash would; it is kept.
async fn refused(http: SocketAddr, n: u64) {
    let body = format!(
        r#"[{{"n":{n},"_gateway_dlq":{{"id":"id-{n}","entry_time":"2026-11-20T10:00:00Z","reason":"why"}}}}]"#
    );
    let head = format!(
        "POST /v1/dead-letters HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut socket = TcpStream::connect(http).await.expect("connects");
    socket
        .write_all((head + &body).as_bytes())
        .await
        .expect("writes");
    let mut answer = String::new();
    let read = timeout(PATIENCE, socket.read_to_string(&mut answer)).await;
    read.expect("answers").expect("reads");
    assert!(answer.ends_with(r#"{"kept":1}"#), "{answer}");
}

/// What a place holds.
fn place(status: &serde_json::Value, name: &str) -> serde_json::Value {
    let places = status["dead_letters"]["places"].as_array();
    let mut places = places.expect("places").iter();
    let place = places.find(|place| place["place"] == name);
    place.expect("a place").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_holds_up_no_events_and_pushes_out_no_letters_of_elasticsearch() {
    let sink = Sink::start();
    let setup = Setup::new(
        sink.address,
        &format!("[dead_letters]\nmax_bytes = {MAX_BYTES}"),
    );
    let _gateway = setup.start_and_wait().await;
    let style = Style {
        text: 100,
        pause: Duration::ZERO,
    };
    let books = Books::new(0, style);
    let load = send_for_ever(setup.grpc, setup.http, &books);
    let seen = Arc::new(Seen::default());
    let flood = flood(&setup, &seen);

    let until = Instant::now() + PATIENCE;
    let mut letters = 0;
    let is_used_up = |status: &serde_json::Value| {
        // That of the inbox and that of the store.
        let bytes = place(status, "door")["bytes"].as_u64().expect("a number");
        bytes > 2 * MAX_BYTES - (256 << 10)
            && seen.not_kept.load(Relaxed) >= 20
            && seen.closed.load(Relaxed) >= 20
    };
    loop {
        refused(setup.http, letters).await;
        letters += 1;
        let status = setup.status().await;
        if is_used_up(&status) {
            break;
        }
        assert!(
            Instant::now() < until,
            "the budget is never used up: {status}"
        );
    }
    for _ in 0..100 {
        refused(setup.http, letters).await;
        letters += 1;
    }
    books.some_more("while the budget is used up").await;
    drop(flood);
    load.end().await;
    books.all_at(&sink).await;
    assert_eq!(sink.faults(), Vec::<String>::new());

    let until = Instant::now() + PATIENCE;
    let mut status = setup.status().await;
    // One that is being filed may be seen twice.
    while place(&status, "logstash")["held"] != letters {
        assert!(Instant::now() < until, "{letters}: {status}");
        status = setup.status().await;
    }
    for name in ["door", "logstash"] {
        assert_eq!(place(&status, name)["unaccounted"], 0, "{status}");
    }
}

/// By hand, on a quiet machine: `cargo test --release --test receiver_floods -- --ignored
/// --nocapture`. Clients and gateway share its processors, so the good clients send at a
/// pace that leaves some.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn measures_good_traffic_with_and_without_a_flood() {
    const STRETCH: Duration = Duration::from_secs(5);
    let sink = Sink::start();
    let more = format!("[dead_letters]\nmax_bytes = {MAX_BYTES}");
    let setup = Setup::new(sink.address, &more);
    let _gateway = setup.start_and_wait().await;
    let style = Style {
        text: 100,
        pause: Duration::from_millis(5),
    };
    let books = Books::new(0, style);
    let load = send_for_ever(setup.grpc, setup.http, &books);
    let seen = Arc::new(Seen::default());
    let mut answers = [0, 0];
    for round in 0..8 {
        let flooded = round % 2 == 1;
        let _flood = flooded.then(|| flood(&setup, &seen));
        let before = books.answers();
        tokio::time::sleep(STRETCH).await;
        answers[usize::from(flooded)] += books.answers() - before;
    }
    load.end().await;
    let (closed, garbage) = (seen.closed.load(Relaxed), seen.answered.load(Relaxed));
    let ratio = answers[1] as f64 / answers[0] as f64;
    eprintln!(
        "batches answered: {} without, {} with a flood ({ratio:.2}), in which {closed} connections \
         were closed and {garbage} batches of garbage answered",
        answers[0], answers[1]
    );
}
