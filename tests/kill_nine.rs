//! The real program, killed with SIGKILL under load again and again: whatever
//! it answered as durable arrives, under one id.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/sink.rs"]
mod sink;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway::{PATIENCE, Setup};
use sink::Sink;
use stashgate::proto::AppendRequest;
use stashgate::proto::ingest_service_client::IngestServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

const KILLS: usize = 12;
const BATCH_EVENTS: u64 = 50;

/// What the clients share: the next event's number, and what was answered.
#[derive(Clone, Default)]
struct Books {
    next: Arc<Mutex<u64>>,
    answered: Arc<Mutex<BTreeSet<u64>>>,
}

impl Books {
    fn next_batch(&self) -> u64 {
        let mut next = self.next.lock().expect("no holder panics");
        *next += BATCH_EVENTS;
        *next - BATCH_EVENTS
    }

    fn answered(&self, first: u64) {
        self.answered
            .lock()
            .expect("no holder panics")
            .insert(first);
    }

    fn answered_batches(&self) -> Vec<u64> {
        self.answered
            .lock()
            .expect("no holder panics")
            .iter()
            .copied()
            .collect()
    }
}

fn request(first: u64) -> AppendRequest {
    let ndjson: String = (first..first + BATCH_EVENTS)
        .map(|seq| format!("{{\"seq\":{seq},\"text\":\"x\"}}\n"))
        .collect();
    AppendRequest {
        ndjson: ndjson.into(),
        ..AppendRequest::default()
    }
}

/// Sends over one stream until it breaks; a batch counts only when its answer came.
async fn stream_until_broken(grpc: SocketAddr, books: &Books) -> Option<()> {
    let mut client = IngestServiceClient::connect(format!("http://{grpc}"))
        .await
        .ok()?;
    let (requests, outgoing) = tokio::sync::mpsc::channel(4);
    let sent: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (for_sender, sending) = (books.clone(), Arc::clone(&sent));
    let sender = tokio::spawn(async move {
        loop {
            let first = for_sender.next_batch();
            sending.lock().expect("no holder panics").push(first);
            if requests.send(request(first)).await.is_err() {
                return;
            }
        }
    });
    let mut answers = client
        .append_stream(ReceiverStream::new(outgoing))
        .await
        .ok()?
        .into_inner();
    while let Ok(Some(answer)) = answers.message().await {
        let first = sent.lock().expect("no holder panics")[answer.ordinal as usize];
        if answer.error.is_none() && u64::from(answer.accepted) == BATCH_EVENTS {
            books.answered(first);
        }
    }
    sender.abort();
    None
}

/// One HTTP request a connection, so that a cut answer counts as none.
async fn post(http: SocketAddr, first: u64) -> Option<bool> {
    let body = request(first).ndjson;
    let mut socket = TcpStream::connect(http).await.ok()?;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.ok()?;
    socket.write_all(&body).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    let accepted = format!("\"accepted\":{BATCH_EVENTS}");
    Some(answer.starts_with("HTTP/1.1 200") && answer.replace(' ', "").contains(&accepted))
}

async fn send_for_ever(addresses: (SocketAddr, SocketAddr), books: Books) {
    let (grpc, http) = addresses;
    let for_http = books.clone();
    let poster = tokio::spawn(async move {
        loop {
            let first = for_http.next_batch();
            match post(http, first).await {
                Some(true) => for_http.answered(first),
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let _ends_with_us = tokio_util::task::AbortOnDropHandle::new(poster);
    loop {
        stream_until_broken(grpc, &books).await;
        sleep(Duration::from_millis(20)).await;
    }
}

async fn more_answers_than(books: &Books, before: usize) {
    let more = async {
        while books.answered_batches().len() <= before + 5 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, more)
        .await
        .expect("the gateway answers again after it was killed");
}

async fn all_at(sink: &Sink, answered: &[u64]) {
    let missing = || {
        let events = answered
            .iter()
            .flat_map(|first| *first..first + BATCH_EVENTS);
        events.filter(|seq| !sink.has(*seq)).collect::<Vec<_>>()
    };
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until && !missing().is_empty() {
        sleep(Duration::from_millis(100)).await;
    }
    let missing = missing();
    assert!(
        missing.is_empty(),
        "answered and never arrived: {} events, {:?}…",
        missing.len(),
        missing.first()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_missing_after_a_dozen_kills_under_load() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "[spool.journal]\nsegment_bytes = \"8MiB\"");
    let books = Books::default();

    let load = tokio::spawn(send_for_ever((setup.grpc, setup.http), books.clone()));
    for kill in 0..KILLS {
        let gateway = setup.start();
        more_answers_than(&books, books.answered_batches().len()).await;
        // Long enough for confirmations and cursors before some of the kills.
        sleep(Duration::from_millis(fastrand::u64(0..1_800))).await;
        eprintln!(
            "kill {kill}: {} batches answered",
            books.answered_batches().len()
        );
        gateway.kill();
    }
    load.abort();

    let gateway = setup.start();
    let answered = books.answered_batches();
    all_at(&sink, &answered).await;
    assert_eq!(sink.faults(), Vec::<String>::new());
    let status = setup.status().await.to_string();
    assert!(status.contains("\"unaccounted_events\":0"), "{status}");
    assert_eq!(
        gateway.terminate().await,
        Some(0),
        "SIGTERM ends it with success"
    );
}
