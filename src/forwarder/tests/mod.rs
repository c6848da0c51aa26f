//! Whole queues: a journal, a forwarder and scripted Logstashes.

mod aside;
mod delivery;
mod drain;
mod duty;
mod failures;
mod http;
mod leasing;
mod lumberjack;
mod ordered;
mod poison;
mod secured;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::logstash::{DEADLINE, Logstash, Script};
use super::timing::Timing;
use super::{EndpointState, EndpointStatus, Forwarder, Held, Route};
use crate::batch::{Batch, BatchId, QueueName, UnixMillis};
use crate::config::{Confirm, Output, Protocol};
use crate::dead_letter::DeadLetters;
use crate::spool::journal::{Journal, Options, Sync};
use crate::spool::{QueueStats, Spool};
use crate::tls;

/// A queue with its spool, and a forwarder that is quicker than in earnest.
struct Queue {
    /// Removed when the queue is dropped.
    dir: TempDir,
    spool: Spool,
    letters: DeadLetters,
    output: Output,
    timing: Timing,
    held: watch::Sender<Held>,
    stop: CancellationToken,
    forwarder: Option<Forwarder>,
    /// Number of the next event.
    next: u64,
}

impl Queue {
    fn to(hosts: &[SocketAddr]) -> Self {
        let dir = TempDir::new().expect("folder");
        Self {
            spool: open_spool(&dir),
            letters: DeadLetters::open(dir.path(), 1 << 20, 0).expect("opens"),
            dir,
            output: Output {
                hosts: hosts.iter().map(SocketAddr::to_string).collect(),
                ..Output::default()
            },
            timing: quick(),
            held: watch::Sender::default(),
            stop: CancellationToken::new(),
            forwarder: None,
            next: 0,
        }
    }

    /// To http inputs.
    fn by_http(hosts: &[SocketAddr]) -> Self {
        let mut queue = Self::to(hosts);
        queue.output.protocol = Protocol::Http;
        queue
    }

    /// To beats inputs.
    fn by_lumberjack(hosts: &[SocketAddr]) -> Self {
        let mut queue = Self::to(hosts);
        queue.output.protocol = Protocol::Lumberjack;
        queue
    }

    /// As after a restart of the gateway.
    async fn reopen(&mut self) {
        self.spool.close().await;
        self.spool = open_spool(&self.dir);
    }

    fn start(&mut self) {
        self.forwarder = Some(Forwarder::start_with(
            QueueName::default(),
            Route {
                output: self.output.clone(),
                tls: tls::Client::load(&self.output.tls).expect("files"),
                held: self.held.subscribe(),
            },
            self.spool.clone(),
            self.letters.clone(),
            self.stop.clone(),
            self.timing.clone(),
        ));
    }

    /// For a Logstash that is there all the time and is to get nothing twice: on a
    /// busy machine an answer may take longer than the window, and a word longer than
    /// silence is borne.
    fn unhurried(mut self) -> Self {
        self.timing.json_lines.window = DEADLINE;
        self.timing.lumberjack.silence = DEADLINE;
        self
    }

    /// Each answer is quick, however busy the machine is.
    fn never_slow(mut self) -> Self {
        self.timing.lumberjack.slow = DEADLINE;
        self.timing.http.slow = DEADLINE;
        self
    }

    /// An answer is slow that comes after [`LATE`], and no other.
    fn slow_if_late(mut self) -> Self {
        self.timing.lumberjack.slow = LATE / 2;
        self.timing.http.slow = LATE / 2;
        self.unhurried()
    }

    fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Appends `batches` of `events` each.
    async fn put(&mut self, batches: u64, events: u64) {
        for _ in 0..batches {
            let lines = (self.next..self.next + events).map(|n| format!("{{\"n\":{n}}}\n"));
            let payload: String = lines.collect();
            self.put_payload(payload, events).await;
        }
    }

    /// Appends one batch of `events`, the one at `at` with `marker` in it.
    async fn put_marked(&mut self, events: u64, at: u64, marker: &str) {
        let line = |n| match n == self.next + at {
            true => format!("{{\"n\":{n},\"text\":\"{marker}\"}}\n"),
            false => format!("{{\"n\":{n}}}\n"),
        };
        let payload: String = (self.next..self.next + events).map(line).collect();
        self.put_payload(payload, events).await;
    }

    async fn put_payload(&mut self, payload: String, events: u64) {
        let batch = Batch {
            id: BatchId::generate(),
            accepted_at: UnixMillis::now(),
            events: events as u32,
            payload: Bytes::from(payload),
            payload_hash: self.next,
            rejected: Box::default(),
            own_metadata: false,
            foreign: false,
            timestamps: crate::batch::Timestamps::None,
            origin: crate::batch::Origin::Accepted,
        };
        let queue = QueueName::default();
        let permit = self.spool.permit(&queue, batch.payload.len(), None).await;
        permit.expect("room").append(batch).await.expect("appended");
        self.next += events;
    }

    fn stats(&self) -> QueueStats {
        self.spool.stats().remove(0)
    }

    /// Waits until all events of the queue are settled.
    async fn settled(&self) -> QueueStats {
        let settled = async {
            loop {
                let stats = self.stats();
                if stats.ledger.confirmed + stats.ledger.dead_letters == self.next {
                    return stats;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        match timeout(DEADLINE, settled).await {
            Ok(stats) => stats,
            Err(_) => panic!(
                "of {} events: {:?} {:?}",
                self.next,
                self.stats(),
                self.endpoints()
            ),
        }
    }

    fn endpoints(&self) -> Vec<EndpointStatus> {
        let status = self.forwarder.as_ref().expect("started").status();
        status.hosts.into_iter().flat_map(|h| h.endpoints).collect()
    }

    async fn wait_for(&self, endpoint: impl Fn(&EndpointStatus) -> bool) {
        let reached = async {
            while !self.endpoints().iter().any(&endpoint) {
                sleep(Duration::from_millis(2)).await;
            }
        };
        if timeout(DEADLINE, reached).await.is_err() {
            panic!("never so: {:?}", self.endpoints());
        }
    }

    async fn wait_for_state(&self, state: EndpointState) {
        self.wait_for(|endpoint| endpoint.state == state).await;
    }

    /// Stops the forwarder; the spool's view when it is done.
    async fn drain(&self) -> QueueStats {
        self.stop.cancel();
        let forwarder = self.forwarder.as_ref().expect("started");
        timeout(DEADLINE, forwarder.join()).await.expect("drains");
        self.stats()
    }

    /// Whether `what` stands in one of the forwarder's dead letters.
    fn letters_say(&self, what: &str) -> bool {
        let folder = self.dir.path().join("dead-letters/forwarder");
        let files = std::fs::read_dir(folder).expect("a folder").flatten();
        let mut bytes = files.filter_map(|file| std::fs::read(file.path()).ok());
        bytes.any(|bytes| memchr::memmem::find(&bytes, what.as_bytes()).is_some())
    }

    fn kept_letters(&self) -> u64 {
        self.letters.waiting_events()
    }
}

fn open_spool(dir: &TempDir) -> Spool {
    let options = Options {
        dir: dir.path().join("journal"),
        sync: Sync::Os,
        segment_bytes: 4 << 20,
        min_free_bytes: 0,
        max_bytes: 1 << 30,
        max_in_flight_bytes: 64 << 20,
        store: "spool",
        retention: Duration::ZERO,
        queues: vec![(QueueName::default(), 1 << 30)],
    };
    Spool::Journal(Journal::open(options).expect("opens"))
}

fn quick() -> Timing {
    let ms = Duration::from_millis;
    Timing {
        json_lines: super::json_lines::Timing {
            stretch: ms(20),
            pace: ms(1),
            look: ms(10),
            window: ms(150),
            probe: ms(500),
        },
        lumberjack: super::lumberjack::Timing {
            silence: ms(1000),
            slow: ms(200),
            alarm: ms(400),
            idle: DEADLINE,
        },
        http: super::http::Timing {
            slow: ms(200),
            ..Default::default()
        },
        blocked: ms(100),
        alive: ms(300),
        backoff: (ms(5), ms(100)),
        spared: ms(20),
        answer: ms(150),
        witness: ms(100),
        young: ms(50),
        drain: ms(1000),
        ..Timing::default()
    }
}

/// An answer that is to be late comes so late, for [`Queue::slow_if_late`].
const LATE: Duration = Duration::from_secs(4);

/// How long a scripted stop goes on after the listener was closed, and how long
/// the next start takes: as measured, far more than the window, but quicker.
const QUIET: Duration = Duration::from_millis(300);
const STARTUP: Duration = Duration::from_millis(400);

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    listener.local_addr().expect("bound")
}
