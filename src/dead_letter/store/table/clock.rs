//! What was seen of the machine's clock, so that one that is set wrong makes no letter old.

use redb::{Error, ReadableTable, Table};

use crate::batch::UnixMillis;
use crate::dead_letter::store::{JUMP_MS, SOON_MS};

/// A look is written down when the last one is so old, in milliseconds: not each minute.
const WRITTEN_EVERY: u64 = 3_600_000;

/// As it is in the file; milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    seen: Option<u64>,
    stays: Option<u64>,
}

impl Clock {
    pub(super) fn read(numbers: &impl ReadableTable<&'static str, u64>) -> Result<Self, Error> {
        let number = |name| Ok::<_, Error>(numbers.get(name)?.map(|number| number.value()));
        Ok(Self {
            seen: number("seen")?,
            stays: number("stays")?,
        })
    }

    /// After a look at the clock.
    pub(super) fn seen_at(self, now: UnixMillis) -> Self {
        let has_jumped = |seen: u64| now.0.saturating_sub(seen) > JUMP_MS;
        let pause = now.0.saturating_add(SOON_MS);
        Self {
            seen: Some(now.0),
            stays: match self.seen.is_some_and(has_jumped) {
                true => Some(pause),
                // Beyond that, the clock went back to before it jumped.
                false => self.stays.filter(|until| *until <= pause),
            },
        }
    }

    pub(super) fn write(self, numbers: &mut Table<'_, &'static str, u64>) -> Result<(), Error> {
        for (name, at) in [("seen", self.seen), ("stays", self.stays)] {
            match at {
                Some(at) => numbers.insert(name, at)?.map(drop),
                None => numbers.remove(name)?.map(drop),
            };
        }
        Ok(())
    }

    /// Whether it is to be written down that it was looked at.
    pub(super) fn is_due(self, now: UnixMillis) -> bool {
        let is_old = |seen: u64| now.0.abs_diff(seen) >= WRITTEN_EVERY;
        self.seen.is_none_or(is_old)
    }

    /// Until when everything stays, since the clock jumped.
    pub(super) fn stays_until(self, now: UnixMillis) -> Option<UnixMillis> {
        self.stays.filter(|until| *until > now.0).map(UnixMillis)
    }
}
