//! The records at the head of a queue that are in memory: the very batches that
//! were appended while the forwarder keeps up, chunks read from disk while it
//! does not.
//!
//! They are always without a gap from the queue's head up to `end`. New records
//! join when `end` is where the log ended before them; so a reader that fell
//! behind becomes warm again by reading up to the log's end, and no record is
//! skipped in between.

use std::collections::VecDeque;

use super::layout::Position;
use super::reader::Loaded;

/// Reading on begins when less than this is left.
const LOW: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Ahead {
    records: VecDeque<Loaded>,
    /// Length of the payloads, in bytes.
    bytes: usize,
    /// Most bytes taken from appends; one record may always be there.
    budget: usize,
    /// Where the records end.
    end: Position,
    /// Whether somebody leases from the queue: else nothing is kept.
    wanted: bool,
    /// Whether somebody reads on.
    reading: bool,
}

impl Ahead {
    pub(super) fn new(head: Position, budget: usize) -> Self {
        Self {
            records: VecDeque::new(),
            bytes: 0,
            budget,
            end: head,
            wanted: false,
            reading: false,
        }
    }

    pub(super) fn front(&self) -> Option<&Loaded> {
        self.records.front()
    }

    pub(super) fn pop(&mut self) -> Option<Loaded> {
        let record = self.records.pop_front()?;
        self.bytes -= record.header.payload_len as usize;
        Some(record)
    }

    pub(super) fn end(&self) -> Position {
        self.end
    }

    /// Nothing is in memory up to `end`.
    pub(super) fn skip_to(&mut self, end: Position) {
        self.end = end;
    }

    /// Takes a record that was just appended at `log_end`, if it follows.
    pub(super) fn offer(&mut self, log_end: Position, record: Loaded) {
        let follows = self.end == log_end && !self.reading;
        let room = self.records.is_empty()
            || self.bytes + record.header.payload_len as usize <= self.budget;
        if self.wanted && follows && room {
            self.push(record);
        }
    }

    /// Takes what was read at `end`.
    pub(super) fn extend(&mut self, records: Vec<Loaded>) {
        records.into_iter().for_each(|record| self.push(record));
    }

    fn push(&mut self, record: Loaded) {
        self.bytes += record.header.payload_len as usize;
        self.end = record.end();
        self.records.push_back(record);
    }

    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether to read on at `end` now; says so to one caller.
    pub(super) fn start_reading(&mut self) -> bool {
        let start = !self.reading && self.bytes < LOW.min(self.budget);
        self.reading |= start;
        start
    }

    pub(super) fn stop_reading(&mut self) {
        self.reading = false;
    }
}
