//! How fast a queue fills and drains, from its ledger.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::batch::QueueName;
use crate::spool::QueueStats;

/// The time over which rates are taken: long enough to be calm with stretches
/// of a quarter of a second, short enough to show a change.
const WINDOW: Duration = Duration::from_secs(10);

/// How fast a queue fills and drains, over the last ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Accepted events a second.
    pub accepted_per_second: f64,
    /// Confirmed events a second.
    pub confirmed_per_second: f64,
    /// Seconds until the queue is full if it goes on filling like this; `None`
    /// if it does not fill.
    pub seconds_to_full: Option<f64>,
    /// Seconds until the queue is empty if it goes on draining like this;
    /// `None` if it does not drain.
    pub seconds_to_drain: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    accepted: u64,
    confirmed: u64,
    waiting_events: u64,
    waiting_bytes: u64,
}

/// The last samples of each queue. Bounded: as many as fit the window at one a
/// second.
#[derive(Debug, Default)]
pub struct Sampler {
    queues: HashMap<QueueName, VecDeque<Sample>>,
}

impl Sampler {
    /// Takes a sample; to be called about once a second.
    pub fn sample(&mut self, stats: &[QueueStats], at: Instant) {
        for queue in stats {
            let samples = self.queues.entry(queue.queue.clone()).or_default();
            samples.push_back(Sample {
                at,
                accepted: queue.ledger.accepted,
                confirmed: queue.ledger.confirmed,
                waiting_events: queue.waiting_events,
                waiting_bytes: queue.waiting_bytes,
            });
            while samples.len() > 2 && at.duration_since(samples[0].at) > WINDOW {
                samples.pop_front();
            }
        }
    }

    /// The rates of `queue`, which may hold `max_bytes`; `None` until there are
    /// two samples.
    pub fn rates(&self, queue: &QueueName, max_bytes: u64) -> Option<Rates> {
        let samples = self.queues.get(queue)?;
        let (first, last) = (samples.front()?, samples.back()?);
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let per_second = |from: u64, to: u64| (to as f64 - from as f64) / seconds;
        let filling = per_second(first.waiting_bytes, last.waiting_bytes);
        let draining = per_second(last.waiting_events, first.waiting_events);
        let room = max_bytes.saturating_sub(last.waiting_bytes) as f64;
        Some(Rates {
            accepted_per_second: per_second(first.accepted, last.accepted),
            confirmed_per_second: per_second(first.confirmed, last.confirmed),
            seconds_to_full: (filling > 0.0).then(|| room / filling),
            seconds_to_drain: (draining > 0.0).then(|| last.waiting_events as f64 / draining),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    fn stats(accepted: u64, confirmed: u64) -> QueueStats {
        QueueStats {
            queue: QueueName::default(),
            ledger: Ledger {
                accepted,
                confirmed,
                ..Ledger::default()
            },
            waiting_events: accepted - confirmed,
            waiting_bytes: (accepted - confirmed) * 100,
            leased_events: 0,
            leased_batches: 0,
            oldest_unsettled: None,
            stored_bytes: 0,
            stored_since: None,
            quarantined_records: 0,
            full: None,
            poisoned: None,
        }
    }

    fn rates(samples: &[(u64, u64)]) -> Option<Rates> {
        let mut sampler = Sampler::default();
        let start = Instant::now();
        for (second, (accepted, confirmed)) in (0..).zip(samples) {
            let at = start + Duration::from_secs(second);
            sampler.sample(&[stats(*accepted, *confirmed)], at);
        }
        sampler.rates(&QueueName::default(), 100_000)
    }

    #[test]
    fn one_sample_gives_no_rate() {
        assert_eq!(rates(&[(10, 0)]), None);
    }

    #[test]
    fn a_queue_that_fills_says_when_it_is_full() {
        let rates = rates(&[(0, 0), (200, 100), (400, 200)]).expect("rates");
        assert_eq!(
            (rates.accepted_per_second, rates.confirmed_per_second),
            (200.0, 100.0)
        );
        assert_eq!(
            rates.seconds_to_full,
            Some((100_000.0 - 20_000.0) / 10_000.0)
        );
        assert_eq!(rates.seconds_to_drain, None);
    }

    #[test]
    fn a_queue_that_drains_says_when_it_is_empty() {
        let rates = rates(&[(1000, 0), (1000, 250)]).expect("rates");
        assert_eq!(
            (rates.seconds_to_full, rates.seconds_to_drain),
            (None, Some(3.0))
        );
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let mut samples = vec![(0, 0), (1_000_000, 0)];
        samples.extend([(1_000_000, 0); 12]);
        assert_eq!(rates(&samples).expect("rates").accepted_per_second, 0.0);
    }
}
