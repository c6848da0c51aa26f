use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::letter;
use super::{DeadLetter, Place};
use crate::batch::{Batch, BatchId, QueueName, UnixMillis};
use crate::metrics;
use crate::record::MAX_PAYLOAD_LEN;
use crate::spool::journal::files::{Files, OsFiles};
use crate::spool::journal::{Journal, OpenError, Options, Sync};
use crate::spool::{AppendError, FullReason, Lease, LeaseError, Permit, QueueStats, Spool};

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

/// Takes dead letters, and answers when they are durable. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    spool: Spool,
    filing: Arc<[Filing; Place::ALL.len()]>,
}

/// How far filing is with a place.
#[derive(Debug, Default)]
struct Filing {
    /// How many letters of the record that is leased are in the store.
    filed: AtomicU64,
    /// Why it does not come on, if that is the inbox's fault.
    trouble: ArcSwapOption<String>,
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
            max_bytes: max_bytes.saturating_mul(Place::ALL.len() as u64),
            max_in_flight_bytes: IN_FLIGHT_BYTES,
            store: "dead_letters",
            // What is filed is not needed here any more.
            retention: Duration::ZERO,
            queues: Place::ALL.map(|place| (queue(place), max_bytes)).into(),
        };
        Ok(Self {
            spool: Spool::Journal(Journal::open_with(options, files)?),
            filing: Arc::default(),
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
                    origin: crate::batch::Origin::Accepted,
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

    /// Waits for letters of `place` that are not filed yet, and leases the oldest
    /// record of them.
    pub(super) async fn lease(&self, place: Place) -> Result<Lease, LeaseError> {
        self.spool.lease(&queue(place)).await
    }

    /// So many letters of the record of `place` that is leased are in the store.
    pub(super) fn set_progress(&self, place: Place, filed: u64) {
        self.filing[place as usize]
            .filed
            .store(filed, Ordering::Relaxed);
    }

    /// See [`DeadLetters::set_progress`].
    pub(super) fn progress(&self, place: Place) -> u64 {
        self.filing[place as usize].filed.load(Ordering::Relaxed)
    }

    /// Why letters of `place` cannot be taken out of the inbox, if they cannot.
    pub(super) fn set_trouble(&self, place: Place, why: Option<String>) {
        self.filing[place as usize].trouble.store(why.map(Arc::new));
    }

    /// See [`DeadLetters::set_trouble`]; of any place, which is named.
    pub(super) fn trouble(&self) -> Option<String> {
        let mut places = Place::ALL.into_iter();
        places.find_map(|place| {
            let why = self.filing[place as usize].trouble.load_full()?;
            Some(format!("the inbox ({}): {why}", place.as_str()))
        })
    }

    /// What waits to be filed.
    pub(super) fn waiting(&self) -> Vec<(Place, QueueStats)> {
        let stats = self.spool.stats().into_iter();
        let of = |stats: &QueueStats| {
            let mut places = Place::ALL.into_iter();
            places.find(|place| place.as_str() == stats.queue.as_str())
        };
        stats
            .filter_map(|stats| Some((of(&stats)?, stats)))
            .collect()
    }

    /// How many letters wait to be filed.
    pub fn waiting_events(&self) -> u64 {
        let waiting = self.spool.stats().into_iter();
        waiting.map(|queue| queue.waiting_events).sum()
    }

    /// Syncs and closes the inbox.
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

fn queue(place: Place) -> QueueName {
    let name = place.as_str().parse();
    name.expect("invariant: places are queue names")
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
