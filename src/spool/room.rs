//! Room for appends: what each queue and the spool as a whole may hold, and what
//! may be in flight. The backpressure of the gateway is waiting here, whatever kind
//! the spool is.
//!
//! A queue's unsettled bytes are told as a whole each time they change, so the
//! sums cannot drift. Callers wait in line per queue: a full queue holds up
//! nobody else, and a large batch is not overtaken for ever by small ones.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as TurnMutex, Notify, OwnedSemaphorePermit, Semaphore};

use crate::spool::{AppendError, FullReason};

/// In-flight bytes are counted in blocks, so that a count fits `u32`.
const BLOCK: usize = 1024;
/// How long a refusal is shown: until a client that was told to come back in 5 s
/// has done so, or was refused again.
const SHOWN: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(in crate::spool) struct Room {
    used: Mutex<Used>,
    changed: Notify,
    /// Blocks of memory for appends in flight.
    in_flight: Arc<Semaphore>,
    in_flight_blocks: usize,
    /// One line of waiting callers a queue.
    lines: Vec<TurnMutex<()>>,
}

#[derive(Debug)]
struct Used {
    queues: Vec<Share>,
    max_unsettled: u64,
    /// The disk has less left than it should.
    disk_low: bool,
    /// What the queues hold is no reason to wait any longer.
    is_lifted: bool,
}

/// What one queue uses, in bytes.
#[derive(Debug, Default)]
struct Share {
    unsettled: u64,
    /// Of appends that are not yet durable.
    reserved: u64,
    stored: u64,
    max_unsettled: u64,
    /// Why the store took no more of what it was given.
    refuses: Option<FullReason>,
    /// For so many bytes somebody waits.
    wanted: Option<u64>,
    /// When somebody was last refused for want of room, and why.
    refused: Option<(Instant, FullReason)>,
    /// Why it takes nothing more at all.
    refusal: Option<AppendError>,
    /// Why its store takes nothing now: nobody waits for that to end.
    away: Option<String>,
}

impl Share {
    fn held(&self) -> u64 {
        self.unsettled + self.reserved
    }
}

impl Room {
    /// For queues that may hold `queues` bytes each and `max_unsettled` together.
    pub(in crate::spool) fn new(
        queues: &[u64],
        max_unsettled: u64,
        max_in_flight: usize,
    ) -> Arc<Self> {
        let in_flight_blocks = (max_in_flight / BLOCK).clamp(1, u32::MAX as usize >> 1);
        let share = |max: &u64| Share {
            max_unsettled: *max,
            ..Share::default()
        };
        Arc::new(Self {
            used: Mutex::new(Used {
                queues: queues.iter().map(share).collect(),
                max_unsettled,
                disk_low: false,
                is_lifted: false,
            }),
            changed: Notify::new(),
            in_flight: Arc::new(Semaphore::new(in_flight_blocks)),
            in_flight_blocks,
            lines: queues.iter().map(|_| TurnMutex::new(())).collect(),
        })
    }

    /// Waits for room for `bytes` in the queue at `index`, at most for
    /// `patience`.
    pub(in crate::spool) async fn reserve(
        self: &Arc<Self>,
        index: usize,
        bytes: usize,
        patience: Option<Duration>,
    ) -> Result<Reserved, AppendError> {
        let waiting = self.wait_for(index, bytes);
        let Some(patience) = patience else {
            return waiting.await;
        };
        match tokio::time::timeout(patience, waiting).await {
            Ok(got) => got,
            Err(_) => {
                let mut used = self.lock();
                let reason = used.full(index, bytes as u64);
                let reason = reason.unwrap_or(FullReason::InFlight);
                used.queues[index].refused = Some((Instant::now(), reason));
                Err(AppendError::Full(reason))
            }
        }
    }

    /// Room first, memory second: who waits for a full queue holds no memory
    /// that others could use.
    async fn wait_for(
        self: &Arc<Self>,
        index: usize,
        bytes: usize,
    ) -> Result<Reserved, AppendError> {
        let _turn = self.lines[index].lock().await;
        let mut reserved = self.wait_for_room(index, bytes as u64).await?;
        let blocks = bytes.div_ceil(BLOCK).clamp(1, self.in_flight_blocks);
        let memory = self.in_flight.clone().acquire_many_owned(blocks as u32);
        reserved.memory = memory.await.ok();
        Ok(reserved)
    }

    async fn wait_for_room(
        self: &Arc<Self>,
        index: usize,
        bytes: u64,
    ) -> Result<Reserved, AppendError> {
        let _wanted = Wanted::new(self, index, bytes);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before the look, so that no change between the two is missed.
            changed.as_mut().enable();
            if let Some(reserved) = self.try_reserve(index, bytes)? {
                return Ok(reserved);
            }
            changed.await;
        }
    }

    fn try_reserve(
        self: &Arc<Self>,
        index: usize,
        bytes: u64,
    ) -> Result<Option<Reserved>, AppendError> {
        let mut used = self.lock();
        if let Some(refusal) = &used.queues[index].refusal {
            return Err(refusal.clone());
        }
        if let Some(away) = &used.queues[index].away {
            return Err(AppendError::Unavailable(away.clone()));
        }
        if used.full(index, bytes).is_some() {
            return Ok(None);
        }
        used.queues[index].reserved += bytes;
        Ok(Some(Reserved {
            room: self.clone(),
            index,
            bytes,
            memory: None,
        }))
    }

    /// Room for `bytes` if there is some at this moment, else why not. Overtakes
    /// those who wait.
    pub(in crate::spool) fn try_now(
        self: &Arc<Self>,
        index: usize,
        bytes: usize,
    ) -> Result<Reserved, AppendError> {
        let Some(mut reserved) = self.try_reserve(index, bytes as u64)? else {
            let reason = self.lock().full(index, bytes as u64);
            return Err(AppendError::Full(reason.unwrap_or(FullReason::InFlight)));
        };
        let blocks = bytes.div_ceil(BLOCK).clamp(1, self.in_flight_blocks);
        let memory = self.in_flight.clone().try_acquire_many_owned(blocks as u32);
        reserved.memory = Some(memory.map_err(|_| AppendError::Full(FullReason::InFlight))?);
        Ok(reserved)
    }

    /// What the queue holds that is not settled, in bytes.
    pub(in crate::spool) fn unsettled(&self, index: usize) -> u64 {
        self.lock().queues[index].unsettled
    }

    /// Why the queue is full: somebody waits for its room or was refused a
    /// moment ago, or not even a byte fits.
    pub(in crate::spool) fn why_full(&self, index: usize) -> Option<FullReason> {
        let used = self.lock();
        let queue = &used.queues[index];
        let refused = queue.refused.filter(|(at, _)| at.elapsed() < SHOWN);
        let now = used.full(index, queue.wanted.unwrap_or(1));
        now.or(refused.map(|(_, reason)| reason))
    }

    /// The queue holds so much that is not settled.
    pub(in crate::spool) fn set_unsettled(&self, index: usize, bytes: u64) {
        let before = std::mem::replace(&mut self.lock().queues[index].unsettled, bytes);
        if bytes < before {
            self.changed.notify_waiters();
        }
    }

    /// The queue's segments have so many bytes.
    pub(in crate::spool) fn set_stored(&self, index: usize, bytes: u64) {
        self.lock().queues[index].stored = bytes;
    }

    /// Whether settled segments of the queue have to go before their time.
    pub(in crate::spool) fn is_overstocked(&self, index: usize) -> bool {
        let used = self.lock();
        let stored: u64 = used.queues.iter().map(|queue| queue.stored).sum();
        let queue = &used.queues[index];
        stored > used.max_unsettled || queue.stored > queue.max_unsettled
    }

    /// Whether the disk has too little left. Returns what was set before.
    pub(in crate::spool) fn set_disk_low(&self, low: bool) -> bool {
        let before = std::mem::replace(&mut self.lock().disk_low, low);
        if before && !low {
            self.changed.notify_waiters();
        }
        before
    }

    /// From now on only the store and the memory in flight hold up appends.
    pub(in crate::spool) fn lift_limits(&self) {
        self.lock().is_lifted = true;
        self.changed.notify_waiters();
    }

    pub(in crate::spool) fn is_disk_low(&self) -> bool {
        self.lock().disk_low
    }

    /// Why the queue's store cannot be reached, if it cannot: then whoever wants room
    /// is told so at once.
    pub(in crate::spool) fn set_away(&self, index: usize, why: Option<String>) {
        self.lock().queues[index].away = why;
        self.changed.notify_waiters();
    }

    /// Why the store took no more of what the queue gave it, if it did not.
    pub(in crate::spool) fn set_refuses(&self, index: usize, why: Option<FullReason>) {
        let before = std::mem::replace(&mut self.lock().queues[index].refuses, why);
        if before.is_some() && why.is_none() {
            self.changed.notify_waiters();
        }
    }

    /// Whether any queue finds the disk full.
    pub(in crate::spool) fn is_disk_full(&self) -> bool {
        let used = self.lock();
        let refuses = |queue: &Share| queue.refuses == Some(FullReason::Disk);
        used.disk_low || used.queues.iter().any(refuses)
    }

    /// The queue takes nothing more, for the first reason that is given.
    pub(in crate::spool) fn refuse(&self, index: usize, why: AppendError) {
        self.lock().queues[index].refusal.get_or_insert(why);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Used {
    fn full(&self, index: usize, bytes: u64) -> Option<FullReason> {
        let queue = &self.queues[index];
        let all: u64 = self.queues.iter().map(Share::held).sum();
        // Into an empty place goes even what is larger than the limit: it could
        // never go otherwise.
        let over = |held: u64, max: u64| held > 0 && held.saturating_add(bytes) > max;
        if self.disk_low {
            Some(FullReason::Disk)
        } else if queue.refuses.is_some() {
            queue.refuses
        } else if self.is_lifted {
            None
        } else if over(queue.held(), queue.max_unsettled) {
            Some(FullReason::QueueBytes)
        } else if over(all, self.max_unsettled) {
            Some(FullReason::SpoolBytes)
        } else {
            None
        }
    }
}

/// Shows that somebody waits for room, until it is dropped.
#[derive(Debug)]
struct Wanted<'a> {
    room: &'a Room,
    index: usize,
}

impl<'a> Wanted<'a> {
    fn new(room: &'a Room, index: usize, bytes: u64) -> Self {
        room.lock().queues[index].wanted = Some(bytes);
        Self { room, index }
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.room.lock().queues[self.index].wanted = None;
    }
}

/// Room for one append; given back when dropped.
#[derive(Debug)]
pub(in crate::spool) struct Reserved {
    room: Arc<Room>,
    index: usize,
    bytes: u64,
    memory: Option<OwnedSemaphorePermit>,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.room.lock().queues[self.index].reserved -= self.bytes;
        self.room.changed.notify_waiters();
    }
}
