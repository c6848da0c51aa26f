//! What was settled in Redis, kept in a journal on the local disk
//! (`archive.place = "journal"`).
//!
//! Before Redis is told that batches are settled, their events are read back and given to
//! `LocalArchive::keep`. Their records are settled here as soon as they are stored, so
//! the journal's own retention and bound take them away again, the oldest first.
//!
//! The archive is a convenience, delivery is the guarantee: what cannot be kept in a
//! bounded time is counted and said loudly, and Redis is told all the same.
//!
//! | failure | what happens |
//! | --- | --- |
//! | the disk is full, failed, or hangs | after some seconds the batches are counted as missed; then none are tried for ten seconds, so that settling is not slow all the time |
//! | the journal is poisoned by a failed operation | the same, until a restart; what is stored can still be read |
//! | a crash after a batch was kept, before Redis is told | it is sent and kept again, with the same ids |
//! | a crash after a batch was kept, before it is settled here | it is settled at the next start |

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::journal::Journal;
use super::{AppendError, Appended, LeaseError, QueueStats};
use crate::batch::{Batch, QueueName, UnixMillis};
use crate::log::SharedComplaints;
use crate::metrics;

/// How long a disk may take for some batches.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long nothing is tried after a failure.
const REST: Duration = Duration::from_secs(10);
/// How long the settling rests after a read that failed.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// See the module. Cheap to clone; the journal in it ends with the last one.
#[derive(Debug, Clone)]
pub struct LocalArchive(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    journal: Journal,
    retention: Duration,
    queues: BTreeMap<QueueName, Shelf>,
    /// Dropped, they end.
    _settling: JoinSet<()>,
}

/// How it goes with a queue: one may be poisoned, and others not.
#[derive(Debug, Default)]
struct Shelf {
    trouble: Mutex<Option<Trouble>>,
    complaints: SharedComplaints,
}

/// Why nothing is kept now.
#[derive(Debug, Clone)]
struct Trouble {
    since: Instant,
    why: String,
}

impl LocalArchive {
    /// Keeps in `journal`, whose queues are those of the spool, what is younger than
    /// `retention`; zero: it is only read. To be called in a runtime.
    pub fn new(journal: Journal, retention: Duration) -> Self {
        let mut settling = JoinSet::new();
        let mut queues = BTreeMap::new();
        for queue in journal.stats() {
            settling.spawn(settle_all(journal.clone(), queue.queue.clone()));
            queues.insert(queue.queue, Shelf::default());
        }
        Self(Arc::new(Inner {
            journal,
            retention,
            queues,
            _settling: settling,
        }))
    }

    /// Whether a batch that was accepted then is to be kept.
    pub(super) fn wants(&self, accepted_at: UnixMillis) -> bool {
        let age = UnixMillis::now().0.saturating_sub(accepted_at.0);
        u128::from(age) < self.0.retention.as_millis()
    }

    /// Whether it failed a moment ago: then nothing is to be tried.
    pub(super) fn is_resting(&self, queue: &QueueName) -> bool {
        let trouble = self.trouble(queue);
        trouble.is_some_and(|trouble| trouble.since.elapsed() < REST)
    }

    /// Why what was settled last could not be kept, if it could not.
    fn trouble(&self, queue: &QueueName) -> Option<Trouble> {
        let shelf = self.0.queues.get(queue)?;
        shelf.lock().clone()
    }

    /// Keeps `batches`, or says and counts that they are not. Takes twice `PATIENCE`
    /// at most.
    pub(super) async fn keep(&self, queue: &QueueName, batches: Vec<Batch>) {
        let mut missing: u64 = batches.iter().map(|batch| u64::from(batch.events)).sum();
        let storing = self.store(queue, batches, &mut missing);
        let stored = timeout(PATIENCE * 2, storing).await;
        let failed = match stored {
            Ok(Ok(())) => return self.tell(queue, Shelf::recovered),
            Ok(Err(why)) => why.to_string(),
            Err(_) => "the disk did not answer in time".to_owned(),
        };
        self.tell(queue, |shelf| shelf.failed(&failed));
        self.missed(queue, missing);
    }

    /// `events` were settled and are not kept.
    pub(super) fn missed(&self, queue: &QueueName, events: u64) {
        metrics::unarchived(queue, events);
        let shelf = self.0.queues.get(queue);
        if let Some(times) = shelf.and_then(|shelf| shelf.complaints.failed()) {
            let why = self.trouble(queue).map(|trouble| trouble.why);
            tracing::error!(%queue, events, times, why, "what was delivered could not be kept in the archive on the disk and cannot be sent again; delivery goes on");
        }
    }

    /// Stores all it can, in this order and together, so that they share syncs. Takes
    /// their events off `missing`.
    async fn store(
        &self,
        queue: &QueueName,
        batches: Vec<Batch>,
        missing: &mut u64,
    ) -> Result<(), AppendError> {
        let mut appends = Vec::new();
        let mut result = Ok(());
        for batch in batches {
            let bytes = batch.payload.len();
            match self.0.journal.permit(queue, bytes, Some(PATIENCE)).await {
                Ok(permit) => appends.push(begun(permit.append(batch)).await),
                Err(why) => {
                    result = Err(why);
                    break;
                }
            }
        }
        for append in appends {
            match append.await {
                Ok(appended) => *missing -= u64::from(appended.events),
                Err(why) => result = Err(why),
            }
        }
        result
    }

    fn tell(&self, queue: &QueueName, how: impl Fn(&Shelf)) {
        self.0.queues.get(queue).into_iter().for_each(how);
    }

    /// Where it is kept.
    pub(super) fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// Adds what is kept of a queue to its figures.
    pub(super) fn add_to(&self, stats: &mut QueueStats) {
        if let Some(kept) = self.0.journal.stats_of(&stats.queue) {
            stats.stored_bytes += kept.stored_bytes;
            let both = stats.stored_since.into_iter().chain(kept.stored_since);
            stats.stored_since = both.min();
        }
        if let Some(redis) = &mut stats.redis {
            redis.archive_trouble = self.trouble(&stats.queue).map(|trouble| trouble.why);
        }
    }

    /// Nothing more is kept.
    pub(super) async fn close(&self) {
        self.0.journal.close().await;
    }
}

impl Shelf {
    fn failed(&self, why: &str) {
        let (since, why) = (Instant::now(), why.to_owned());
        *self.lock() = Some(Trouble { since, why });
    }

    fn recovered(&self) {
        *self.lock() = None;
        if let Some(times) = self.complaints.recovered() {
            tracing::info!(times, "what is delivered is kept in the archive again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An append that is on its way, before the next one.
async fn begun(
    append: impl Future<Output = Result<Appended, AppendError>>,
) -> impl Future<Output = Result<Appended, AppendError>> {
    let mut append = Box::pin(append);
    let mut ended = None;
    poll_fn(|context| {
        if let Poll::Ready(appended) = append.as_mut().poll(context) {
            ended = Some(appended);
        }
        Poll::Ready(())
    })
    .await;
    async move {
        match ended {
            Some(appended) => appended,
            None => append.await,
        }
    }
}

/// Settles what is stored in `queue` until the journal is closed.
async fn settle_all(journal: Journal, queue: QueueName) {
    loop {
        match journal.lease(&queue).await {
            // Refused only when the journal is being closed.
            Ok(lease) => drop(lease.ack(0).await),
            Err(LeaseError::Unreadable(_) | LeaseError::Damaged) => sleep(READ_AGAIN).await,
            Err(LeaseError::Closed | LeaseError::UnknownQueue(_)) => return,
        }
    }
}
