//! Redis with the local journal beside it, if there is one: while Redis takes no
//! batches, the journal does, and what it has is leased from there. So ingest goes on
//! as long as the disk has room, whatever becomes of Redis.
//!
//! - A batch goes to Redis if Redis takes it now, else to the journal, else it waits
//!   for whichever is first. Redis is asked first each time, so nothing has to decide
//!   that it is back.
//! - `max_bytes` is counted over both: a queue that holds as much as it may is no reason
//!   to spill, but to wait.
//! - Leases come from both, in turns while both have some. There is no order across
//!   the two.
//! - A journal that takes no new batches (`spills` is false) is only drained: the one
//!   that `spool.kind = "journal"` or an earlier start with `spill` left in the folder.
//! - Without a journal that takes batches, a caller with bounded patience is told at
//!   once that Redis is away; one without (who cannot be told) waits for it.
//!
//! What each failure does:
//!
//! | failure | what happens |
//! | --- | --- |
//! | Redis cannot be reached, refuses, or is out of memory | batches go to the journal |
//! | an append to Redis was begun and nobody knows how it ended | it goes to the journal as well, with the same ids: possible duplicates, no loss |
//! | the journal is full or failed, too | the batch waits as long as its caller has patience; the error says why Redis does not take it |
//! | the journal cannot be read | leases come from Redis; the error is told when Redis has none |

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::journal::{self, Journal};
use super::redis::{self, Redis};
use super::room::{Reserved, Room};
use super::{AppendError, Appended, FullReason, Lease, LeaseError, QueueStats, SpillPart};
use crate::batch::{Batch, QueueName};
use crate::log::SharedComplaints;
use crate::metrics;

/// How often somebody who waits looks again at what both parts hold and take.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long Redis is waited for before an error of the journal is told.
const ERROR_PATIENCE: Duration = Duration::from_secs(1);

/// How the two are joined.
#[derive(Debug, Clone)]
pub struct Options {
    /// The queues, each with the most bytes of unsettled batches it may hold.
    pub queues: Vec<(QueueName, u64)>,
    /// Most bytes of unsettled batches, all queues together.
    pub max_bytes: u64,
    /// Most bytes of payload in appends that are in flight.
    pub max_in_flight_bytes: usize,
    /// Whether the journal takes batches that Redis does not.
    pub spills: bool,
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Spill(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    redis: Redis,
    journal: Option<Journal>,
    /// Whether the journal takes batches.
    spills: bool,
    /// Each queue's place in `room`.
    queues: BTreeMap<QueueName, usize>,
    /// What both hold together.
    room: Arc<Room>,
    /// Which part is asked for a lease first.
    turn: AtomicUsize,
    spilling: SharedComplaints,
}

/// Room for one append.
#[derive(Debug)]
pub(super) struct Permit {
    spill: Spill,
    queue: QueueName,
    bytes: usize,
    until: Option<Instant>,
    place: Place,
    /// Given back last: what is in flight in a part is in flight here.
    reserved: Reserved,
}

/// Where a batch will go.
#[derive(Debug)]
enum Place {
    Redis(redis::Permit),
    Journal(journal::Permit),
}

impl Spill {
    /// Redis, and the journal beside it.
    pub(super) fn parts(&self) -> (&Redis, Option<&Journal>) {
        (&self.0.redis, self.0.journal.as_ref())
    }

    /// Joins two spools of the same queues. To be called in a runtime.
    pub fn new(redis: Redis, journal: Option<Journal>, options: Options) -> Self {
        let limits: Vec<u64> = options.queues.iter().map(|(_, max)| *max).collect();
        let names = options.queues.into_iter().enumerate();
        let inner = Arc::new(Inner {
            redis,
            spills: options.spills && journal.is_some(),
            journal,
            queues: names.map(|(index, (name, _))| (name, index)).collect(),
            room: Room::new(&limits, options.max_bytes, options.max_in_flight_bytes),
            turn: AtomicUsize::new(0),
            spilling: SharedComplaints::default(),
        });
        tokio::spawn(count_often(Arc::downgrade(&inner)));
        Self(inner)
    }

    pub(super) async fn permit(
        &self,
        queue: &QueueName,
        bytes: usize,
        patience: Option<Duration>,
    ) -> Result<super::Permit, AppendError> {
        let Some(index) = self.0.queues.get(queue) else {
            return Err(AppendError::UnknownQueue(queue.clone()));
        };
        let until = patience.and_then(|patience| Instant::now().checked_add(patience));
        self.0.count(*index, queue);
        let reserved = self.0.room.reserve(*index, bytes, patience).await?;
        let place = self.0.place(queue, bytes, until).await?;
        let permit = Permit {
            spill: self.clone(),
            queue: queue.clone(),
            bytes,
            until,
            place,
            reserved,
        };
        Ok(permit.into())
    }

    pub(super) async fn lease(&self, queue: &QueueName) -> Result<Lease, LeaseError> {
        let Some(journal) = &self.0.journal else {
            return self.0.redis.lease(queue).await;
        };
        let (from_redis, from_journal) = (self.0.redis.lease(queue), journal.lease(queue));
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed);
        if turn.is_multiple_of(2) {
            either(from_redis, from_journal).await
        } else {
            either(from_journal, from_redis).await
        }
    }

    pub(super) fn stats(&self) -> Vec<QueueStats> {
        let in_redis = self.0.redis.stats().into_iter();
        in_redis.map(|redis| self.0.with_journal(redis)).collect()
    }

    pub(super) fn stats_of(&self, queue: &QueueName) -> Option<QueueStats> {
        let in_redis = self.0.redis.stats_of(queue)?;
        Some(self.0.with_journal(in_redis))
    }

    pub(super) fn since_last_tick(&self) -> Duration {
        let journal = self.0.journal.as_ref();
        let journal = journal.map(Journal::since_last_tick).unwrap_or_default();
        journal.max(self.0.redis.since_last_tick())
    }

    pub(super) fn lift_limits(&self) {
        self.0.room.lift_limits();
        self.0.redis.lift_limits();
        self.0.journal.iter().for_each(Journal::lift_limits);
    }

    pub(super) async fn close(&self) {
        for index in self.0.queues.values() {
            self.0.room.refuse(*index, AppendError::Closing);
        }
        let journal = async {
            if let Some(journal) = &self.0.journal {
                journal.close().await;
            }
        };
        tokio::join!(self.0.redis.close(), journal);
    }
}

impl Permit {
    pub(super) async fn append(self, batch: Batch) -> Result<Appended, AppendError> {
        let Self {
            spill,
            queue,
            bytes,
            until,
            mut place,
            reserved,
        } = self;
        let inner = &*spill.0;
        let appended = loop {
            let permit = match place {
                Place::Journal(permit) => break inner.spill(&queue, permit, batch).await,
                Place::Redis(permit) => permit,
            };
            // Cheap: the events are shared, not copied.
            let why = match permit.append(batch.clone()).await {
                Err(why) if is_redis_in_trouble(&why) => why,
                appended => {
                    inner.tell_recovered(&appended);
                    break appended;
                }
            };
            place = match inner.in_journal(&queue, bytes, until) {
                Some(place) => place,
                None if inner.is_waited_for(&why, until) => {
                    sleep(LOOK_AGAIN).await;
                    inner.place(&queue, bytes, until).await?
                }
                None => break Err(why),
            };
        };
        drop(reserved);
        appended
    }
}

impl Inner {
    /// Waits until one of the two takes a batch.
    async fn place(
        &self,
        queue: &QueueName,
        bytes: usize,
        until: Option<Instant>,
    ) -> Result<Place, AppendError> {
        loop {
            let why = match self.try_place(queue, bytes, until) {
                Err(why) => why,
                placed => return placed,
            };
            if !self.is_waited_for(&why, until) {
                return Err(why);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Whatever is wrong with the journal: Redis should have taken the batch, so its
    /// error is told.
    fn try_place(
        &self,
        queue: &QueueName,
        bytes: usize,
        until: Option<Instant>,
    ) -> Result<Place, AppendError> {
        // What finds Redis full is not to wait there: the journal may have room.
        let patience_for_redis = if self.spills {
            Some(Instant::now())
        } else {
            until
        };
        match self.redis.try_permit(queue, bytes, patience_for_redis) {
            Ok(permit) => Ok(Place::Redis(permit)),
            Err(why) if is_redis_in_trouble(&why) => {
                self.in_journal(queue, bytes, until).ok_or(why)
            }
            Err(why) => Err(why),
        }
    }

    fn in_journal(&self, queue: &QueueName, bytes: usize, until: Option<Instant>) -> Option<Place> {
        let journal = self.journal.as_ref().filter(|_| self.spills)?;
        let permit = journal.try_permit(queue, bytes, until).ok()?;
        Some(Place::Journal(permit))
    }

    /// Whether a batch that nobody takes for this reason waits.
    fn is_waited_for(&self, why: &AppendError, until: Option<Instant>) -> bool {
        let passes = match why {
            // Without a journal nothing but Redis itself can help: who can be told is.
            AppendError::Unavailable(_) => self.spills || until.is_none(),
            AppendError::Full(_) => true,
            _ => false,
        };
        passes && until.is_none_or(|until| Instant::now() < until)
    }

    async fn spill(
        &self,
        queue: &QueueName,
        permit: journal::Permit,
        batch: Batch,
    ) -> Result<Appended, AppendError> {
        let appended = permit.append(batch).await?;
        metrics::spilled(queue, appended.events);
        if let Some(times) = self.spilling.failed() {
            tracing::warn!(%queue, times, "Redis takes no batches; they go to the journal in data_dir, and are forwarded from there");
        }
        Ok(appended)
    }

    fn tell_recovered(&self, appended: &Result<Appended, AppendError>) {
        if appended.is_ok()
            && let Some(times) = self.spilling.recovered()
        {
            tracing::info!(batches = times, "Redis takes batches again");
        }
    }

    /// Tells the room what both hold.
    fn count(&self, index: usize, queue: &QueueName) {
        let journal = self.journal.as_ref();
        let spilled = journal.map_or(0, |journal| journal.unsettled_bytes(queue));
        let bytes = self.redis.unsettled_bytes(queue) + spilled;
        self.room.set_unsettled(index, bytes);
    }

    /// A queue's figures in Redis with those in the journal.
    fn with_journal(&self, redis: QueueStats) -> QueueStats {
        let journal = self.journal.as_ref();
        let journal = journal.and_then(|journal| journal.stats_of(&redis.queue));
        let full = self.why_full(&redis, journal.as_ref());
        let redis = QueueStats { full, ..redis };
        match journal {
            Some(journal) => join(redis, journal),
            None => redis,
        }
    }

    /// Why appends to the queue would not get room: together they hold enough, or
    /// neither takes more.
    fn why_full(&self, redis: &QueueStats, journal: Option<&QueueStats>) -> Option<FullReason> {
        let index = self.queues.get(&redis.queue)?;
        let journal = journal.filter(|_| self.spills);
        let neither = || match journal {
            None => redis.full,
            Some(journal) => {
                let away = redis
                    .redis
                    .as_ref()
                    .is_some_and(|r| r.unavailable.is_some());
                journal.full.filter(|_| away || redis.full.is_some())
            }
        };
        self.room.why_full(*index).or_else(neither)
    }
}

/// Counts what both hold every now and then, for those who wait for room.
async fn count_often(spill: Weak<Inner>) {
    while let Some(inner) = spill.upgrade() {
        for (queue, index) in &inner.queues {
            inner.count(*index, queue);
        }
        drop(inner);
        sleep(LOOK_AGAIN).await;
    }
}

/// Whether the journal is there for it. That a queue holds as much as it may is not
/// for the journal to mend.
fn is_redis_in_trouble(why: &AppendError) -> bool {
    matches!(
        why,
        AppendError::Unavailable(_) | AppendError::Full(FullReason::Memory)
    )
}

/// The lease of whichever has one, `first` if both have. If one fails, the other gets
/// some time, so that a part that cannot be read does not hold up the other. Both are
/// cancel safe, and so is this.
async fn either(
    first: impl Future<Output = Result<Lease, LeaseError>>,
    second: impl Future<Output = Result<Lease, LeaseError>>,
) -> Result<Lease, LeaseError> {
    tokio::pin!(first, second);
    tokio::select! {
        biased;
        leased = &mut first => match leased {
            Err(LeaseError::Unreadable(why)) => otherwise(second, why).await,
            leased => leased,
        },
        leased = &mut second => match leased {
            Err(LeaseError::Unreadable(why)) => otherwise(first, why).await,
            leased => leased,
        },
    }
}

async fn otherwise(
    other: impl Future<Output = Result<Lease, LeaseError>>,
    why: String,
) -> Result<Lease, LeaseError> {
    let leased = timeout(ERROR_PATIENCE, other).await;
    leased.unwrap_or(Err(LeaseError::Unreadable(why)))
}

/// One queue's figures from those of its parts.
fn join(redis: QueueStats, journal: QueueStats) -> QueueStats {
    let spill = SpillPart {
        waiting_events: journal.waiting_events,
        waiting_bytes: journal.waiting_bytes,
        leased_events: journal.leased_events,
        leased_batches: journal.leased_batches,
        stored_bytes: journal.stored_bytes,
        full: journal.full,
        poisoned: journal.poisoned,
    };
    let oldest = |a: Option<_>, b: Option<_>| a.into_iter().chain(b).min();
    QueueStats {
        ledger: redis.ledger.plus(&journal.ledger),
        waiting_events: redis.waiting_events + journal.waiting_events,
        waiting_bytes: redis.waiting_bytes + journal.waiting_bytes,
        leased_events: redis.leased_events + journal.leased_events,
        leased_batches: redis.leased_batches + journal.leased_batches,
        oldest_unsettled: oldest(redis.oldest_unsettled, journal.oldest_unsettled),
        stored_bytes: redis.stored_bytes + journal.stored_bytes,
        stored_since: oldest(redis.stored_since, journal.stored_since),
        quarantined_records: redis.quarantined_records + journal.quarantined_records,
        spill: Some(spill),
        ..redis
    }
}
