//! The clock that confirmation is measured by.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment of `CLOCK_BOOTTIME`: it goes on while the process is paused and while
/// the machine sleeps, so that a paused process never counts as a quick one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BootInstant(Duration);

impl BootInstant {
    pub(super) fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        Self(Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
    }

    /// Time since `earlier`; zero if it is later.
    pub(super) fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    #[cfg(test)]
    pub(super) fn at(since_boot: Duration) -> Self {
        Self(since_boot)
    }
}
