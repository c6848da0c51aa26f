//! Dead letters: events that cannot be processed, kept with the reason where a
//! person can find them.
//!
//! The store is a journal of its own in `<data_dir>/dead-letters`, with the
//! same group commit, checksums and recovery as the spool's. It has one queue a
//! group of sources, each with a budget of its own: what is refused at the door
//! never takes the room of what the forwarder finds. Letters are stored as
//! records whose events are `letter` lines; a record has 1 MiB or one letter.
//! Nothing is deleted.
//!
//! A full budget or disk is an answer ([`KeepError::Full`]), not a wait: good
//! traffic goes on. Memory comes back with the next sync, so it is waited for, and
//! a letter is written down only when it has its share.

mod letter;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, BatchId, QueueName, UnixMillis};
use crate::event::RejectReason;
use crate::metrics;
use crate::record::MAX_PAYLOAD_LEN;
use crate::spool::journal::files::{Files, OsFiles};
use crate::spool::journal::{Journal, OpenError, Options, Sync};
use crate::spool::{AppendError, FullReason, Permit, QueueStats, Spool};

/// An event that cannot be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The queue it was sent to.
    pub queue: QueueName,
    /// The stable id, if the event got one.
    pub id: Option<String>,
    /// The class of what is wrong.
    pub reason: Reason,
    /// What is wrong, in words.
    pub detail: String,
    /// Who found out.
    pub source: Source,
    /// When.
    pub at: UnixMillis,
    /// The event as it came.
    pub event: Bytes,
}

/// The class of what is wrong with a dead letter; written in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reason {
    /// Refused at the door.
    Rejected(RejectReason),
    /// Found guilty by the forwarder.
    Undeliverable(Undeliverable),
}

impl Reason {
    /// The word for it, as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected(reason) => reason.as_str(),
            Self::Undeliverable(Undeliverable::Poison) => "poison",
        }
    }
}

/// Why the forwarder gave an event up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undeliverable {
    /// The connection failed again and again when this event was sent alone.
    Poison,
}

/// Who found out that an event cannot be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The gRPC receiver.
    Grpc,
    /// The HTTP receiver.
    Http,
    /// A TCP receiver.
    Tcp,
    /// The lumberjack receiver.
    Lumberjack,
    /// Whoever leases plain JSON that others put into Redis.
    Redis,
    /// The forwarder, by bisecting.
    Forwarder,
}

impl Source {
    /// The source's name in snake case, as in JSON: for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Lumberjack => "lumberjack",
            Self::Redis => "redis",
            Self::Forwarder => "forwarder",
        }
    }

    /// The store's queue for letters of this source: whatever takes in shares one
    /// budget, the forwarder has another.
    fn place(self) -> &'static str {
        match self {
            Self::Forwarder => "forwarder",
            _ => "door",
        }
    }
}

/// The queues of the store.
const PLACES: [&str; 2] = ["door", "forwarder"];

/// Letters are few: a small segment does not claim disk that is never used.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Memory for letters that are being stored.
const IN_FLIGHT_BYTES: usize = 32 << 20;
/// Longest record, unless one letter is longer.
const RECORD_BYTES: usize = 1 << 20;
/// How long letters wait for memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why letters were not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    /// The store holds as much as it may.
    #[error("the dead letters hold as much as they may (dead_letters.max_bytes, or the disk)")]
    Full,
    /// Letters are coming faster than the disk takes them.
    #[error("the disk takes dead letters too slowly")]
    TooSlow,
    /// A letter is longer than a record can be.
    #[error("a dead letter of {0} bytes is longer than can be stored")]
    TooLong(usize),
    /// The store failed.
    #[error("the dead letters cannot be stored: {0}")]
    Failed(String),
}

/// What the store holds, as of now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterStats {
    /// Letters held, by any source.
    pub held: u64,
    /// Their length as stored, in bytes.
    pub bytes: u64,
    /// Whether the budget of a group of sources is used up.
    pub full: bool,
    /// Why the store takes nothing more until a restart.
    pub poisoned: Option<String>,
    /// The same for each group of sources, with its books.
    pub groups: Vec<GroupStats>,
}

/// What a group of sources has in the store. Letters, since the store was made:
/// received = held + quarantined + unaccounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStats {
    /// `door` (the receivers) or `forwarder`.
    pub group: String,
    /// Letters that were stored.
    pub received: u64,
    /// Letters held.
    pub held: u64,
    /// Letters in records found damaged and set aside.
    pub quarantined: u64,
    /// What the books leave over; 0, or letters were lost or made.
    pub unaccounted: i64,
    /// Length of the letters held, in bytes.
    pub bytes: u64,
    /// Whether its budget is used up.
    pub full: bool,
    /// Why it takes nothing more until a restart.
    pub poisoned: Option<String>,
}

impl From<QueueStats> for GroupStats {
    fn from(place: QueueStats) -> Self {
        Self {
            received: place.ledger.accepted,
            held: place.waiting_events,
            quarantined: place.ledger.quarantined,
            unaccounted: place.unaccounted_events(),
            bytes: place.waiting_bytes,
            full: place.full.is_some(),
            group: place.queue.to_string(),
            poisoned: place.poisoned,
        }
    }
}

/// The store of dead letters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    spool: Spool,
}

impl DeadLetters {
    /// Opens or makes the store in `<data_dir>/dead-letters`; `max_bytes` is the
    /// budget of each group of sources. Blocks while it reads.
    pub fn open(data_dir: &Path, max_bytes: u64, min_free_bytes: u64) -> Result<Self, OpenError> {
        Self::open_with(data_dir, max_bytes, min_free_bytes, Arc::new(OsFiles))
    }

    /// [`DeadLetters::open`] on the given files.
    pub fn open_with(
        data_dir: &Path,
        max_bytes: u64,
        min_free_bytes: u64,
        files: Arc<dyn Files>,
    ) -> Result<Self, OpenError> {
        let options = Options {
            dir: data_dir.join("dead-letters"),
            sync: Sync::Batch,
            segment_bytes: SEGMENT_BYTES,
            min_free_bytes,
            max_bytes: max_bytes.saturating_mul(PLACES.len() as u64),
            max_in_flight_bytes: IN_FLIGHT_BYTES,
            store: "dead_letters",
            retention: Duration::MAX,
            queues: PLACES
                .iter()
                .map(|place| (queue(place), max_bytes))
                .collect(),
        };
        Ok(Self {
            spool: Spool::Journal(Journal::open_with(options, files)?),
        })
    }

    /// Stores letters of one source, in order; answers when they are durable. What
    /// is stored is taken out of `letters`: after an error the rest is there.
    pub async fn keep(&self, letters: &mut Vec<DeadLetter>) -> Result<(), KeepError> {
        while let Some(first) = letters.first() {
            let place = queue(first.source.place());
            let (count, bytes) = next_record(letters)?;
            let permit = self.room(&place, bytes).await?;
            let payload = letter::write_lines(&letters[..count], bytes);
            permit
                .append(Batch {
                    id: BatchId::generate(),
                    accepted_at: UnixMillis::now(),
                    events: count as u32,
                    payload_hash: 0,
                    payload,
                    rejected: Box::default(),
                    own_metadata: false,
                    foreign: false,
                    timestamps: crate::batch::Timestamps::None,
                })
                .await?;
            count_kept(letters.drain(..count).as_slice());
        }
        Ok(())
    }

    async fn room(&self, place: &QueueName, bytes: usize) -> Result<Permit, AppendError> {
        let permit = |patience| self.spool.permit(place, bytes, Some(patience));
        match permit(Duration::ZERO).await {
            Err(AppendError::Full(FullReason::InFlight)) => permit(PATIENCE).await,
            permit => permit,
        }
    }

    /// What the store holds now.
    pub fn stats(&self) -> DeadLetterStats {
        let places = self.spool.stats().into_iter();
        let groups: Vec<GroupStats> = places.map(GroupStats::from).collect();
        DeadLetterStats {
            held: groups.iter().map(|group| group.held).sum(),
            bytes: groups.iter().map(|group| group.bytes).sum(),
            full: groups.iter().any(|group| group.full),
            poisoned: groups.iter().find_map(|group| group.poisoned.clone()),
            groups,
        }
    }

    /// Syncs and closes the store.
    pub async fn close(&self) {
        self.spool.close().await;
    }
}

/// Counts what was kept.
fn count_kept(letters: &[DeadLetter]) {
    let mut events = BTreeMap::new();
    for letter in letters {
        *events
            .entry((letter.source.as_str(), letter.reason.as_str()))
            .or_default() += 1;
    }
    for ((source, reason), events) in events {
        metrics::dead_letters(source, reason, events);
    }
}

fn queue(place: &str) -> QueueName {
    place.parse().expect("invariant: places are queue names")
}

/// How many of the letters make the next record, and its bytes.
fn next_record(letters: &[DeadLetter]) -> Result<(usize, usize), KeepError> {
    let (mut count, mut bytes) = (0, 0);
    for letter in letters {
        let line = letter::line_len(letter);
        if count > 0 && bytes + line > RECORD_BYTES {
            break;
        }
        if line > MAX_PAYLOAD_LEN {
            return Err(KeepError::TooLong(line));
        }
        (count, bytes) = (count + 1, bytes + line);
    }
    Ok((count, bytes))
}

impl From<AppendError> for KeepError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full(FullReason::InFlight) => Self::TooSlow,
            AppendError::Full(_) => Self::Full,
            other => Self::Failed(other.to_string()),
        }
    }
}
