//! Repeated failures are summed up in the log, not written one by one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const FIRST_SILENCE: Duration = Duration::from_secs(10);
const LONGEST_SILENCE: Duration = Duration::from_secs(600);

/// Says which of a row of failures is logged: the first, then one at growing
/// intervals.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    count: u64,
    quiet: Option<(Instant, Duration)>,
}

impl Complaints {
    /// One more failure; `Some` when it is to be logged, with how many there were
    /// in this row.
    pub(crate) fn failed(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        let silence = match self.quiet {
            None => FIRST_SILENCE,
            Some((until, _)) if now < until => return None,
            Some((_, silence)) => (silence * 2).min(LONGEST_SILENCE),
        };
        self.quiet = Some((now + silence, silence));
        Some(self.count)
    }

    /// It works again; `Some` with the number of failures if there were any.
    pub(crate) fn recovered(&mut self) -> Option<u64> {
        self.quiet = None;
        let count = std::mem::take(&mut self.count);
        (count > 0).then_some(count)
    }
}

/// The same for failures of many tasks.
#[derive(Debug, Default)]
pub(crate) struct SharedComplaints(Mutex<Complaints>);

impl SharedComplaints {
    /// See [`Complaints::failed`].
    pub(crate) fn failed(&self) -> Option<u64> {
        self.lock().failed(Instant::now())
    }

    /// See [`Complaints::recovered`].
    pub(crate) fn recovered(&self) -> Option<u64> {
        self.lock().recovered()
    }

    fn lock(&self) -> MutexGuard<'_, Complaints> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_failures_is_logged_at_growing_intervals_and_its_end_with_the_count() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let logged: Vec<u64> = (0..100)
            .filter_map(|s| complaints.failed(start + Duration::from_secs(s)))
            .collect();
        assert_eq!(logged, [1, 11, 31, 71]);
        assert_eq!(complaints.recovered(), Some(100));
        assert_eq!(complaints.recovered(), None);
        assert_eq!(complaints.failed(start), Some(1));
    }
}
