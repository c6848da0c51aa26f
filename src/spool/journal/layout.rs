//! Names and places: which file holds what.
//!
//! ```text
//! <dir>/lock                                  one gateway at a time
//! <dir>/<queue>/<first sequence>.seg          records, one after the other
//! <dir>/<queue>/cursor                        what is settled, and the ledger
//! <dir>/<queue>/quarantine/<from>-<to>.damaged, .torn
//! ```

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::batch::UnixMillis;

/// A place between two records: where one ends and the next one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Position {
    /// The segment, by its first sequence.
    pub segment: u64,
    /// Offset in the segment, in bytes.
    pub offset: u64,
    /// Sequence of the record that begins here.
    pub sequence: u64,
    /// Events of all records before.
    pub events: u64,
}

impl Position {
    /// The beginning of a segment, when the events before it are not known.
    pub(super) fn start_of(segment: u64) -> Self {
        Self {
            segment,
            offset: 0,
            sequence: segment,
            events: 0,
        }
    }
}

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Address {
    /// The segment, by its first sequence.
    pub segment: u64,
    /// Offset in the segment, in bytes.
    pub offset: u64,
}

/// A segment on disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// Bytes of records; what is allocated beyond does not count.
    pub len: u64,
    /// Bytes of all segments before it, those that went before the start left
    /// out: makes the distance between two positions a subtraction.
    pub base: u64,
    /// When its first record arrived, once somebody looked.
    pub since: Option<UnixMillis>,
    /// Somebody looked: without a time only replayed records begin it.
    pub is_known: bool,
}

/// The segments of a queue, by first sequence.
#[derive(Debug, Default)]
pub(super) struct Segments(BTreeMap<u64, Segment>);

impl Segments {
    /// Adds a segment after all others.
    pub(super) fn push(&mut self, first: u64, len: u64) {
        let segment = Segment {
            len,
            base: self.end(),
            since: None,
            is_known: false,
        };
        self.0.insert(first, segment);
    }

    pub(super) fn remove(&mut self, first: u64) {
        self.0.remove(&first);
    }

    pub(super) fn get(&self, first: u64) -> Option<&Segment> {
        self.0.get(&first)
    }

    pub(super) fn oldest(&self) -> Option<(u64, Segment)> {
        self.0.first_key_value().map(|(first, s)| (*first, *s))
    }

    /// The segment after the one that begins, or began, with `first`.
    pub(super) fn after(&self, first: u64) -> Option<(u64, Segment)> {
        let mut later = self.0.range((Excluded(first), Unbounded));
        later.next().map(|(first, s)| (*first, *s))
    }

    pub(super) fn set_len(&mut self, first: u64, len: u64) {
        if let Some(segment) = self.0.get_mut(&first) {
            segment.len = len;
        }
    }

    pub(super) fn set_since(&mut self, first: u64, since: Option<UnixMillis>) {
        if let Some(segment) = self.0.get_mut(&first) {
            segment.since = since;
            segment.is_known = true;
        }
    }

    /// When the oldest record arrived, as far as somebody looked.
    pub(super) fn since(&self) -> Option<UnixMillis> {
        let known = self.0.values().take_while(|segment| segment.is_known);
        known.into_iter().find_map(|segment| segment.since)
    }

    /// Bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.end() - self.0.first_key_value().map_or(self.end(), |(_, s)| s.base)
    }

    /// Bytes before `position`, counted as `base` is.
    pub(super) fn distance(&self, position: Position) -> u64 {
        match self.0.get(&position.segment) {
            Some(segment) => segment.base + position.offset.min(segment.len),
            None => self
                .after(position.segment)
                .map_or_else(|| self.end(), |(_, next)| next.base),
        }
    }

    /// Whether no byte of a record follows `position` in its segment.
    pub(super) fn at_end(&self, position: Position) -> bool {
        self.0
            .get(&position.segment)
            .is_none_or(|segment| position.offset >= segment.len)
    }

    /// `position`, or the beginning of the next segment if nothing follows it
    /// in its own.
    pub(super) fn settle(&self, position: Position) -> Position {
        match self.after(position.segment) {
            Some((next, _)) if self.at_end(position) => Position {
                sequence: next.max(position.sequence),
                events: position.events,
                ..Position::start_of(next)
            },
            _ => position,
        }
    }

    fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, s)| s.base + s.len)
    }
}

/// Name of the lock file in a journal's folder.
pub(super) const LOCK: &str = "lock";
/// Name of the cursor file in a queue's folder.
pub(super) const CURSOR: &str = "cursor";
/// Name of the file that keeps room for the cursor.
pub(super) const CURSOR_RESERVE: &str = "cursor.reserve";
/// Name of the folder for what was set aside, in a queue's folder.
pub(super) const QUARANTINE: &str = "quarantine";
const SEGMENT_SUFFIX: &str = ".seg";
const DIGITS: usize = 20;

/// The file of the segment that begins with `first`.
pub(super) fn segment_path(queue_dir: &Path, first: u64) -> PathBuf {
    queue_dir.join(format!("{first:0DIGITS$}{SEGMENT_SUFFIX}"))
}

/// The first sequence of the segment in the file `name`, if it is one.
pub(super) fn segment_first(name: &str) -> Option<u64> {
    sequence(name.strip_suffix(SEGMENT_SUFFIX)?)
}

/// Name of a file of set-aside bytes that held the sequences `from` to `to`.
pub(super) fn quarantine_name(from: u64, to: u64, kind: &str) -> String {
    format!("{from:0DIGITS$}-{to:0DIGITS$}.{kind}")
}

/// The first and last sequence in a file of set-aside bytes.
pub(super) fn quarantine_range(name: &str) -> Option<(u64, u64)> {
    let (first, rest) = name.split_once('-')?;
    let (last, _) = rest.split_once('.')?;
    Some((sequence(first)?, sequence(last)?))
}

fn sequence(digits: &str) -> Option<u64> {
    let whole = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
    whole.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_named_by_its_first_sequence() {
        let path = segment_path(Path::new("q"), 42);
        assert_eq!(path, Path::new("q/00000000000000000042.seg"));
        assert_eq!(segment_first("00000000000000000042.seg"), Some(42));
        assert_eq!(segment_first("42.seg"), None);
        assert_eq!(segment_first("+0000000000000000042.seg"), None);
        assert_eq!(segment_first("cursor"), None);
    }

    #[test]
    fn what_was_set_aside_tells_its_sequences() {
        let name = quarantine_name(7, 9, "torn");
        assert_eq!(quarantine_range(&name), Some((7, 9)));
        assert_eq!(quarantine_range("cursor"), None);
    }

    #[test]
    fn distances_count_bytes_across_segments_and_gaps() {
        let mut segments = Segments::default();
        segments.push(1, 100);
        segments.push(5, 50);
        let at = |segment, offset| Position {
            segment,
            offset,
            ..Position::default()
        };
        assert_eq!(segments.distance(at(1, 40)), 40);
        assert_eq!(segments.distance(at(1, 900)), 100);
        assert_eq!(segments.distance(at(3, 0)), 100);
        assert_eq!(segments.distance(at(5, 20)), 120);
        assert_eq!(segments.distance(at(9, 0)), 150);
    }
}
