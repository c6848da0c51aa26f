//! What the tests of the journal share.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

pub mod disk;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stashgate::batch::{Batch, BatchId, QueueName, UnixMillis};
use stashgate::record::Header;
use stashgate::spool::journal::{Journal, Options, Sync};
use stashgate::spool::{AppendError, Appended, Lease, QueueStats, Spool};

/// Long enough that only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A journal in `dir` with the default queue, without limits to speak of.
pub fn options(dir: &Path) -> Options {
    Options {
        dir: dir.join("journal"),
        sync: Sync::Batch,
        segment_bytes: 1 << 20,
        min_free_bytes: 0,
        max_bytes: 1 << 40,
        max_in_flight_bytes: 64 << 20,
        store: "spool",
        retention: Duration::from_secs(7 * 24 * 3600),
        queues: vec![(QueueName::default(), 1 << 40)],
    }
}

pub fn open(options: &Options) -> Spool {
    Spool::Journal(Journal::open(options.clone()).expect("opens"))
}

pub fn open_on(disk: &Arc<disk::Disk>, options: &Options) -> Spool {
    Spool::Journal(Journal::open_with(options.clone(), disk.clone()).expect("opens"))
}

/// A folder in memory where there is one. For tests on a [`disk::Disk`], which
/// knows by itself what is synced, the real disk would only be slow.
pub fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    made.expect("a folder")
}

/// Polls a future once.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

/// Waits until `done`; fails the test if that takes for ever.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Makes the journal look at its cursor, retention and disk now.
pub async fn checkpoint(spool: &Spool) {
    let Spool::Journal(journal) = spool else {
        return;
    };
    journal.checkpoint().await;
}

/// Leases and acknowledges all that waits; returns the numbers.
pub async fn drain(spool: &Spool) -> Vec<u64> {
    let (queue, mut numbers) = (queue(), Vec::new());
    let held = stats(spool).leased_batches;
    let is_empty = || {
        let now = stats(spool);
        now.waiting_events == 0 && now.leased_batches == held
    };
    while !is_empty() {
        // What waited may turn out to be damaged; then nothing comes.
        let next = tokio::select! {
            next = spool.lease(&queue) => next,
            () = until("nothing waits", is_empty) => break,
        };
        let lease = next.expect("leased");
        let payload = lease.payload().await.expect("readable");
        numbers.push(number(lease.header(), &payload));
        lease.ack(0).await.expect("settled");
    }
    numbers
}

pub fn segments(dir: &Path) -> Vec<PathBuf> {
    files(&dir.join("journal/logstash"), "seg")
}

/// Files in the default queue's quarantine, by suffix.
pub fn quarantined(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    files(&dir.join("journal/logstash/quarantine"), suffix)
}

fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("listed").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == suffix))
        .collect();
    paths.sort();
    paths
}

pub fn queue() -> QueueName {
    QueueName::default()
}

/// A batch that tells its number and has `number % 7 + 1` events.
pub fn batch(number: u64) -> Batch {
    let events = number % 7 + 1;
    let lines = (0..events).map(|i| format!("{{\"batch\":{number},\"event\":{i}}}\n"));
    let payload: String = lines.collect();
    Batch {
        id: BatchId::new(format!("b{number}").as_bytes()).expect("valid"),
        accepted_at: UnixMillis::now(),
        events: events as u32,
        payload_hash: number,
        payload: Bytes::from(payload),
        rejected: Box::default(),
        own_metadata: false,
        foreign: false,
        timestamps: stashgate::batch::Timestamps::None,
        origin: stashgate::batch::Origin::Accepted,
    }
}

/// The number of a batch made by [`batch`], if the payload is whole.
pub fn number(header: &Header, payload: &[u8]) -> u64 {
    let number = header.payload_hash;
    assert_eq!(payload, &batch(number).payload[..], "wrong payload");
    assert_eq!(header.id, batch(number).id);
    assert_eq!(header.events, batch(number).events);
    number
}

pub async fn append(spool: &Spool, batch: Batch) -> Result<Appended, AppendError> {
    let bytes = batch.payload.len();
    let permit = spool.permit(&queue(), bytes, Some(PATIENCE)).await?;
    permit.append(batch).await
}

/// Refused if there is no room at once.
pub async fn append_at_once(spool: &Spool, batch: Batch) -> Result<Appended, AppendError> {
    let bytes = batch.payload.len();
    let permit = spool.permit(&queue(), bytes, Some(Duration::ZERO)).await?;
    permit.append(batch).await
}

pub async fn append_numbers(spool: &Spool, numbers: std::ops::Range<u64>) {
    for n in numbers {
        append(spool, batch(n)).await.expect("appended");
    }
}

/// Leases the next batch; fails the test if none comes.
pub async fn lease(spool: &Spool) -> Lease {
    tokio::time::timeout(PATIENCE, spool.lease(&queue()))
        .await
        .expect("a batch comes")
        .expect("leased")
}

/// Leases the next batch and checks it against its number.
pub async fn lease_number(spool: &Spool) -> (u64, Lease) {
    let lease = lease(spool).await;
    let payload = lease.payload().await.expect("readable");
    (number(lease.header(), &payload), lease)
}

pub async fn ack_numbers(spool: &Spool, numbers: impl IntoIterator<Item = u64>) {
    for expected in numbers {
        let (number, lease) = lease_number(spool).await;
        assert_eq!(number, expected);
        lease.ack(0).await.expect("settled");
    }
}

/// The default queue's stats; checks the books on the way.
pub fn stats(spool: &Spool) -> QueueStats {
    let stats = spool.stats().remove(0);
    assert_eq!(stats.unaccounted_events(), 0, "{stats:?}");
    stats
}

/// Copies a folder as it is now.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("listed") {
        let entry = entry.expect("listed");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
