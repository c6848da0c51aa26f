//! Exponential backoff with full jitter.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(15);

/// How long to wait after the failures so far.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure: anything up to a bound that doubles
    /// with each failure, so that many clients of one gateway do not come back
    /// in step. `at_least` is what the gateway asked for; the jitter comes on
    /// top of it.
    pub(super) fn failed(&mut self, at_least: Option<Duration>) -> Duration {
        let bound = FIRST
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        at_least.unwrap_or_default() + bound.mul_f64(fastrand::f64())
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Whether nothing has succeeded since the last failure.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_and_ends_at_the_longest() {
        let mut backoff = Backoff::default();
        for failure in 0..40_u32 {
            let bound = (FIRST * 2_u32.pow(failure.min(16))).min(LONGEST);
            let wait = backoff.failed(None);
            assert!(wait <= bound, "{wait:?} after {failure} failures");
        }
    }

    #[test]
    fn what_the_gateway_asks_for_is_the_least() {
        let asked = Duration::from_secs(7);
        let wait = Backoff::default().failed(Some(asked));
        assert!((asked..=asked + FIRST).contains(&wait), "{wait:?}");
    }

    #[test]
    fn a_success_starts_anew() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.failed(None);
        }
        backoff.succeeded();
        assert!(backoff.failed(None) <= FIRST);
    }
}
