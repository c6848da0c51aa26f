//! The books of a list, as Redis has them.

use crate::ledger::Ledger;

/// The books at one moment: every script answers with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Books {
    /// Flushes of appends so far: tells which of two books is the newer, and whether
    /// an append is in it.
    pub(super) appends: u64,
    pub(super) ledger: Ledger,
    pub(super) quarantined_records: u64,
    /// What was appended and waits. Elements that others put into the list are not
    /// in these three.
    pub(super) waiting_events: i64,
    pub(super) waiting_batches: i64,
    pub(super) waiting_bytes: i64,
    /// What all holders together have.
    pub(super) leased_events: i64,
    pub(super) leased_batches: i64,
    pub(super) leased_bytes: i64,
    /// Leases taken back from holders that fell silent.
    pub(super) reclaimed_batches: u64,
    /// Length of the list.
    pub(super) length: u64,
}

impl Books {
    /// From the fields in the order of `common.lua`.
    pub(super) fn read(fields: &[i64]) -> Option<Self> {
        let fields: &[i64; 18] = fields.try_into().ok()?;
        let count = |at: usize| fields[at].max(0) as u64;
        Some(Self {
            appends: count(0),
            ledger: Ledger {
                accepted: count(1),
                returned: count(2),
                replayed: count(3),
                foreign: count(4),
                confirmed: count(5),
                dead_letters: count(6),
                discarded: count(7),
                quarantined: count(8),
            },
            quarantined_records: count(9),
            waiting_events: fields[10],
            waiting_batches: fields[11],
            waiting_bytes: fields[12],
            leased_events: fields[13],
            leased_batches: fields[14],
            leased_bytes: fields[15],
            reclaimed_batches: count(16),
            length: count(17),
        })
    }

    /// Elements in the list that others put there.
    fn strangers(&self) -> u64 {
        let own = self.waiting_batches.max(0) as u64;
        self.length.saturating_sub(own)
    }

    /// The books as they are shown: what others put into the list counts as one event
    /// an element until it is looked at; what vanished from the list does not wait
    /// any more, and is missing in the sums.
    pub(super) fn shown(&self) -> Self {
        let mut shown = *self;
        let strangers = self.strangers();
        shown.ledger.foreign += strangers;
        let own = self.waiting_batches.max(0);
        if self.length < own as u64 {
            let part =
                |whole: i64| (i128::from(whole) * i128::from(self.length) / i128::from(own)) as i64;
            shown.waiting_events = part(self.waiting_events);
            shown.waiting_bytes = part(self.waiting_bytes);
        }
        shown.waiting_events += strangers as i64;
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unaccounted(books: &Books) -> i64 {
        let shown = books.shown();
        shown
            .ledger
            .unaccounted(shown.waiting_events as u64, shown.leased_events as u64)
    }

    fn books(length: u64) -> Books {
        Books {
            ledger: Ledger {
                accepted: 40,
                ..Ledger::default()
            },
            waiting_events: 40,
            waiting_batches: 4,
            length,
            ..Books::default()
        }
    }

    #[test]
    fn elements_that_others_put_into_the_list_wait_as_one_event_each() {
        let shown = books(7).shown();
        assert_eq!((shown.waiting_events, shown.ledger.foreign), (43, 3));
        assert_eq!(unaccounted(&books(7)), 0);
    }

    #[test]
    fn batches_that_vanished_from_the_list_are_missing_in_the_sums() {
        assert_eq!(unaccounted(&books(4)), 0);
        assert_eq!(unaccounted(&books(3)), 10);
        assert_eq!(unaccounted(&books(0)), 40);
    }
}
