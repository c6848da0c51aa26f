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
    /// Seconds until the queue takes no more if all goes on like this, because of
    /// its own limit, the spool's, or the disk; 0 while it takes no more, `None`
    /// if nothing fills.
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
    full: bool,
}

/// Most bytes of waiting batches.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// In the queue.
    pub queue: u64,
    /// In all queues together.
    pub spool: u64,
}

/// The last samples of each queue. Bounded: as many as fit the window at one a
/// second.
#[derive(Debug, Default)]
pub struct Sampler {
    queues: HashMap<QueueName, VecDeque<Sample>>,
    disk_room: Option<u64>,
}

impl Sampler {
    /// Takes a sample; to be called about once a second. `disk_room`: bytes that
    /// the disk takes before appends stop, if that is known.
    pub fn sample(&mut self, stats: &[QueueStats], disk_room: Option<u64>, at: Instant) {
        self.disk_room = disk_room;
        for queue in stats {
            let samples = self.queues.entry(queue.queue.clone()).or_default();
            samples.push_back(Sample {
                at,
                accepted: queue.ledger.accepted,
                confirmed: queue.ledger.confirmed,
                waiting_events: queue.waiting_events,
                waiting_bytes: queue.waiting_bytes,
                full: queue.full.is_some(),
            });
            while samples.len() > 2 && at.duration_since(samples[0].at) > WINDOW {
                samples.pop_front();
            }
        }
    }

    /// The rates of `queue`; `None` until there are two samples.
    pub fn rates(&self, queue: &QueueName, limits: Limits) -> Option<Rates> {
        let span = Span::of(self.queues.get(queue)?)?;
        let Span { first, last, .. } = span;
        let draining = span.per_second(last.waiting_events, first.waiting_events);
        Some(Rates {
            accepted_per_second: span.per_second(first.accepted, last.accepted),
            confirmed_per_second: span.per_second(first.confirmed, last.confirmed),
            seconds_to_full: self.seconds_to_full(&span, limits),
            seconds_to_drain: (draining > 0.0).then(|| last.waiting_events as f64 / draining),
        })
    }

    fn seconds_to_full(&self, queue: &Span<'_>, limits: Limits) -> Option<f64> {
        if queue.last.full {
            return Some(0.0);
        }
        let spans: Vec<Span<'_>> = self.queues.values().filter_map(Span::of).collect();
        let all_filling = spans.iter().map(Span::filling).sum();
        let all_bytes = spans.iter().map(|span| span.last.waiting_bytes).sum();
        let own_room = limits.queue.saturating_sub(queue.last.waiting_bytes);
        let spool_room = limits.spool.saturating_sub(all_bytes);
        let shared_room = self
            .disk_room
            .map_or(spool_room, |disk| disk.min(spool_room));
        let ends = [
            until_full(own_room, queue.filling()),
            until_full(shared_room, all_filling),
        ];
        ends.into_iter().flatten().reduce(f64::min)
    }
}

fn until_full(room: u64, filling: f64) -> Option<f64> {
    (filling > 0.0).then(|| room as f64 / filling)
}

/// The two ends of a queue's samples.
struct Span<'s> {
    first: &'s Sample,
    last: &'s Sample,
    seconds: f64,
}

impl<'s> Span<'s> {
    fn of(samples: &'s VecDeque<Sample>) -> Option<Self> {
        let (first, last) = (samples.front()?, samples.back()?);
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        (seconds > 0.0).then_some(Self {
            first,
            last,
            seconds,
        })
    }

    fn per_second(&self, from: u64, to: u64) -> f64 {
        (to as f64 - from as f64) / self.seconds
    }

    /// Bytes a second; below 0 while it drains.
    fn filling(&self) -> f64 {
        self.per_second(self.first.waiting_bytes, self.last.waiting_bytes)
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
            redis: None,
            spill: None,
        }
    }

    const LIMITS: Limits = Limits {
        queue: 100_000,
        spool: 1_000_000,
    };

    fn rates(samples: &[(u64, u64)]) -> Option<Rates> {
        let mut sampler = Sampler::default();
        let start = Instant::now();
        for (second, (accepted, confirmed)) in (0..).zip(samples) {
            let at = start + Duration::from_secs(second);
            sampler.sample(&[stats(*accepted, *confirmed)], None, at);
        }
        sampler.rates(&QueueName::default(), LIMITS)
    }

    /// The queue `logstash` fills by 10,000 bytes a second and another, which has
    /// the rest of `spool`, by 30,000; when the first takes no more.
    fn to_full(spool: u64, disk_room: Option<u64>) -> Option<f64> {
        let mut sampler = Sampler::default();
        let start = Instant::now();
        for second in 0..2 {
            let mut other = stats(100 + 300 * second, 0);
            other.queue = "other".parse().expect("a name");
            let at = start + Duration::from_secs(second);
            sampler.sample(&[stats(100 * second, 0), other], disk_room, at);
        }
        let limits = Limits { spool, ..LIMITS };
        sampler
            .rates(&QueueName::default(), limits)?
            .seconds_to_full
    }

    #[test]
    fn a_queue_is_full_when_the_first_of_its_own_limit_the_spool_and_the_disk_is() {
        assert_eq!(to_full(1_000_000, None), Some(9.0));
        assert_eq!(to_full(250_000, None), Some(5.0));
        assert_eq!(to_full(250_000, Some(80_000)), Some(2.0));
        assert_eq!(to_full(1, None), Some(0.0));
    }

    #[test]
    fn a_queue_that_is_full_says_so_though_it_fills_no_more() {
        let mut sampler = Sampler::default();
        let full = QueueStats {
            full: Some(crate::spool::FullReason::QueueBytes),
            ..stats(1000, 0)
        };
        let start = Instant::now();
        for second in 0..2 {
            let at = start + Duration::from_secs(second);
            sampler.sample(std::slice::from_ref(&full), None, at);
        }
        let rates = sampler.rates(&QueueName::default(), LIMITS).expect("rates");
        assert_eq!(rates.seconds_to_full, Some(0.0));
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
