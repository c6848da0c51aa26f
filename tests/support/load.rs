//! Clients of a gateway that send numbered events all the time, over HTTP and over a
//! gRPC stream, and remember which batches were answered as durable.

#![allow(dead_code)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use stashgate::proto::AppendRequest;
use stashgate::proto::ingest_service_client::IngestServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use crate::gateway::PATIENCE;
use crate::sink::Sink;

pub(crate) const BATCH_EVENTS: u64 = 50;

/// How they send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Bytes of text in each event.
    pub(crate) text: usize,
    /// Between two batches of a client.
    pub(crate) pause: Duration,
}

/// What the clients of a gateway share: the next event's number, and what was
/// answered, by the number of its first event.
#[derive(Clone)]
pub(crate) struct Books {
    next: Arc<Mutex<u64>>,
    answered: Arc<Mutex<BTreeSet<u64>>>,
    style: Style,
    is_over: Arc<AtomicBool>,
}

/// Clients that send; dropped, they end at once.
pub(crate) struct Load {
    books: Books,
    clients: JoinSet<()>,
}

impl Books {
    /// Events are numbered from `first` on.
    pub(crate) fn new(first: u64, style: Style) -> Self {
        Self {
            next: Arc::new(Mutex::new(first)),
            answered: Arc::default(),
            style,
            is_over: Arc::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Relaxed)
    }

    fn next_batch(&self) -> u64 {
        let mut next = self.next.lock().expect("no holder panics");
        *next += BATCH_EVENTS;
        *next - BATCH_EVENTS
    }

    fn answer(&self, first: u64) {
        self.lock().insert(first);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.answered.lock().expect("no holder panics")
    }

    /// How many batches were answered.
    pub(crate) fn answers(&self) -> usize {
        self.lock().len()
    }

    /// Waits until some more batches are answered.
    pub(crate) async fn some_more(&self, when: &str) {
        let before = self.answers();
        let more = async {
            while self.answers() <= before + 5 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let more = timeout(PATIENCE, more).await;
        assert!(more.is_ok(), "no batch is answered {when}");
    }

    /// Waits until all that was answered has arrived, for as long as more arrives.
    pub(crate) async fn all_at(&self, sink: &Sink) {
        let (mut arrived, mut until) = (0, Instant::now() + PATIENCE);
        let mut missing = self.missing(sink);
        while Instant::now() < until && !missing.is_empty() {
            sleep(Duration::from_millis(100)).await;
            if sink.distinct() > arrived {
                (arrived, until) = (sink.distinct(), Instant::now() + PATIENCE);
            }
            missing = self.missing(sink);
        }
        assert!(
            missing.is_empty(),
            "answered and never arrived: {} of {} events, {:?}…",
            missing.len(),
            self.answers() as u64 * BATCH_EVENTS,
            missing.first()
        );
    }

    fn missing(&self, sink: &Sink) -> Vec<u64> {
        let answered = self.lock();
        let events = answered
            .iter()
            .flat_map(|first| *first..first + BATCH_EVENTS);
        events.filter(|seq| !sink.has(*seq)).collect()
    }

    fn request(&self, first: u64) -> AppendRequest {
        let text = "x".repeat(self.style.text);
        let ndjson: String = (first..first + BATCH_EVENTS)
            .map(|seq| format!("{{\"seq\":{seq},\"text\":\"{text}\"}}\n"))
            .collect();
        AppendRequest {
            ndjson: ndjson.into(),
            ..AppendRequest::default()
        }
    }
}

/// Sends until it is ended, also while nobody listens.
pub(crate) fn send_for_ever(grpc: SocketAddr, http: SocketAddr, books: &Books) -> Load {
    let (streams, posts) = (books.clone(), books.clone());
    let mut clients = JoinSet::new();
    clients.spawn(async move {
        while !streams.is_over() {
            stream_until_broken(grpc, &streams).await;
            sleep(Duration::from_millis(20)).await;
        }
    });
    clients.spawn(async move {
        while !posts.is_over() {
            let first = posts.next_batch();
            match post(http, &posts, first).await {
                Some(true) => posts.answer(first),
                _ => sleep(Duration::from_millis(20)).await,
            }
            sleep(posts.style.pause).await;
        }
    });
    Load {
        books: books.clone(),
        clients,
    }
}

impl Load {
    /// Sends nothing more; returns when all that was sent is answered, or lost.
    pub(crate) async fn end(self) {
        self.books.is_over.store(true, Relaxed);
        let ended = timeout(PATIENCE, self.clients.join_all()).await;
        assert!(ended.is_ok(), "a batch is never answered");
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
        while !for_sender.is_over() {
            let first = for_sender.next_batch();
            sending.lock().expect("no holder panics").push(first);
            if requests.send(for_sender.request(first)).await.is_err() {
                return;
            }
            sleep(for_sender.style.pause).await;
        }
    });
    let _ends_with_us = AbortOnDropHandle::new(sender);
    let mut answers = client
        .append_stream(ReceiverStream::new(outgoing))
        .await
        .ok()?
        .into_inner();
    while let Ok(Some(answer)) = answers.message().await {
        let first = sent.lock().expect("no holder panics")[answer.ordinal as usize];
        if answer.error.is_none() && u64::from(answer.accepted) == BATCH_EVENTS {
            books.answer(first);
        }
    }
    None
}

/// One HTTP request a connection, so that a cut answer counts as none.
async fn post(http: SocketAddr, books: &Books, first: u64) -> Option<bool> {
    let body = books.request(first).ndjson;
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
