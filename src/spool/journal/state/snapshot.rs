//! What a queue's state looks like from outside.

use super::super::cursor::{Cursor, Unsettled};
use super::State;
use crate::batch::UnixMillis;
use crate::spool::QueueStats;

impl State {
    pub(in crate::spool::journal) fn changes(&self) -> u64 {
        self.changes
    }

    pub(in crate::spool::journal) fn cursor(&self) -> Cursor {
        let held = self.leased.iter().chain(self.returned.iter());
        let mut unsettled: Vec<Unsettled> = held.map(|(s, held)| held.unsettled(s)).collect();
        unsettled.sort_unstable_by_key(|record| record.sequence);
        Cursor {
            unsettled,
            last_accepted: self.last_accepted,
            quarantined_records: self.quarantined_records,
            ..Cursor::new(self.segments.settle(self.head), self.tail, self.ledger)
        }
    }

    /// All before this sequence is settled.
    pub(in crate::spool::journal) fn lowest_unsettled(&self) -> u64 {
        let held = [self.leased.first(), self.returned.first()];
        let held = held.into_iter().flatten().map(|(sequence, _)| sequence);
        let head = self.segments.settle(self.head).sequence;
        held.min().map_or(head, |lowest| lowest.min(head))
    }

    /// Length of all records that are not settled, in bytes.
    pub(in crate::spool::journal) fn unsettled_bytes(&self) -> u64 {
        self.waiting_bytes() + self.leased.bytes()
    }

    fn waiting_bytes(&self) -> u64 {
        let behind_head = self.segments.distance(self.tail) - self.segments.distance(self.head);
        behind_head + self.returned.bytes()
    }

    fn waiting_events(&self) -> u64 {
        self.tail.events - self.head.events + self.returned.events()
    }

    fn oldest_unsettled(&self) -> Option<UnixMillis> {
        let waiting = (self.head.events < self.tail.events).then(|| {
            let front = self.ahead.front();
            let arrived_at = front.and_then(|record| record.header.arrived_at());
            arrived_at.unwrap_or(self.waiting_since)
        });
        let held = [self.leased.first(), self.returned.first()];
        let held = held.into_iter().flatten().map(|(_, held)| held.arrived_at);
        held.chain(waiting).min()
    }

    /// `full` is left to whoever knows the limits.
    pub(in crate::spool::journal) fn stats(&self) -> QueueStats {
        QueueStats {
            queue: self.queue.clone(),
            ledger: self.ledger,
            waiting_events: self.waiting_events(),
            waiting_bytes: self.waiting_bytes(),
            leased_events: self.leased.events(),
            leased_batches: self.leased.len() as u64,
            oldest_unsettled: self.oldest_unsettled(),
            stored_bytes: self.segments.bytes(),
            stored_since: self.segments.since(),
            quarantined_records: self.quarantined_records,
            full: None,
            poisoned: self.poisoned.clone(),
            redis: None,
            spill: None,
        }
    }
}
