//! What was settled, kept for a while: in Redis one list for each day of acceptance
//! (UTC), `{L}-2026/11/21`, whose elements are those that were leased.
//!
//! - The settle script pushes an element there as it takes it out of the lease: it does
//!   not cross the wire for that, and is never in neither place. The first push
//!   of a day sets when its list expires: `retention` after the day is over.
//! - `{L}:archive` has the length of each day's list in bytes, and how many elements
//!   were taken from its head.
//! - `bound` keeps all lists together below `max_bytes`, and gives way when the server's
//!   memory gets short: the oldest elements first, in steps of some mebibytes.
//! - `carrier`: where the archive is on the local disk, nothing is pushed; what is settled
//!   is read back before that and given to `spool::local_archive`.
//! - `reader` reads a range of time; the old agent's lists too, whose events have
//!   no time but their list's day.
//!
//! | failure | what happens |
//! | --- | --- |
//! | the answer to a settlement is lost | it is told again; the element was moved once |
//! | a settled batch is older than the retention | it is not kept |
//! | a reader is overtaken by expiry or by the bound | it goes on behind, and tells how many elements it missed |
//! | an element is damaged, or of another release | it is skipped and counted |

mod bound;
mod carrier;
mod day;
mod reader;
mod shelf;

use std::time::Duration;

pub(super) use bound::Archivist;
pub(super) use carrier::Carrier;
pub(super) use day::Day;
pub use reader::Reader;
pub use shelf::ListMark;

use super::keys::Keys;
use super::state::Settlement;
use crate::batch::UnixMillis;

/// What becomes of settled batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// How long they are kept; zero: not at all.
    pub retention: Duration,
    /// Most bytes of them, all queues together.
    pub max_bytes: u64,
}

impl ArchiveOptions {
    /// Nothing is kept.
    pub const OFF: Self = Self {
        retention: Duration::ZERO,
        max_bytes: 0,
    };
}

/// What an archive holds, as of the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Archived {
    pub(super) bytes: u64,
    /// How far back it reaches.
    pub(super) since: Option<UnixMillis>,
}

/// Where one call of the settle script puts what it settles.
#[derive(Debug)]
pub(super) struct Shelves {
    retention: Duration,
    now: UnixMillis,
    days: Vec<Day>,
}

impl Shelves {
    pub(super) fn new(options: ArchiveOptions, settlements: &[Settlement]) -> Self {
        let mut shelves = Self {
            retention: options.retention,
            now: UnixMillis::now(),
            days: Vec::new(),
        };
        if options.retention.is_zero() {
            return shelves;
        }
        for settlement in settlements {
            if let Some(at) = settlement.accepted_at {
                shelves.add(Day::of(at));
            }
        }
        shelves
    }

    fn add(&mut self, day: Day) {
        let expired = day.expires(self.retention) <= self.now.0 / 1000;
        if !expired && !self.days.contains(&day) {
            self.days.push(day);
        }
    }

    /// The lists, in the order in which the script counts them.
    pub(super) fn keys<'s>(&'s self, keys: &'s Keys) -> impl Iterator<Item = String> + 's {
        self.days.iter().map(|day| keys.archive_of(day))
    }

    /// Their number, and of each its day and when it expires.
    pub(super) fn args(&self) -> Vec<String> {
        let each = |day: &Day| [day.to_string(), day.expires(self.retention).to_string()];
        let number = self.days.len().to_string();
        std::iter::once(number)
            .chain(self.days.iter().flat_map(each))
            .collect()
    }

    /// Which of the lists takes a settlement, counted from 1; 0: none.
    pub(super) fn place(&self, settlement: &Settlement) -> usize {
        let day = settlement.accepted_at.map(Day::of);
        let at = self.days.iter().position(|shelf| Some(*shelf) == day);
        at.map_or(0, |at| at + 1)
    }
}
