//! Reads what a queue has stored, settled or not: for replays, and for queues
//! that are kept rather than sent.

use std::collections::VecDeque;
use std::iter::FusedIterator;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::layout::{Position, segment_path};
use super::queue::Queue;
use super::reader::{Loaded, ReadError, Reader, Step};
use crate::batch::{Origin, UnixMillis};
use crate::record::Header;

/// Another gateway's clock, which a batch from a Redis was accepted by, may be ahead of
/// ours: a whole segment is left out only if it was last written so far before what is
/// asked for, in milliseconds.
const DISORDER: u64 = 10 * 60 * 1000;

/// Records of a queue in their order, up to where the log ended when this was
/// made; without those that were replayed, which were there before. An iterator that blocks while it reads, and holds about a mebibyte.
#[derive(Debug)]
pub struct Scan {
    queue: Arc<Queue>,
    accepted: RangeInclusive<UnixMillis>,
    at: Position,
    until: Position,
    /// Running total of events at `at`, where it is known.
    events: Option<u64>,
    loaded: VecDeque<Loaded>,
    missing_events: u64,
    /// After the record that was handed out last.
    mark: ScanMark,
    ended: bool,
}

/// How far a scan has come. It holds over a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanMark {
    at: Position,
    /// Whether the running total of events at `at` is known.
    is_counted: bool,
    until: Position,
}

/// A scan could not be finished.
#[derive(Debug, thiserror::Error)]
#[error("the scan of the journal ended early: {0}")]
pub struct ScanError(String);

impl Scan {
    pub(super) fn new(queue: Arc<Queue>, accepted: RangeInclusive<UnixMillis>) -> Self {
        let (oldest, until) = queue.look(|state| (state.segments().oldest(), state.tail()));
        let mark = ScanMark {
            at: oldest.map_or(until, |(first, _)| Position::start_of(first)),
            is_counted: false,
            until,
        };
        Self::resume(queue, accepted, mark)
    }

    /// Goes on where one like it had come.
    pub(super) fn resume(
        queue: Arc<Queue>,
        accepted: RangeInclusive<UnixMillis>,
        mark: ScanMark,
    ) -> Self {
        Self {
            queue,
            accepted,
            at: mark.at,
            until: mark.until,
            events: mark.is_counted.then_some(mark.at.events),
            loaded: VecDeque::new(),
            missing_events: 0,
            mark,
            ended: false,
        }
    }

    /// How far it has come: after the record that was handed out last.
    pub fn mark(&self) -> ScanMark {
        self.mark
    }

    /// Events between the records read so far that were damaged, or that
    /// retention took while this was reading.
    pub fn missing_events(&self) -> u64 {
        self.missing_events
    }

    /// Reads until a record is in memory, or there is no more.
    fn fill(&mut self) -> Result<(), ReadError> {
        while self.loaded.is_empty() {
            let Some((from, len)) = self.next_bytes() else {
                return Ok(());
            };
            if from.offset == 0 && self.is_before(from.segment) {
                self.at.offset = len;
                self.events = None;
                continue;
            }
            let reader = Reader::open(&*self.queue.files, &self.queue.dir, from.segment, len)?;
            match reader.step(from)? {
                Step::Records(records) => records.into_iter().for_each(|r| self.take(r)),
                Step::Bad { to } => self.at = to,
            }
        }
        Ok(())
    }

    /// Where to read on, and how far the segment there may be read.
    fn next_bytes(&mut self) -> Option<(Position, u64)> {
        let (at, segment) = self.queue.look(|state| {
            let at = state.segments().settle(self.at);
            (at, state.segments().get(at.segment).copied())
        });
        self.at = at;
        let len = match at.segment == self.until.segment {
            true => self.until.offset,
            false => segment?.len,
        };
        (at.segment <= self.until.segment && at.offset < len).then_some((at, len))
    }

    /// Whether all of a segment was accepted before the time asked for, as it was written
    /// before that. What begins the next one says nothing: where a Redis' past is kept, a
    /// batch that was long on its way comes behind later ones.
    fn is_before(&self, segment: u64) -> bool {
        let path = segment_path(&self.queue.dir, segment);
        let written = self.queue.files.modified(&path).map(UnixMillis::from);
        written.is_ok_and(|at| at.0.saturating_add(DISORDER) < self.accepted.start().0)
    }

    fn take(&mut self, record: Loaded) {
        let (start, end) = (record.start(), record.end());
        let expected = self.events.unwrap_or(start.events);
        self.missing_events += start.events.saturating_sub(expected);
        self.events = Some(end.events);
        self.at = end;
        let is_first = record.header.origin != Origin::Replayed;
        if is_first && self.accepted.contains(&record.header.accepted_at) {
            self.loaded.push_back(record);
        }
    }
}

impl Iterator for Scan {
    type Item = Result<(Arc<Header>, Bytes), ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if let Err(error) = self.fill() {
            self.ended = true;
            return Some(Err(ScanError(error.to_string())));
        }
        let record = self.loaded.pop_front();
        self.ended = record.is_none();
        let record = record?;
        self.mark.at = record.end();
        self.mark.is_counted = true;
        Some(Ok((record.header, record.payload?)))
    }
}

impl FusedIterator for Scan {}
