//! Where batches wait, durable, between the receivers and the forwarder.
//!
//! One contract, kept by each kind of spool and held by the same tests:
//!
//! - `permit` waits for room (that is the backpressure), [`Permit::append`]
//!   answers when the batch is durable.
//! - `lease` hands out the oldest batch that nobody holds. A lease is settled
//!   by value; one that is dropped unsettled goes back to its old place.
//! - What is not acknowledged is leased again after a restart.
//! - `archive` reads what is kept of the past.

mod archive;
pub mod journal;
mod lease;
pub mod local_archive;
mod permit;
pub mod redis;
mod room;
pub mod spill;

use std::ops::RangeInclusive;
use std::time::Duration;

pub use archive::{Archive, ArchiveError, ArchiveMark};
pub use lease::{Lease, SettleError};
pub use permit::Permit;

use crate::batch::{BatchId, QueueName, UnixMillis};
use crate::ledger::Ledger;
use journal::Journal;
use redis::Redis;
use spill::Spill;

/// The spool of a gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Spool {
    /// Embedded, on the local disk.
    Journal(Journal),
    /// In Redis, shared with other gateways.
    Redis(Redis),
    /// In Redis, with the local journal beside it.
    Spill(Spill),
}

impl Spool {
    /// Waits for room for an append of `bytes` (payload) to `queue`, at most for
    /// `patience`; `None` waits as long as it takes. What is left of it the append
    /// may wait, if the disk fills up in between. Cancel safe.
    pub async fn permit(
        &self,
        queue: &QueueName,
        bytes: usize,
        patience: Option<Duration>,
    ) -> Result<Permit, AppendError> {
        match self {
            Self::Journal(journal) => journal.permit(queue, bytes, patience).await,
            Self::Redis(redis) => redis.permit(queue, bytes, patience).await,
            Self::Spill(spill) => spill.permit(queue, bytes, patience).await,
        }
    }

    /// Waits until a batch can be leased, and leases the oldest. Cancel safe: a
    /// batch is never lost in a dropped future.
    pub async fn lease(&self, queue: &QueueName) -> Result<Lease, LeaseError> {
        match self {
            Self::Journal(journal) => journal.lease(queue).await,
            Self::Redis(redis) => redis.lease(queue).await,
            Self::Spill(spill) => spill.lease(queue).await,
        }
    }

    /// Reads what is kept of `queue` that was accepted in `accepted`, from all places at
    /// once: in the journal all that is stored, in Redis and the archive beside it what is
    /// settled. Of a queue that is not there nothing is.
    pub async fn archive(
        &self,
        queue: &QueueName,
        accepted: RangeInclusive<UnixMillis>,
    ) -> Result<Archive, ArchiveError> {
        Archive::open(self, queue, accepted, None).await
    }

    /// Reads on where an archive of the same `queue` and range had come to `mark`.
    pub async fn archive_from(
        &self,
        queue: &QueueName,
        accepted: RangeInclusive<UnixMillis>,
        mark: &ArchiveMark,
    ) -> Result<Archive, ArchiveError> {
        Archive::open(self, queue, accepted, Some(mark)).await
    }

    /// What each queue holds now.
    pub fn stats(&self) -> Vec<QueueStats> {
        match self {
            Self::Journal(journal) => journal.stats(),
            Self::Redis(redis) => redis.stats(),
            Self::Spill(spill) => spill.stats(),
        }
    }

    /// What one queue holds now; `None`: it is not there. Cheap, however many there are.
    pub fn stats_of(&self, queue: &QueueName) -> Option<QueueStats> {
        match self {
            Self::Journal(journal) => journal.stats_of(queue),
            Self::Redis(redis) => redis.stats_of(queue),
            Self::Spill(spill) => spill.stats_of(queue),
        }
    }

    /// How long ago the spool's slowest part was last known to move. Usually
    /// below a second; it grows while a disk operation hangs.
    pub fn since_last_tick(&self) -> Duration {
        match self {
            Self::Journal(journal) => journal.since_last_tick(),
            Self::Redis(redis) => redis.since_last_tick(),
            Self::Spill(spill) => spill.since_last_tick(),
        }
    }

    /// For a stop: from now on `max_bytes` holds nothing up, so that what was read
    /// and cannot be refused is stored, not lost. A full disk still does.
    pub fn lift_limits(&self) {
        match self {
            Self::Journal(journal) => journal.lift_limits(),
            Self::Redis(redis) => redis.lift_limits(),
            Self::Spill(spill) => spill.lift_limits(),
        }
    }

    /// Stops appends, syncs, writes down where it stands. Leases still out are
    /// leased again at the next start.
    pub async fn close(&self) {
        match self {
            Self::Journal(journal) => journal.close().await,
            Self::Redis(redis) => redis.close().await,
            Self::Spill(spill) => spill.close().await,
        }
    }
}

/// A batch that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The batch's id.
    pub id: BatchId,
    /// How many events it has.
    pub events: u32,
}

/// Why a batch was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is no such queue.
    #[error("there is no queue {0}; the configuration has to name it as [queues.{0}]")]
    UnknownQueue(QueueName),
    /// No room, and the caller's patience is over. Try again later.
    #[error("the spool is full: {0}")]
    Full(FullReason),
    /// A write or sync failed; the spool takes nothing more until it is restarted.
    #[error("the spool takes no more batches since a disk operation failed: {0}")]
    Poisoned(String),
    /// The store cannot be reached, or refuses for now. Nobody may know whether the
    /// batch was stored: the same batch id, sent again, makes duplicates harmless.
    #[error("the spool cannot be reached: {0}")]
    Unavailable(String),
    /// The gateway is stopping. Try again at another one, or later.
    #[error("the gateway is shutting down")]
    Closing,
}

/// What is full.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
pub enum FullReason {
    /// Appends in flight use all the memory they may.
    #[error("too much is in flight (limits.max_in_flight_bytes)")]
    InFlight,
    /// The queue's waiting bytes reached its `max_bytes`.
    #[error("the queue holds as much as it may (queues.NAME.max_bytes)")]
    QueueBytes,
    /// All waiting bytes together reached `spool.max_bytes`.
    #[error("the spool holds as much as it may (spool.max_bytes)")]
    SpoolBytes,
    /// The disk has less than `min_free_bytes` left, or said ENOSPC.
    #[error("the disk has too little room left (spool.journal.min_free_bytes)")]
    Disk,
    /// Redis is near its `maxmemory`, or said OOM.
    #[error("Redis has too little memory left (maxmemory)")]
    Memory,
    /// The process cannot open a file for want of descriptors or memory.
    #[error("file descriptors or memory ran out (ulimit -n, limits.max_connections)")]
    Resources,
}

/// Why nothing could be leased.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// There is no such queue.
    #[error("there is no queue {0}")]
    UnknownQueue(QueueName),
    /// Reading failed; the same read may succeed later.
    #[error("cannot read the spool: {0}")]
    Unreadable(String),
    /// The batch's bytes rotted: given back, it is set aside and not leased again.
    #[error("the batch is damaged; it is set aside when it is given back")]
    Damaged,
    /// The spool was closed.
    #[error("the spool is closed")]
    Closed,
}

/// What a queue holds, as of now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QueueStats {
    /// The queue.
    pub queue: QueueName,
    /// Its books.
    pub ledger: Ledger,
    /// Events that nobody holds and nobody confirmed.
    pub waiting_events: u64,
    /// Their records' length, in bytes.
    pub waiting_bytes: u64,
    /// Events held for sending.
    pub leased_events: u64,
    /// Batches held for sending.
    pub leased_batches: u64,
    /// Acceptance time of the oldest batch that is not settled.
    pub oldest_unsettled: Option<UnixMillis>,
    /// Bytes on disk, settled batches included.
    pub stored_bytes: u64,
    /// Acceptance time of the oldest batch still stored: how far back a replay reaches.
    pub stored_since: Option<UnixMillis>,
    /// Records set aside as damaged.
    pub quarantined_records: u64,
    /// Why appends would not get room now.
    pub full: Option<FullReason>,
    /// Why the queue takes nothing more until a restart.
    pub poisoned: Option<String>,
    /// What only a queue in Redis has.
    pub redis: Option<RedisPart>,
    /// What of all this is in the local journal beside Redis, if there is one.
    pub spill: Option<SpillPart>,
}

/// What only a queue in Redis has.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RedisPart {
    /// Why Redis takes no batches now; `None`: it does.
    pub unavailable: Option<String>,
    /// Events of appends whose answer was lost: nobody knows yet whether they are
    /// stored. In no other figure.
    pub uncertain_events: u64,
    /// Batches taken back from gateways that fell silent, since the queue was made.
    pub reclaimed_batches: u64,
    /// Why what was delivered last could not be kept in the archive on the disk; `None`:
    /// it was, or that is not its place.
    pub archive_trouble: Option<String>,
}

/// The part of a queue that is in the local journal, since Redis did not take it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SpillPart {
    /// Events that nobody holds and nobody confirmed.
    pub waiting_events: u64,
    /// Their records' length, in bytes.
    pub waiting_bytes: u64,
    /// Events held for sending.
    pub leased_events: u64,
    /// Batches held for sending.
    pub leased_batches: u64,
    /// Bytes on disk, settled batches included.
    pub stored_bytes: u64,
    /// Why it would take no batches now.
    pub full: Option<FullReason>,
    /// Why it takes nothing more until a restart.
    pub poisoned: Option<String>,
}

impl QueueStats {
    /// What the ledger leaves over; 0 when nothing was lost or made.
    pub fn unaccounted_events(&self) -> i64 {
        self.ledger
            .unaccounted(self.waiting_events, self.leased_events)
    }
}
