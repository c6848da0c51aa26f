//! The state of a queue: what waits, what is leased, what is settled. The only
//! file that changes it; always under the queue's lock, in short sections, and
//! never while waiting for a disk.
//!
//! `snapshot` only looks. What waits is not counted but derived: `tail` and
//! `head` carry the running sums of events and bytes before them. So the
//! ledger's two sides come from different sources, and nothing is kept in memory
//! for a record that waits.

mod snapshot;

use super::ahead::Ahead;
use super::cursor::Cursor;
use super::held::{Held, HeldSet};
use super::layout::{Position, Segments};
use super::reader::Loaded;
use crate::batch::{QueueName, UnixMillis};
use crate::ledger::Ledger;

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    queue: QueueName,
    segments: Segments,
    /// The first record that was never handed out.
    head: Position,
    /// Where the durable log ends.
    tail: Position,
    ahead: Ahead,
    leased: HeldSet,
    /// Given back: leased again before anything at the head.
    returned: HeldSet,
    ledger: Ledger,
    quarantined_records: u64,
    last_accepted: UnixMillis,
    /// When the record at the head arrived, or one shortly before it.
    waiting_since: UnixMillis,
    /// Why reading ahead failed, until somebody was told.
    read_error: Option<String>,
    poisoned: Option<String>,
    closed: bool,
    /// Changes whenever the cursor would.
    changes: u64,
}

/// A record that was handed out.
#[derive(Debug)]
pub(super) struct Claimed {
    pub sequence: u64,
    pub held: Held,
    /// The payload, if it is in memory.
    pub record: Option<Loaded>,
}

/// What there is for someone who wants to lease.
#[derive(Debug)]
pub(super) enum Next {
    /// A record, now leased.
    Claimed(Box<Claimed>),
    /// Nothing now.
    Nothing,
    /// Reading failed.
    Unreadable(String),
    /// The queue is closed.
    Closed,
}

/// How a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done with; so many events became dead letters, so many are in the quarantine.
    Settled { dead_letters: u32, quarantined: u32 },
    /// Not sent, or refused as a whole.
    Returned,
    /// Sent, and nobody knows what became of it.
    Unknown,
}

/// What start-up found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub segments: Segments,
    pub cursor: Cursor,
    pub waiting_since: UnixMillis,
}

impl State {
    pub(super) fn new(queue: QueueName, found: Recovered, budget: usize) -> Self {
        let Recovered {
            segments,
            cursor,
            waiting_since,
        } = found;
        let mut returned = HeldSet::default();
        for record in &cursor.unsettled {
            returned.insert(record.sequence, Held::after_restart(record));
        }
        let nothing_waits = cursor.head.events == cursor.tail.events;
        let head = if nothing_waits {
            cursor.tail
        } else {
            cursor.head
        };
        Self {
            queue,
            segments,
            head,
            tail: cursor.tail,
            ahead: Ahead::new(head, budget),
            leased: HeldSet::default(),
            returned,
            ledger: cursor.ledger,
            quarantined_records: cursor.quarantined_records,
            last_accepted: cursor.last_accepted,
            waiting_since,
            read_error: None,
            poisoned: None,
            closed: false,
            changes: 0,
        }
    }

    // Leasing.

    /// Hands out the oldest record: what was given back, else what is at the
    /// head.
    pub(super) fn next(&mut self) -> Next {
        if self.closed {
            return Next::Closed;
        }
        self.ahead.want();
        if let Some((sequence, _)) = self.returned.first() {
            return self.lease_returned(sequence);
        }
        if let Some(record) = self.ahead.pop() {
            return self.lease_head(record);
        }
        if self.ahead.end() == self.tail {
            // Whatever lay between was damaged.
            self.advance(self.tail);
        } else if let Some(error) = self.read_error.take() {
            return Next::Unreadable(error);
        }
        Next::Nothing
    }

    fn lease_returned(&mut self, sequence: u64) -> Next {
        let Some(held) = self.returned.remove(sequence) else {
            return Next::Nothing;
        };
        self.leased.insert(sequence, held.clone());
        self.changes += 1;
        Next::Claimed(Box::new(Claimed {
            sequence,
            held,
            record: None,
        }))
    }

    fn lease_head(&mut self, record: Loaded) -> Next {
        self.advance(record.start());
        self.head = record.end();
        self.waiting_since = record.header.arrived_at().unwrap_or(self.waiting_since);
        let sequence = record.header.place.sequence;
        let held = Held::new(&record, self.waiting_since);
        self.leased.insert(sequence, held.clone());
        self.changes += 1;
        Next::Claimed(Box::new(Claimed {
            sequence,
            held,
            record: Some(record),
        }))
    }

    /// Moves the head to `to`, over nothing but damage.
    fn advance(&mut self, to: Position) {
        let events = to.events.saturating_sub(self.head.events);
        if events > 0 {
            let records = to.sequence.saturating_sub(self.head.sequence);
            self.ledger.quarantined += events;
            self.quarantined_records += records;
            tracing::error!(
                queue = %self.queue, events, records,
                "damaged records cannot be sent; what is left of their bytes is in the queue's quarantine folder, unless an earlier line says that it could not be set aside"
            );
        }
        if self.head != to {
            self.head = to;
            self.changes += 1;
        }
    }

    /// Ends a lease. `false`: there is no such lease, or the queue is closed.
    pub(super) fn settle(&mut self, sequence: u64, outcome: Outcome) -> bool {
        if self.closed {
            return false;
        }
        let Some(mut held) = self.leased.remove(sequence) else {
            return false;
        };
        self.changes += 1;
        let events = u64::from(held.events);
        match outcome {
            Outcome::Settled {
                dead_letters,
                quarantined,
            } => {
                let dead = u64::from(dead_letters).min(events);
                let aside = u64::from(quarantined).min(events - dead);
                self.ledger.dead_letters += dead;
                self.ledger.quarantined += aside;
                self.quarantined_records += u64::from(aside > 0);
                self.ledger.confirmed += events - dead - aside;
            }
            _ if held.damaged => {
                self.ledger.quarantined += events;
                self.quarantined_records += 1;
            }
            Outcome::Returned | Outcome::Unknown => {
                held.attempts += u32::from(outcome == Outcome::Unknown);
                self.returned.insert(sequence, held);
            }
        }
        true
    }

    /// A leased record cannot be read: when it comes back, it is set aside.
    pub(super) fn mark_damaged(&mut self, sequence: u64) {
        if let Some(held) = self.leased.get_mut(sequence) {
            held.damaged = true;
        }
    }

    /// Keeps the header of a leased record that was read after a restart.
    pub(super) fn set_header(&mut self, sequence: u64, record: &Loaded) {
        if let Some(held) = self.leased.get_mut(sequence) {
            held.header = Some(record.header.clone());
        }
    }

    // Reading ahead.

    /// Whether the caller should read ahead now.
    pub(super) fn start_reading(&mut self) -> bool {
        self.read_error.is_none() && self.ahead.end() != self.tail && self.ahead.start_reading()
    }

    /// Where to read on, and how far the segment there may be read. `None`: all
    /// is read, and reading is over.
    pub(super) fn read_from(&mut self) -> Option<(Position, u64)> {
        let from = self.segments.settle(self.ahead.end());
        self.ahead.skip_to(from);
        match self.segments.get(from.segment) {
            Some(segment) if !self.segments.at_end(from) => Some((from, segment.len)),
            _ => {
                self.ahead.skip_to(self.tail);
                self.ahead.stop_reading();
                None
            }
        }
    }

    /// Records were read where [`State::read_from`] said.
    pub(super) fn finish_reading(&mut self, records: Vec<Loaded>) {
        self.ahead.extend(records);
        self.ahead.stop_reading();
    }

    /// There is no good record up to `to`.
    pub(super) fn skip_reading(&mut self, to: Position) {
        self.ahead.skip_to(to);
    }

    pub(super) fn fail_reading(&mut self, error: String) {
        self.read_error = Some(error);
        self.ahead.stop_reading();
    }

    // The log.

    /// Records are durable. They follow the tail.
    pub(super) fn publish(&mut self, records: Vec<Loaded>) {
        for record in records {
            let start = record.start();
            let end = record.end();
            let arrived_at = record.header.arrived_at().unwrap_or_else(UnixMillis::now);
            if self.head == self.tail {
                self.waiting_since = arrived_at;
            }
            let segment = self.segments.get(start.segment);
            if segment.is_some_and(|segment| segment.since.is_none()) {
                self.segments.set_since(start.segment, Some(arrived_at));
            }
            let (origin, events) = (record.header.origin, record.header.events);
            self.ledger.came(origin, u64::from(events));
            self.last_accepted = self.last_accepted.max(arrived_at);
            self.segments.set_len(end.segment, end.offset);
            self.ahead.offer(self.tail, record);
            self.tail = end;
            self.changes += 1;
        }
    }

    /// A new segment follows all others.
    pub(super) fn add_segment(&mut self, first: u64) {
        self.segments.push(first, 0);
    }

    pub(super) fn remove_segment(&mut self, first: u64) {
        self.segments.remove(first);
    }

    pub(super) fn segments(&self) -> &Segments {
        &self.segments
    }

    pub(super) fn set_since(&mut self, first: u64, since: Option<UnixMillis>) {
        self.segments.set_since(first, since);
    }

    pub(super) fn tail(&self) -> Position {
        self.tail
    }

    pub(super) fn last_accepted(&self) -> UnixMillis {
        self.last_accepted
    }

    pub(super) fn poison(&mut self, reason: String) {
        self.poisoned.get_or_insert(reason);
    }

    pub(super) fn poisoned(&self) -> Option<&String> {
        self.poisoned.as_ref()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }
}
