//! How fast a replay goes: behind live traffic, and no faster than it was told.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::batch::QueueName;
use crate::spool::Spool;

/// Most bytes that may wait in the queue when a replay puts something there, with that.
/// What waits is nearly all of the replay, or else live traffic has a backlog, and the
/// replay waits: so a live batch has no more than this before it.
const MOST_WAITING: u64 = 1 << 20;
/// How often it is looked whether that is so.
const LOOK: Duration = Duration::from_millis(5);
/// About so long what is read at a time is to last.
const SHARE: Duration = Duration::from_millis(250);
/// The speed is told once it is known for so long.
const MEASURED: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<u64>,
    /// When the next events may go.
    next: Instant,
    /// Until then the store is left to others.
    rest_until: Instant,
    begun: Instant,
    /// Events gone through since.
    events: u64,
}

impl Pace {
    pub(super) fn new(rate: Option<u64>) -> Self {
        let now = Instant::now();
        Self {
            rate,
            next: now,
            rest_until: now,
            begun: now,
            events: 0,
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

    /// Has gone through `events`, of which `sent` went to the queue.
    pub(super) fn went(&mut self, events: u64, sent: u64) {
        self.events += events;
        if let Some(rate) = self.rate {
            let cost = Duration::from_secs_f64(sent as f64 / rate as f64);
            self.next = self.next.max(Instant::now()) + cost;
        }
    }

    /// Events a second, once that can be told.
    pub(super) fn events_per_second(&self) -> Option<f64> {
        let took = self.begun.elapsed().max(self.next - self.begun);
        (took >= MEASURED).then(|| self.events as f64 / took.as_secs_f64())
    }
}

/// Waits until `bytes` may go to `queue`.
pub(super) async fn room(spool: &Spool, queue: &QueueName, bytes: u64) {
    loop {
        let waiting = waiting_bytes(spool, queue);
        if waiting == 0 || waiting + bytes <= MOST_WAITING {
            return;
        }
        sleep(LOOK).await;
    }
}

fn waiting_bytes(spool: &Spool, queue: &QueueName) -> u64 {
    let mut stats = spool.stats().into_iter();
    let stats = stats.find(|stats| stats.queue == *queue);
    stats.map_or(0, |stats| stats.waiting_bytes)
}
