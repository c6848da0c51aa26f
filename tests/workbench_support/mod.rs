//! A workbench over real parts: a table and a journal in a folder, or both in a Redis,
//! and jq's child process.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use stashgate::batch::{QueueName, UnixMillis};
use stashgate::dead_letter::store::{
    self, Books, Filed, Letter, Order, RedisStore, Replicas, Span, Store, Table,
};
use stashgate::dead_letter::workbench::{Filter, Page, Question, Report, Settings, Workbench};
use stashgate::dead_letter::{DeadLetter, Place, Reason, Source, Unindexable};
use stashgate::event::Limits;
use stashgate::jq::Runner;
use stashgate::spool::Spool;
use stashgate::spool::journal::{Journal, Options, Sync};
use stashgate::spool::redis::nodes::Nodes;
use stashgate::spool::redis::{QueueOptions, ServerOptions};
use tempfile::TempDir;

use crate::redis_spool_support;
use crate::redis_support::RedisServer;

/// How often an event may be refused on this bench.
pub const MAX_ATTEMPTS: u32 = 3;
/// The longest event that it returns.
pub const MAX_EVENT_BYTES: usize = 2000;

/// How long a Redis may take for an answer, whose disk may be slow now and then.
const PATIENCE: Duration = Duration::from_secs(8);

/// A workbench and what it stands on.
pub struct Bench {
    pub work: Workbench,
    pub store: Store,
    pub spool: Spool,
    _folder: TempDir,
    server: Option<RedisServer>,
}

fn journal(folder: &Path, bytes: u64) -> Spool {
    let options = Options {
        dir: folder.join("journal"),
        sync: Sync::Batch,
        segment_bytes: 1 << 20,
        min_free_bytes: 0,
        max_bytes: 2 * bytes,
        max_in_flight_bytes: 64 << 20,
        store: "spool",
        retention: Duration::from_secs(24 * 3600),
        queues: vec![(queue(), bytes), (other_queue(), bytes)],
    };
    Spool::Journal(Journal::open(options).expect("opens"))
}

async fn redis(url: &str, bytes: u64) -> Spool {
    let mut options = redis_spool_support::options(url);
    options.max_bytes = 2 * bytes;
    options.queues = [queue(), other_queue()]
        .map(|name| QueueOptions {
            name,
            max_bytes: bytes,
            ordered: false,
        })
        .into();
    redis_spool_support::open(options).await
}

fn redis_store(url: &str, options: store::Options) -> Store {
    let server = ServerOptions {
        url: url.to_owned(),
        connect_timeout: PATIENCE,
        response_timeout: PATIENCE,
        ..ServerOptions::default()
    };
    let replicas = Replicas {
        min: 0,
        patience: PATIENCE / 2,
    };
    let nodes = Nodes::new(&server).expect("settings");
    Store::Redis(RedisStore::new(nodes, replicas, options))
}

pub fn queue() -> QueueName {
    QueueName::default()
}

pub fn other_queue() -> QueueName {
    "other".parse().expect("a name")
}

/// What a bench stands on.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Disk,
    Redis,
}

const QUEUE_BYTES: u64 = 1 << 30;

const OPTIONS: store::Options = store::Options {
    max_bytes: 1 << 30,
    retention_ms: 30 * 24 * 3600 * 1000,
    min_free_bytes: 0,
};

impl Bench {
    pub async fn new(kind: Kind) -> Self {
        Self::with_spool_of(kind, QUEUE_BYTES).await
    }

    /// A bench whose queues take so many bytes.
    pub async fn with_spool_of(kind: Kind, bytes: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        match kind {
            Kind::Disk => {
                let table = Table::open(&folder.path().join("letters.redb"), OPTIONS);
                let spool = journal(folder.path(), bytes);
                Self::of(Store::Table(table.expect("opens")), spool, folder, None)
            }
            Kind::Redis => {
                let server = RedisServer::start();
                let spool = redis(&server.url(), bytes).await;
                Self::of(
                    redis_store(&server.url(), OPTIONS),
                    spool,
                    folder,
                    Some(server),
                )
            }
        }
    }

    /// What a second gateway has over the same Redis.
    pub async fn beside(&self) -> Self {
        let url = self.server().url();
        let spool = redis(&url, QUEUE_BYTES).await;
        let folder = tempfile::tempdir().expect("a folder");
        Self::of(redis_store(&url, OPTIONS), spool, folder, None)
    }

    /// Its own Redis.
    pub fn server(&self) -> &RedisServer {
        self.server.as_ref().expect("it stands on Redis")
    }

    fn of(store: Store, spool: Spool, folder: TempDir, server: Option<RedisServer>) -> Self {
        let settings = Settings {
            max_attempts: MAX_ATTEMPTS,
            limits: Limits {
                max_event_bytes: MAX_EVENT_BYTES,
                ..Limits::default()
            },
            queues: vec![queue(), other_queue()],
        };
        let jq = Runner::starting(env!("CARGO_BIN_EXE_stashgate"));
        Self {
            work: Workbench::new(store.clone(), spool.clone(), jq, settings),
            store,
            spool,
            _folder: folder,
            server,
        }
    }

    /// A bench that holds `count` letters of [`conflict`].
    pub async fn with_letters(kind: Kind, count: u32) -> Self {
        let bench = Self::new(kind).await;
        bench.file((0..count).map(conflict).collect()).await;
        bench
    }

    /// Files letters that are all new.
    pub async fn file(&self, letters: Vec<DeadLetter>) {
        for letters in letters.chunks(1000) {
            let filed = self.store.file(letters.to_vec()).await.expect("filed");
            assert!(filed.iter().all(|filed| *filed == Filed::Kept), "{filed:?}");
        }
    }

    /// All letters that are held, oldest first.
    pub async fn held(&self) -> Vec<Letter> {
        let all = Span {
            from: 0,
            to: u64::MAX,
        };
        let selection = store::Selection::default();
        let numbers = self
            .store
            .numbers(&selection, all, Order::OldestFirst, 1 << 20);
        let numbers = numbers.await.expect("read");
        self.store.read(&numbers).await.expect("read")
    }

    /// Their names.
    pub async fn names(&self) -> Vec<String> {
        let held = self.held().await;
        held.into_iter().map(|letter| letter.name).collect()
    }

    /// The events that wait in a queue; it is empty then.
    pub async fn sent(&self, queue: &QueueName) -> Vec<Value> {
        let mut events = Vec::new();
        while self.waiting(queue) > 0 {
            let lease = self.spool.lease(queue).await.expect("leased");
            let payload = lease.payload().await.expect("readable");
            let lines = payload.split(|byte| *byte == b'\n');
            let lines = lines.filter(|line| !line.is_empty());
            events.extend(lines.map(|line| serde_json::from_slice::<Value>(line).expect("JSON")));
            assert_eq!(payload.last(), Some(&b'\n'));
            lease.ack(0).await.expect("settled");
        }
        events
    }

    /// How often each `_id` waits in the default queue.
    pub async fn sent_ids(&self) -> BTreeMap<String, u32> {
        let mut ids = BTreeMap::new();
        for event in self.sent(&queue()).await {
            let id = event["@metadata"]["_id"].as_str().expect("an id");
            *ids.entry(id.to_owned()).or_default() += 1;
        }
        ids
    }

    pub fn waiting(&self, queue: &QueueName) -> u64 {
        let stats = self.spool.stats().into_iter();
        let mut of_queue = stats.filter(|stats| stats.queue == *queue);
        of_queue.next().expect("there").waiting_events
    }

    /// The books of Logstash's letters; they always leave nothing over.
    pub fn books(&self) -> Books {
        let books = self.store.summary().places[&Place::Logstash];
        assert_eq!(books.unaccounted(), 0, "{books:?}");
        books
    }

    /// Returns all that a question means, chunk by chunk; the sum of the reports.
    pub async fn return_all(&self, question: &Question) -> Report {
        let mut question = question.clone();
        let mut sum = Report::default();
        loop {
            let report = self.work.return_(&question).await.expect("returned");
            add(&mut sum, &report);
            question.after = report.next;
            if question.after.is_none() {
                return sum;
            }
        }
    }
}

/// Adds the figures and the failures of a report.
pub fn add(sum: &mut Report, report: &Report) {
    sum.examined += report.examined;
    sum.matched += report.matched;
    sum.done += report.done;
    sum.unchanged += report.unchanged;
    sum.parked += report.parked;
    sum.failed += report.failed;
    sum.failures.extend(report.failures.iter().cloned());
}

/// Do it, with whatever is held.
pub fn all() -> Question {
    Question {
        apply: true,
        ..Question::default()
    }
}

/// The letter number `n` of a mapping conflict.
pub fn conflict(n: u32) -> DeadLetter {
    DeadLetter {
        queue: queue(),
        id: Some(format!("id-{n}")),
        reason: Reason::Unindexable(Unindexable::MappingConflict),
        field: Some("user.id".into()),
        detail: "failed to parse field [user.id] of type [long]".into(),
        source: Source::Logstash,
        attempt: 1,
        at: UnixMillis(1_795_294_380_120),
        event: Bytes::from(format!(r#"{{"n":{n},"user":{{"id":"u{n}"}}}}"#)),
    }
}

/// The same, with another event.
pub fn letter(id: &str, event: impl Into<Vec<u8>>) -> DeadLetter {
    DeadLetter {
        id: Some(id.into()),
        event: event.into().into(),
        ..conflict(0)
    }
}

/// The names on a page.
pub fn ids(page: &Page) -> Vec<&str> {
    page.letters
        .iter()
        .map(|letter| letter.id.as_str())
        .collect()
}

/// The names that a filter leaves, newest first.
pub async fn listed(bench: &Bench, filter: Filter) -> Vec<String> {
    let page = bench.work.list(&filter, None, 100).await.expect("listed");
    assert_eq!(page.next, None);
    ids(&page).into_iter().map(str::to_owned).collect()
}

/// A repair of all letters.
pub fn repair(expression: &str) -> Question {
    Question {
        expression: Some(expression.into()),
        ..Question::default()
    }
}

/// What became of a repair.
pub async fn repaired(bench: &Bench, question: Question) -> Report {
    bench.work.repair(&question).await.expect("repaired")
}
