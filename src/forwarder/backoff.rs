//! Waiting after a failure: exponential, with full jitter.

use std::time::Duration;

use tokio::time::Instant;

/// How long to wait before the next try. Shared by all that try the same thing:
/// failures that arrive while a wait is already running count as one.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    bounds: (Duration, Duration),
    failures: u32,
    /// How often the bound was doubled.
    doubled: u32,
    until: Instant,
}

impl Backoff {
    pub(super) fn new(bounds: (Duration, Duration)) -> Self {
        Self {
            bounds,
            failures: 0,
            doubled: 0,
            until: Instant::now(),
        }
    }

    /// Failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// When the next try is due.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.failed_within(now, self.bounds.1);
    }

    /// As [`Backoff::failed`]; the wait is at most `longest`, and the next one
    /// does not grow beyond it either.
    pub(super) fn failed_within(&mut self, now: Instant, longest: Duration) {
        if self.failures > 0 && now < self.until {
            return;
        }
        let bound = self.bound();
        self.until = now + bound.min(longest).mul_f64(fastrand::f64());
        self.failures = self.failures.saturating_add(1);
        self.doubled += u32::from(bound < longest);
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.doubled = 0;
        self.until = Instant::now();
    }

    /// The longest the next wait may be.
    fn bound(&self) -> Duration {
        let (shortest, longest) = self.bounds;
        shortest
            .saturating_mul(1 << self.doubled.min(20))
            .min(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

    #[test]
    fn the_wait_grows_from_a_tenth_of_a_second_to_thirty_seconds() {
        let mut backoff = Backoff::new(BOUNDS);
        let mut bounds = Vec::new();
        let mut now = Instant::now();
        for _ in 0..12 {
            bounds.push(backoff.bound().as_millis());
            backoff.failed(now);
            assert!(
                backoff.until()
                    <= now + Duration::from_millis(*bounds.last().expect("pushed") as u64)
            );
            now = backoff.until();
        }
        assert_eq!(bounds[..4], [100, 200, 400, 800]);
        assert_eq!(bounds[11], 30_000);
    }

    #[test]
    fn failures_of_several_connections_at_once_count_as_one() {
        let mut backoff = Backoff::new((Duration::from_secs(10), Duration::from_secs(30)));
        let now = Instant::now();
        backoff.failed(now);
        while backoff.until() == now {
            backoff.succeeded();
            backoff.failed(now);
        }
        let until = backoff.until();
        backoff.failed(now);
        assert_eq!((backoff.failures(), backoff.until()), (1, until));
        backoff.failed(until);
        assert_eq!(backoff.failures(), 2);
    }

    #[test]
    fn a_failure_with_a_shorter_bound_counts_and_does_not_make_later_waits_longer() {
        let mut backoff = Backoff::new(BOUNDS);
        for _ in 0..12 {
            let now = backoff.until();
            backoff.failed_within(now, Duration::from_secs(1));
            assert!(backoff.until() <= now + Duration::from_secs(1));
        }
        assert_eq!(backoff.failures(), 12);
        assert!(backoff.bound() < Duration::from_secs(2));
    }
}
