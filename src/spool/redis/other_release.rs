//! What a lane does about records that only another release can read: they go back to
//! their place, and are fetched again each time. So the list is left alone for a while
//! after that, for growing times while nothing else comes out of it; what stands behind
//! them is sent all the same, unless they are as many as one fetch takes.

use std::time::{Duration, Instant};

use super::held::Sorted;
use crate::log::SharedComplaints;

/// How long at least, so that a gateway of that release has its turn.
const SHORTEST: Duration = Duration::from_millis(50);
/// How long at first if there was nothing else, and at last.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct OtherRelease {
    /// How long the list is left alone now; zero: there are no such records.
    pub(super) pause: Duration,
    /// One fetch holds no more than such records.
    is_blocked: bool,
    pub(super) complaints: SharedComplaints,
}

impl OtherRelease {
    /// What a fetch brought; `is_full`: there may be more behind it.
    pub(super) fn seen(&mut self, sorted: &Sorted, is_full: bool) {
        let finds_others = !(sorted.batches.is_empty() && sorted.damaged.is_empty());
        self.is_blocked = is_full && !finds_others;
        self.pause = if sorted.other_version.is_empty() {
            let _ = self.complaints.recovered();
            Duration::ZERO
        } else if finds_others {
            SHORTEST
        } else {
            (self.pause * 2).clamp(FIRST, LONGEST)
        };
    }

    /// When to fetch after an append here.
    pub(super) fn after_an_append(&self) -> Option<Instant> {
        let pause = self.pause.min(SHORTEST);
        (!self.is_blocked).then(|| Instant::now() + pause)
    }
}
