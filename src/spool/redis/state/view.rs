//! What a list's state looks like from outside.

use super::State;
use crate::batch::UnixMillis;
use crate::ledger::Ledger;

/// What a list holds, for those who look.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::spool::redis) struct View {
    pub(in crate::spool::redis) ledger: Ledger,
    pub(in crate::spool::redis) waiting_events: u64,
    pub(in crate::spool::redis) waiting_bytes: u64,
    pub(in crate::spool::redis) leased_events: u64,
    pub(in crate::spool::redis) leased_batches: u64,
    pub(in crate::spool::redis) leased_bytes: u64,
    pub(in crate::spool::redis) oldest_unsettled: Option<UnixMillis>,
    pub(in crate::spool::redis) quarantined_records: u64,
    pub(in crate::spool::redis) reclaimed_batches: u64,
}

impl View {
    /// Two lists of a queue.
    pub(in crate::spool::redis) fn plus(self, other: Self) -> Self {
        Self {
            ledger: self.ledger.plus(&other.ledger),
            waiting_events: self.waiting_events + other.waiting_events,
            waiting_bytes: self.waiting_bytes + other.waiting_bytes,
            leased_events: self.leased_events + other.leased_events,
            leased_batches: self.leased_batches + other.leased_batches,
            leased_bytes: self.leased_bytes + other.leased_bytes,
            oldest_unsettled: self
                .oldest_unsettled
                .into_iter()
                .chain(other.oldest_unsettled)
                .min(),
            quarantined_records: self.quarantined_records + other.quarantined_records,
            reclaimed_batches: self.reclaimed_batches + other.reclaimed_batches,
        }
    }
}

impl State {
    /// Bytes in the list that were appended.
    pub(in crate::spool::redis) fn waiting_bytes(&self) -> u64 {
        let appended: u64 = self.appended.iter().map(|append| append.bytes).sum();
        appended + self.books.shown().waiting_bytes.max(0) as u64
    }

    /// What the list holds.
    pub(in crate::spool::redis) fn view(&self) -> View {
        let books = self.books.shown();
        let mut view = View {
            ledger: books.ledger,
            quarantined_records: books.quarantined_records,
            reclaimed_batches: books.reclaimed_batches,
            oldest_unsettled: self.oldest_unsettled(),
            ..View::default()
        };
        let mut waiting = (books.waiting_events, books.waiting_bytes);
        let mut leased = (
            books.leased_events,
            books.leased_batches,
            books.leased_bytes,
        );
        for append in &self.appended {
            view.ledger = view.ledger.plus(&append.came);
            waiting.0 += append.came.arrived() as i64;
            waiting.1 += append.bytes as i64;
        }
        // Of what all holders have, first what is not ours.
        let held = self.ready.values().chain(self.out.values());
        let parts = held.clone().map(|held| (&held.parts, held.events()));
        let acked = self.acked.values().map(|s| (&s.parts, s.events));
        let mut foreign = view.ledger.foreign as i64;
        for (parts, events) in parts.chain(acked) {
            let counted: u64 = parts.iter().map(|part| part.counted).sum();
            leased.0 -= counted as i64;
            leased.1 -= parts.len() as i64;
            leased.2 -= parts.iter().map(|part| part.bytes as i64).sum::<i64>();
            foreign += events as i64 - counted as i64;
        }
        view.ledger.foreign = foreign.max(0) as u64;
        for held in self.ready.values() {
            waiting.0 += held.events() as i64;
            waiting.1 += held.bytes() as i64;
        }
        for held in self.out.values() {
            leased.0 += held.events() as i64;
            leased.1 += 1;
            leased.2 += held.bytes() as i64;
        }
        for settlement in self.acked.values() {
            let books = &mut view.ledger;
            if settlement.damaged {
                books.quarantined += settlement.events;
                view.quarantined_records += 1;
            } else {
                books.dead_letters += settlement.dead_letters;
                books.confirmed += settlement.events - settlement.dead_letters;
            }
        }
        view.waiting_events = waiting.0.max(0) as u64;
        view.waiting_bytes = waiting.1.max(0) as u64;
        view.leased_events = leased.0.max(0) as u64;
        view.leased_batches = leased.1.max(0) as u64;
        view.leased_bytes = leased.2.max(0) as u64;
        view
    }

    fn oldest_unsettled(&self) -> Option<UnixMillis> {
        let held = self.ready.values().chain(self.out.values());
        let ours = held.filter_map(|held| held.header.arrived_at());
        ours.chain(self.head_arrived_at).min()
    }
}
