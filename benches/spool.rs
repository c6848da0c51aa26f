//! The journal against embedded stores on the same work: 64 callers append
//! batches of 150 KB, each answered when durable; all are read in order and
//! settled; what is settled is deleted.
//!
//! The stores get what the journal has: one writer that takes all batches that
//! are queued and syncs once for them, and settlements that may lag behind. To
//! delete, they only mark what is to go and give the room back later; the
//! journal removes the file.

mod load;

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fjall::KeyspaceCreateOptions;
use load::{EVENTS, append, drain, journal, payload};
use redb::{Durability, ReadableDatabase, TableDefinition};
use stashgate::spool::Spool;
use stashgate::spool::journal::Sync;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

const BATCHES: usize = 256;
const CALLERS: usize = 64;
/// A forwarder settles many batches at once.
const SETTLED_AT_ONCE: u64 = 32;

/// A store as a queue: records by sequence.
trait Store: Send + 'static {
    /// Stores `round` from `first` on; durable when it returns.
    fn append(&mut self, first: u64, round: &[Bytes]);
    /// Length of a record.
    fn read(&self, sequence: u64) -> usize;
    /// All before `sequence` is settled.
    fn settle(&mut self, sequence: u64);
    /// Deletes all before `sequence`.
    fn delete(&mut self, from: u64, to: u64);
}

struct Fjall {
    db: fjall::Database,
    records: fjall::Keyspace,
    cursor: fjall::Keyspace,
}

impl Fjall {
    fn open(dir: &Path) -> Self {
        let db = fjall::Database::builder(dir).open().expect("opens");
        let separated = || {
            KeyspaceCreateOptions::default()
                .with_kv_separation(Some(fjall::KvSeparationOptions::default()))
        };
        let records = db.keyspace("records", separated).expect("made");
        let cursor = db.keyspace("cursor", KeyspaceCreateOptions::default);
        Self {
            records,
            cursor: cursor.expect("made"),
            db,
        }
    }
}

impl Store for Fjall {
    fn append(&mut self, first: u64, round: &[Bytes]) {
        let mut batch = self
            .db
            .batch()
            .durability(Some(fjall::PersistMode::SyncData));
        for (sequence, payload) in (first..).zip(round) {
            batch.insert(&self.records, sequence.to_be_bytes(), &payload[..]);
        }
        batch.commit().expect("committed");
    }

    fn read(&self, sequence: u64) -> usize {
        let record = self.records.get(sequence.to_be_bytes()).expect("read");
        record.expect("there").len()
    }

    fn settle(&mut self, sequence: u64) {
        self.cursor
            .insert("head", sequence.to_be_bytes())
            .expect("written");
    }

    fn delete(&mut self, from: u64, to: u64) {
        for sequence in from..to {
            self.records
                .remove(sequence.to_be_bytes())
                .expect("removed");
        }
    }
}

const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
const CURSOR: TableDefinition<'_, &str, u64> = TableDefinition::new("cursor");

struct Redb(redb::Database);

impl Redb {
    fn open(dir: &Path) -> Self {
        Self(redb::Database::create(dir.join("redb")).expect("opens"))
    }

    fn write(&self, durability: Durability, change: impl FnOnce(&redb::WriteTransaction)) {
        let mut write = self.0.begin_write().expect("begun");
        write.set_durability(durability).expect("set");
        change(&write);
        write.commit().expect("committed");
    }
}

impl Store for Redb {
    fn append(&mut self, first: u64, round: &[Bytes]) {
        self.write(Durability::Immediate, |write| {
            let mut records = write.open_table(RECORDS).expect("open");
            for (sequence, payload) in (first..).zip(round) {
                records.insert(sequence, &payload[..]).expect("written");
            }
        });
    }

    fn read(&self, sequence: u64) -> usize {
        let read = self.0.begin_read().expect("begun");
        let records = read.open_table(RECORDS).expect("open");
        let record = records.get(sequence).expect("read").expect("there");
        record.value().to_vec().len()
    }

    fn settle(&mut self, sequence: u64) {
        self.write(Durability::None, |write| {
            let mut cursor = write.open_table(CURSOR).expect("open");
            cursor.insert("head", sequence).expect("written");
        });
    }

    fn delete(&mut self, from: u64, to: u64) {
        self.write(Durability::None, |write| {
            let mut records = write.open_table(RECORDS).expect("open");
            for sequence in from..to {
                records.remove(sequence).expect("removed");
            }
        });
    }
}

/// How long each part of the work took.
#[derive(Default)]
struct Took {
    append: Duration,
    drain: Duration,
    delete: Duration,
}

type Queued = (Bytes, oneshot::Sender<()>);

/// Runs the work `cycles` times on a store behind a group-committing writer.
fn run_store<S: Store>(runtime: &Runtime, mut store: S, payload: &Bytes, cycles: u64) -> Took {
    let mut took = Took::default();
    let mut first = 1;
    for _ in 0..cycles {
        let end = first + BATCHES as u64;
        let started = Instant::now();
        let (sender, queued) = channel();
        let writer = thread::spawn(move || {
            write_rounds(&mut store, first, &queued);
            store
        });
        runtime.block_on(append_queued(sender, payload));
        store = writer.join().expect("written");
        took.append += started.elapsed();

        let started = Instant::now();
        for sequence in first..end {
            assert_eq!(store.read(sequence), payload.len());
            if (sequence + 1) % SETTLED_AT_ONCE == 0 {
                store.settle(sequence + 1);
            }
        }
        took.drain += started.elapsed();

        let started = Instant::now();
        store.delete(first, end);
        took.delete += started.elapsed();
        first = end;
    }
    took
}

fn write_rounds<S: Store>(store: &mut S, mut next: u64, queued: &Receiver<Queued>) {
    while let Ok(first) = queued.recv() {
        let round: Vec<Queued> = std::iter::once(first).chain(queued.try_iter()).collect();
        let (payloads, answers): (Vec<_>, Vec<_>) = round.into_iter().unzip();
        store.append(next, &payloads);
        next += payloads.len() as u64;
        for answer in answers {
            answer.send(()).expect("somebody waits");
        }
    }
}

async fn append_queued(sender: Sender<Queued>, payload: &Bytes) {
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (sender, payload) = (sender.clone(), payload.clone());
            tokio::spawn(async move {
                for _ in 0..BATCHES / CALLERS {
                    let (answer, answered) = oneshot::channel();
                    sender.send((payload.clone(), answer)).expect("queued");
                    answered.await.expect("durable");
                }
            })
        })
        .collect();
    drop(sender);
    for caller in callers {
        caller.await.expect("appended");
    }
}

fn run_journal(runtime: &Runtime, spool: &Spool, payload: &Bytes, cycles: u64) -> Took {
    let mut took = Took::default();
    let Spool::Journal(journal) = spool else {
        panic!("a journal");
    };
    runtime.block_on(async {
        for _ in 0..cycles {
            let started = Instant::now();
            append(spool, payload, BATCHES, CALLERS).await;
            took.append += started.elapsed();
            let started = Instant::now();
            drain(spool, BATCHES).await;
            took.drain += started.elapsed();
            let started = Instant::now();
            journal.checkpoint().await;
            took.delete += started.elapsed();
        }
    });
    took
}

fn spool_benches(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let payload = payload();
    type Part = fn(Took) -> Duration;
    let parts: [(&str, Part); 3] = [
        ("append", |took| took.append),
        ("lease_ack", |took| took.drain),
        ("delete", |took| took.delete),
    ];
    for (name, part) in parts {
        let mut group = c.benchmark_group(name);
        group.sample_size(10);
        group.throughput(Throughput::Elements(BATCHES as u64 * EVENTS));
        let dir = || tempfile::tempdir().expect("a folder");
        group.bench_function("journal", |b| {
            let dir = dir();
            let spool = journal(dir.path(), Sync::Batch);
            b.iter_custom(|cycles| part(run_journal(&runtime, &spool, &payload, cycles)));
            runtime.block_on(spool.close());
        });
        group.bench_function("fjall", |b| {
            b.iter_custom(|cycles| {
                let dir = dir();
                part(run_store(
                    &runtime,
                    Fjall::open(dir.path()),
                    &payload,
                    cycles,
                ))
            });
        });
        group.bench_function("redb", |b| {
            b.iter_custom(|cycles| {
                let dir = dir();
                part(run_store(
                    &runtime,
                    Redb::open(dir.path()),
                    &payload,
                    cycles,
                ))
            });
        });
        group.finish();
    }
}

criterion_group!(benches, spool_benches);
criterion_main!(benches);
