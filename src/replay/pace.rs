//! How fast a replay goes: behind live traffic, and no faster than it was told.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::speed::Speed;
use crate::batch::QueueName;
use crate::spool::{AppendError, Spool};

/// Most bytes that may wait in the queue when a replay puts something there, with that.
/// What waits is nearly all of the replay, or else live traffic has a backlog, and the
/// replay waits: so a live batch has no more than this before it.
const MOST_WAITING: u64 = 1 << 20;
/// About so long what is read at a time is to last.
const SHARE: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<u64>,
    /// When the next events may go.
    next: Instant,
    /// Until then the store is left to others.
    rest_until: Instant,
    speed: Speed,
}

impl Pace {
    pub(super) fn new(rate: Option<u64>) -> Self {
        let now = Instant::now();
        Self {
            rate,
            next: now,
            rest_until: now,
            speed: Speed::new(now),
        }
    }

    /// Most events that are to be read at a time.
    pub(super) fn most_events(&self) -> u64 {
        let share = |rate: u64| (rate as f64 * SHARE.as_secs_f64()) as u64;
        self.rate.map_or(u64::MAX, |rate| share(rate).max(1))
    }

    /// Waits until it is time for the next events.
    pub(super) async fn turn(&self) {
        sleep_until(self.next.max(self.rest_until)).await;
    }

    /// The store was at work for `took`: it has as long for others, so that their answers
    /// do not wait behind one share of the replay after the other.
    pub(super) fn rest(&mut self, took: Duration) {
        self.rest_until = Instant::now() + took;
    }

    /// It was held up: how fast it was before tells nothing of what comes.
    pub(super) fn waited(&mut self) {
        self.speed = Speed::new(Instant::now());
    }

    /// Has gone through `events`, of which `sent` went to the queue.
    pub(super) fn went(&mut self, events: u64, sent: u64) {
        let now = Instant::now();
        if let Some(rate) = self.rate {
            let cost = Duration::from_secs_f64(sent as f64 / rate as f64);
            self.next = self.next.max(now) + cost;
        }
        self.speed.went(events, self.next.max(now));
    }

    /// Events a second, once that can be told.
    pub(super) fn events_per_second(&self) -> Option<f64> {
        self.speed.per_second()
    }
}

/// What `bytes` that are to go to `queue` have to wait for: live traffic has the room, and
/// the turn, before a replay.
pub(super) fn obstacle(spool: &Spool, queue: &QueueName, bytes: u64) -> Option<String> {
    let stats = spool.stats_of(queue)?;
    if let Some(full) = stats.full {
        return Some(AppendError::Full(full).to_string());
    }
    let waiting = stats.waiting_bytes;
    let is_behind = waiting > 0 && waiting + bytes > MOST_WAITING;
    is_behind.then(|| format!("other batches wait in queue {queue}, which go first"))
}
