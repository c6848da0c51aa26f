//! A queue: what waits to be appended, its lists, and who waits for a batch.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use super::lease::Lease;
use super::shard::Shard;
use super::state::{State, View};
use crate::batch::{BatchId, Origin, QueueName};
use crate::spool::room::{Reserved, Room};
use crate::spool::{AppendError, Appended, FullReason, LeaseError, QueueStats, RedisPart};

/// A batch on its way to Redis, as an element.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) id: BatchId,
    pub(super) origin: Origin,
    pub(super) events: u32,
    pub(super) element: Vec<u8>,
    pub(super) answer: oneshot::Sender<Result<Appended, AppendError>>,
    /// How long it waits for room; `None`: for ever.
    pub(super) until: Option<Instant>,
    /// Given back when the batch is answered.
    pub(super) reserved: Reserved,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: QueueName,
    /// Its place in [`Room`].
    pub(super) index: usize,
    pub(super) ordered: bool,
    pub(super) room: Arc<Room>,
    /// Those that batches are appended to, then those that are only drained.
    shards: RwLock<Vec<Arc<Shard>>>,
    backlog: Mutex<Backlog>,
    /// Something is in the backlog, or the queue is closed.
    pub(super) queued: Notify,
    /// There may be something to lease.
    ready: Notify,
    /// How many wait for a batch.
    waiting: AtomicUsize,
    /// Which list is looked at first.
    turn: AtomicUsize,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Backlog {
    appends: VecDeque<Append>,
    /// Each appender's trouble; `None`: it can append, or has not tried yet.
    away: Vec<Option<String>>,
    /// Each appender's Redis refused for want of memory.
    full: Vec<bool>,
    /// Each appender's Redis has little memory left.
    low: Vec<bool>,
}

impl Queue {
    pub(super) fn new(
        (name, index, ordered): (QueueName, usize, bool),
        room: Arc<Room>,
        appenders: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            name,
            index,
            ordered,
            room,
            shards: RwLock::default(),
            backlog: Mutex::new(Backlog {
                appends: VecDeque::new(),
                away: vec![None; appenders],
                full: vec![false; appenders],
                low: vec![false; appenders],
            }),
            queued: Notify::new(),
            ready: Notify::new(),
            waiting: AtomicUsize::new(0),
            turn: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        })
    }

    pub(super) fn add_shard(&self, shard: Arc<Shard>) {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        shards.push(shard);
    }

    pub(super) fn forget_shards(&self) {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        shards.clear();
    }

    pub(super) fn shards(&self) -> Vec<Arc<Shard>> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        shards.clone()
    }

    // Appending.

    /// Queues an append; its answer comes by itself.
    pub(super) fn push(&self, append: Append) {
        let mut backlog = self.backlog();
        if self.is_closed() {
            refuse([append], &AppendError::Closing);
        } else if let Some(why) = backlog.all_away() {
            refuse([append], &AppendError::Unavailable(why));
        } else {
            backlog.appends.push_back(append);
            drop(backlog);
            self.queued.notify_one();
        }
    }

    /// Takes the first, and what follows it up to `most` bytes.
    pub(super) fn take_round(&self, most: usize) -> Vec<Append> {
        let mut backlog = self.backlog();
        let mut bytes = 0;
        let joins = backlog
            .appends
            .iter()
            .enumerate()
            .take_while(|(at, append)| {
                bytes += append.element.len();
                *at == 0 || bytes <= most
            });
        let count = joins.count();
        let round = backlog.appends.drain(..count).collect();
        if !backlog.appends.is_empty() {
            // Another appender may take the rest.
            self.queued.notify_one();
        }
        round
    }

    /// Those of a round that was not stored become the first again.
    pub(super) fn put_back(&self, round: Vec<Append>) {
        let mut backlog = self.backlog();
        for append in round.into_iter().rev() {
            backlog.appends.push_front(append);
        }
        if let Some(why) = backlog.all_away() {
            refuse(backlog.appends.drain(..), &AppendError::Unavailable(why));
        }
        drop(backlog);
        self.queued.notify_one();
    }

    /// An appender cannot append, or can again.
    pub(super) fn set_away(&self, appender: usize, why: Option<String>) {
        let mut backlog = self.backlog();
        backlog.away[appender] = why;
        let all = backlog.all_away();
        if let Some(why) = &all {
            let why = AppendError::Unavailable(why.clone());
            refuse(backlog.appends.drain(..), &why);
        }
        drop(backlog);
        self.room.set_away(self.index, all);
    }

    /// An appender's Redis has no memory left, or has again.
    pub(super) fn set_full(&self, appender: usize, full: bool) {
        self.set_short(|backlog| backlog.full[appender] = full);
    }

    /// An appender's Redis has little memory left, or more again.
    pub(super) fn set_low(&self, appender: usize, low: bool) {
        self.set_short(|backlog| backlog.low[appender] = low);
    }

    fn set_short(&self, set: impl FnOnce(&mut Backlog)) {
        let mut backlog = self.backlog();
        set(&mut backlog);
        let mut short = backlog.full.iter().zip(&backlog.low);
        let all = short.all(|(full, low)| *full || *low);
        drop(backlog);
        let why = all.then_some(FullReason::Memory);
        self.room.set_refuses(self.index, why);
    }

    /// Refuses those whose patience is over.
    pub(super) fn refuse_late(&self, now: Instant) {
        let mut backlog = self.backlog();
        let is_late = |append: &Append| append.until.is_some_and(|until| until <= now);
        if !backlog.appends.iter().any(is_late) {
            return;
        }
        let all = std::mem::take(&mut backlog.appends);
        let (late, rest): (VecDeque<_>, _) = all.into_iter().partition(is_late);
        backlog.appends = rest;
        refuse(late, &AppendError::Full(FullReason::Memory));
    }

    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the room what waits.
    pub(super) fn count(&self) {
        let shards = self.shards();
        let waiting = shards.iter().map(|shard| shard.look(|s| s.waiting_bytes()));
        self.room.set_unsettled(self.index, waiting.sum());
    }

    // Leasing.

    /// Waits until there is a batch, and leases it.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, LeaseError> {
        let _waiting = Waiting::new(self);
        loop {
            let ready = self.ready.notified();
            tokio::pin!(ready);
            // Before the look, so that no change between the two is missed.
            ready.as_mut().enable();
            if self.is_closed() {
                return Err(LeaseError::Closed);
            }
            if let Some(lease) = self.try_lease() {
                return Ok(lease);
            }
            ready.await;
        }
    }

    fn try_lease(&self) -> Option<Lease> {
        let shards = self.shards();
        let turn = self.turn.fetch_add(1, Relaxed);
        let mut order = (0..shards.len()).map(|at| &shards[(turn + at) % shards.len()]);
        let leased = order.find_map(|shard| {
            let held = shard.change(|state| state.take())?;
            Some(Lease::new(shard.clone(), held))
        });
        if leased.is_none() {
            shards.iter().for_each(|shard| shard.work.notify_one());
        }
        leased
    }

    /// Whether somebody waits for a batch.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    /// Wakes whoever waits for a batch.
    pub(super) fn wake(&self) {
        self.ready.notify_waiters();
    }

    /// What the queue holds.
    pub(super) fn stats(&self) -> QueueStats {
        let shards = self.shards();
        let views = shards.iter().map(|s| s.look(State::view));
        let view = views.fold(View::default(), View::plus);
        let archived = || shards.iter().map(|shard| shard.archived());
        let archived_since = archived().filter_map(|archived| archived.since).min();
        QueueStats {
            queue: self.name.clone(),
            ledger: view.ledger,
            waiting_events: view.waiting_events,
            waiting_bytes: view.waiting_bytes,
            leased_events: view.leased_events,
            leased_batches: view.leased_batches,
            oldest_unsettled: view.oldest_unsettled,
            stored_bytes: view.waiting_bytes
                + view.leased_bytes
                + archived().map(|archived| archived.bytes).sum::<u64>(),
            stored_since: view
                .oldest_unsettled
                .into_iter()
                .chain(archived_since)
                .min(),
            quarantined_records: view.quarantined_records,
            full: self.room.why_full(self.index),
            poisoned: None,
            redis: Some(RedisPart {
                unavailable: self.unavailable(),
                uncertain_events: shards.iter().map(|s| s.uncertain_events()).sum(),
                reclaimed_batches: view.reclaimed_batches,
                archive_trouble: None,
            }),
            spill: None,
        }
    }

    /// Why nothing can be appended now.
    pub(super) fn unavailable(&self) -> Option<String> {
        self.backlog().all_away()
    }

    // The end.

    /// Refuses what is queued, and all that comes.
    pub(super) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.room.refuse(self.index, AppendError::Closing);
        self.queued.notify_one();
        self.wake();
        for shard in self.shards() {
            shard.change(|state| state.close());
            shard.work.notify_one();
        }
    }

    pub(super) fn refuse_all(&self, why: &AppendError) {
        refuse(self.backlog().appends.drain(..), why);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }
}

impl Backlog {
    /// Why nobody can append, if nobody can.
    fn all_away(&self) -> Option<String> {
        let all = self.away.iter().all(Option::is_some);
        all.then(|| self.away.iter().flatten().next().cloned())?
    }
}

/// Counts somebody who waits for a batch.
struct Waiting<'q>(&'q Queue);

impl<'q> Waiting<'q> {
    fn new(queue: &'q Queue) -> Self {
        queue.waiting.fetch_add(1, Relaxed);
        Self(queue)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

pub(super) fn refuse<A: IntoIterator<Item = Append>>(appends: A, why: &AppendError) {
    for append in appends {
        drop(append.reserved);
        // A caller that stopped waiting does not want to know.
        let _ = append.answer.send(Err(why.clone()));
    }
}

/// The batches are durable.
pub(super) fn accept(appends: impl IntoIterator<Item = Append>) {
    for append in appends {
        let appended = Appended {
            id: append.id,
            events: append.events,
        };
        drop(append.reserved);
        let _ = append.answer.send(Ok(appended));
    }
}
