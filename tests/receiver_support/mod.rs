//! What the tests of the receivers share: an intake on a real journal and a real
//! store of dead letters, and a look into both.

#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod disk;
pub mod grpc;
pub mod http;
pub mod letters;
pub mod lumberjack;
pub mod tcp;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use disk::Disk;
use serde_json::Value;
use stashgate::batch::QueueName;
use stashgate::dead_letter::DeadLetters;
use stashgate::event::Limits;
use stashgate::receiver::Intake;
use stashgate::spool::Spool;
use stashgate::spool::journal::{Journal, Options, Sync};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// No test waits longer for what has to happen.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// What differs from one test to the next.
pub struct Setup {
    pub limits: Limits,
    /// Most waiting bytes of the queue `tiny`.
    pub tiny: u64,
    /// Most bytes of dead letters.
    pub letters: u64,
    /// The spool's disk.
    pub disk: Disk,
    /// That of the dead letters.
    pub letters_disk: Disk,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            tiny: 1 << 10,
            letters: 64 << 20,
            disk: Disk::default(),
            letters_disk: Disk::default(),
        }
    }
}

/// The part of a gateway that receives.
pub struct Gateway {
    pub intake: Intake,
    pub spool: Spool,
    pub letters: DeadLetters,
    pub closing: CancellationToken,
    dir: TempDir,
}

impl Gateway {
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let queues = [
            (QueueName::default(), 1 << 30),
            (name("other"), 1 << 30),
            (name("tiny"), setup.tiny),
        ];
        let spool: Spool = Spool::Journal(open(dir.path(), &queues, setup.disk));
        let letters =
            DeadLetters::open_with(dir.path(), setup.letters, 0, Arc::new(setup.letters_disk));
        let letters = letters.expect("opens");
        let closing = CancellationToken::new();
        let intake = Intake::new(
            spool.clone(),
            letters.clone(),
            setup.limits,
            queues.into_iter().map(|(queue, _)| queue),
            closing.clone(),
        );
        Self {
            intake,
            spool,
            letters,
            closing,
            dir,
        }
    }

    /// Leases until there are `count` events in `queue`, in order; nothing is
    /// left then.
    pub async fn events(&self, queue: &str, count: usize) -> Vec<String> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.lease(queue).await);
        }
        assert_eq!(events.len(), count, "more events than were sent");
        self.assert_empty(queue);
        events
    }

    /// The events of the oldest batch, which is acknowledged.
    pub async fn lease(&self, queue: &str) -> Vec<String> {
        let queue = name(queue);
        let lease = tokio::time::timeout(DEADLINE, self.spool.lease(&queue));
        let lease = lease.await.expect("a batch in time").expect("readable");
        let payload = lease.payload().await.expect("readable");
        assert!(payload.ends_with(b"\n"), "a block ends with a line end");
        assert!(lease.header().matches(&payload));
        lease.ack(0).await.expect("acknowledged");
        let text = std::str::from_utf8(&payload).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    pub fn assert_empty(&self, queue: &str) {
        assert_eq!(self.waiting(queue), 0, "{queue} holds more events");
    }

    pub fn waiting(&self, queue: &str) -> u64 {
        let stats = self.spool.stats();
        let stats = stats.into_iter().find(|q| q.queue.as_str() == queue);
        stats.expect("a queue of the test").waiting_events
    }

    /// How many events the spool answered for, in `queue`.
    pub fn accepted(&self, queue: &str) -> u64 {
        let stats = self.spool.stats();
        let stats = stats.into_iter().find(|q| q.queue.as_str() == queue);
        stats.expect("a queue of the test").ledger.accepted
    }

    pub fn dead_letters_held(&self) -> u64 {
        self.letters.waiting_events()
    }

    /// Fills `tiny`, so that it takes nothing more until a lease is
    /// acknowledged.
    pub async fn fill_tiny(&self) {
        use stashgate::dead_letter::Source;
        use stashgate::receiver::intake::{Patience, Payload};
        let patience = Patience::AtMost(Duration::from_millis(10));
        loop {
            let event = format!("{{\"filler\":\"{}\"}}\n", "x".repeat(200));
            let payload = Payload::Ndjson(event.into());
            let taken = self
                .intake
                .take(Source::Grpc, "tiny", payload, None, patience);
            if taken.await.is_err() {
                return;
            }
        }
    }

    /// What the receivers' dead letters are, on disk; ends the gateway.
    pub async fn dead_letters(self) -> Vec<Value> {
        self.dead_letters_of("door").await
    }

    /// The dead letters of a place (`door`, `logstash`) on disk, in order; ends the
    /// gateway.
    pub async fn dead_letters_of(self, place: &str) -> Vec<Value> {
        self.closing.cancel();
        self.letters.close().await;
        let dir = self.dir;
        drop((self.intake, self.letters, self.spool));
        read_letters(&dir.path().join("dead-letters"), place).await
    }
}

async fn read_letters(dir: &Path, place: &str) -> Vec<Value> {
    let queues = ["door", "forwarder", "logstash"].map(|place| (name(place), 1 << 30));
    let store = Spool::Journal(open(dir, &queues, Disk::default()));
    let place = name(place);
    let stats = store.stats().into_iter();
    let held = stats.filter(|q| q.queue == place).map(|q| q.waiting_events);
    let held = held.sum::<u64>();
    let mut letters = Vec::new();
    while (letters.len() as u64) < held {
        let lease = tokio::time::timeout(DEADLINE, store.lease(&place));
        let lease = lease.await.expect("a letter in time").expect("readable");
        let payload = lease.payload().await.expect("readable");
        let lines = payload.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        letters.extend(lines.map(|l| serde_json::from_slice::<Value>(l).expect("a letter")));
        lease.ack(0).await.expect("acknowledged");
    }
    store.close().await;
    letters
}

fn open(dir: &Path, queues: &[(QueueName, u64)], disk: Disk) -> Journal {
    let options = Options {
        dir: dir.to_owned(),
        sync: Sync::Batch,
        segment_bytes: 8 << 20,
        min_free_bytes: 0,
        max_bytes: 4 << 30,
        max_in_flight_bytes: 64 << 20,
        store: "spool",
        retention: Duration::ZERO,
        queues: queues.to_vec(),
    };
    Journal::open_with(options, Arc::new(disk)).expect("opens")
}

pub fn name(queue: &str) -> QueueName {
    queue.parse().expect("a queue's name")
}

/// A listener on a free port.
pub async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// Waits for a receiver to end.
pub async fn ended<T>(task: JoinHandle<T>) -> T {
    let ended = tokio::time::timeout(DEADLINE, task).await;
    ended.expect("ends in time").expect("ends well")
}

/// Waits until nothing is left to do in this runtime, which has one thread: what was
/// sent was read, and whoever has to wait waits.
pub async fn quiet() {
    for _ in 0..5 {
        // For the kernel, which may bring late what was sent.
        std::thread::sleep(Duration::from_millis(10));
        tokio::time::pause();
        // Passes as soon as nothing else happens.
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::time::resume();
    }
}

/// Waits until `condition` holds.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
