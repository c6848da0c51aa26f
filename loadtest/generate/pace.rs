//! Which batch comes next, and when it is due.

use std::time::{Duration, Instant};

use crate::scenario::Scenario;

/// The batches of one client, in order.
pub(crate) struct Pace {
    started: Instant,
    every: Option<Duration>,
    offset: Duration,
    first_event: u64,
    batch_events: u64,
    next: u64,
    batches: u64,
}

/// A batch to send.
#[derive(Clone, Copy)]
pub(crate) struct Due {
    /// Number of its first event.
    pub(crate) first_event: u64,
    /// When it is due; now, in a closed loop.
    pub(crate) at: Instant,
}

impl Pace {
    /// For the client with this number. The clients of a fixed rate take turns.
    pub(crate) fn new(scenario: &Scenario, number: usize, started: Instant) -> Self {
        let batches = scenario.batches_per_client();
        let batch_events = scenario.batch_events as u64;
        let every = scenario.rate.map(|rate| {
            let per_client = rate as f64 / scenario.clients as f64;
            Duration::from_secs_f64(batch_events as f64 / per_client)
        });
        Self {
            started,
            every,
            offset: every.unwrap_or_default() * number as u32 / scenario.clients as u32,
            first_event: number as u64 * batches * batch_events,
            batch_events,
            next: 0,
            batches,
        }
    }

    /// Waits until the next batch is due; `None` when all were sent.
    pub(crate) async fn next(&mut self) -> Option<Due> {
        if self.next == self.batches {
            return None;
        }
        let first_event = self.first_event + self.next * self.batch_events;
        let at = match self.every {
            None => Instant::now(),
            Some(every) => {
                let at = self.started + self.offset + every.mul_f64(self.next as f64);
                tokio::time::sleep_until(at.into()).await;
                at
            }
        };
        self.next += 1;
        Some(Due { first_event, at })
    }
}
