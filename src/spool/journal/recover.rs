//! Start-up: finds out what a queue holds, and repairs what a crash left.
//!
//! Only what comes after the cursor's last known good end is read. Bad bytes
//! there are one of two things:
//!
//! - A later good record says that they were durable (`durable_through`): they
//!   are *damage*. They stay, are counted, and are set aside when reading comes
//!   to them.
//! - No good record says so: they are *torn*, the rest of a write that was never
//!   answered. The log is cut there; what was cut goes into the quarantine
//!   unless it is all zeros, which is only allocated room.
//!
//! Without a cursor everything stored is read, and counts as unsettled: it is
//! sent again rather than lost.

use std::path::Path;

use super::cursor::{Cursor, Found};
use super::files::Files;
use super::layout::{CURSOR, Position, QUARANTINE, Segments, segment_first, segment_path};
use super::options::OpenError;
use super::quarantine::{AsideError, Kind, highest_sequence, remove_if_there, set_aside};
use super::reader::{Loaded, ReadError, Reader, Step};
use super::state::Recovered;
use crate::batch::UnixMillis;
use crate::ledger::Ledger;

/// See the module. The caller holds the journal's lock.
pub(super) fn recover(files: &dyn Files, queue_dir: &Path) -> Result<Recovered, OpenError> {
    let stored = list_segments(files, queue_dir)?;
    let found = Cursor::read(files, queue_dir)?;
    let known = match found {
        Found::Whole(cursor) => Some(cursor),
        Found::Missing => None,
        Found::Damaged => {
            keep_damaged_cursor(files, queue_dir)?;
            None
        }
    };
    if known.is_none() && !stored.is_empty() {
        tracing::error!(
            dir = %queue_dir.display(),
            "the queue has no cursor that can be read; all that is stored is sent again"
        );
    }
    let mut scan = Scan::new(known.as_ref(), &stored);
    for &(first, len) in &stored {
        scan.segment(files, queue_dir, first, len)?;
    }
    let kept = scan.cut(files, queue_dir, &stored)?;

    let set_aside = highest_sequence(files, queue_dir)
        .map_err(OpenError::io("list", &queue_dir.join(QUARANTINE)))?;
    let before = known.as_ref().map_or(1, |cursor| cursor.tail.sequence);
    let mut tail = scan.tail;
    tail.sequence = tail.sequence.max(before).max(set_aside + 1);

    let cursor = match known {
        Some(cursor) => resume(cursor, tail),
        None => rebuild(scan.start, tail),
    };
    let cursor = Cursor {
        last_accepted: cursor.last_accepted.max(scan.last_accepted),
        ..cursor
    };
    let mut segments = Segments::default();
    kept.iter()
        .for_each(|&(first, len)| segments.push(first, len));
    let waiting_since = first_waiting(files, queue_dir, &segments, &cursor)?;
    Ok(Recovered {
        segments,
        cursor,
        waiting_since,
    })
}

/// The books of `cursor`, with what the log got after it.
fn resume(cursor: Cursor, tail: Position) -> Cursor {
    let mut ledger = cursor.ledger;
    ledger.accepted += tail.events.saturating_sub(cursor.tail.events);
    Cursor {
        ledger,
        tail,
        ..cursor
    }
}

/// Books without a cursor: what was deleted had been settled, the rest waits.
fn rebuild(start: Position, tail: Position) -> Cursor {
    let ledger = Ledger {
        accepted: tail.events,
        confirmed: start.events,
        ..Ledger::default()
    };
    Cursor::new(start, tail, ledger)
}

/// First sequences and lengths, ascending. Empty files, which a crash leaves
/// between creation and first write, are removed.
fn list_segments(files: &dyn Files, queue_dir: &Path) -> Result<Vec<(u64, u64)>, OpenError> {
    let entries = files
        .list(queue_dir)
        .map_err(OpenError::io("list", queue_dir))?;
    let mut stored = Vec::new();
    for entry in entries {
        match segment_first(&entry.name) {
            Some(first) if entry.len == 0 => remove_segment(files, queue_dir, first)?,
            Some(first) => stored.push((first, entry.len)),
            None => {}
        }
    }
    stored.sort_unstable();
    Ok(stored)
}

fn remove_segment(files: &dyn Files, queue_dir: &Path, first: u64) -> Result<(), OpenError> {
    let path = segment_path(queue_dir, first);
    remove_if_there(files, &path).map_err(OpenError::io("remove", &path))
}

fn keep_damaged_cursor(files: &dyn Files, queue_dir: &Path) -> Result<(), OpenError> {
    let dir = queue_dir.join(QUARANTINE);
    files
        .create_dir(&dir)
        .map_err(OpenError::io("create", &dir))?;
    let path = queue_dir.join(CURSOR);
    files
        .rename(&path, &dir.join(CURSOR))
        .map_err(OpenError::io("rename", &path))
}

/// Reads the log on from the last known good end.
struct Scan {
    /// Where reading began.
    start: Position,
    /// After the last good record.
    tail: Position,
    /// Bad places that no later record vouches for, and what was lost there.
    gaps: Vec<Position>,
    /// Highest sequence seen, also in what will be cut.
    highest: u64,
    last_accepted: UnixMillis,
    /// Without a cursor: the first good record tells the events before it.
    start_is_guess: bool,
}

impl Scan {
    fn new(known: Option<&Cursor>, stored: &[(u64, u64)]) -> Self {
        let first = stored.first().map_or(1, |(first, _)| *first);
        let start = known.map_or(Position::start_of(first), |cursor| cursor.tail);
        Self {
            start,
            tail: start,
            gaps: Vec::new(),
            highest: 0,
            last_accepted: UnixMillis::default(),
            start_is_guess: known.is_none() && first > 1,
        }
    }

    fn segment(
        &mut self,
        files: &dyn Files,
        queue_dir: &Path,
        first: u64,
        len: u64,
    ) -> Result<(), OpenError> {
        if first < self.start.segment {
            return Ok(());
        }
        let mut at = self.tail;
        if first != self.start.segment || at.segment != first {
            at = Position {
                sequence: at.sequence.max(first),
                events: at.events,
                ..Position::start_of(first)
            };
        }
        let reader = Reader::open(files, queue_dir, first, len).map_err(unreadable)?;
        while at.offset < len {
            match reader.step(at).map_err(unreadable)? {
                Step::Records(records) => {
                    records.iter().for_each(|record| self.good(record));
                    at = self.tail;
                }
                Step::Bad { to } => {
                    self.gaps.push(at);
                    self.highest = self.highest.max(to.sequence.saturating_sub(1));
                    at = to;
                }
            }
        }
        Ok(())
    }

    fn good(&mut self, record: &Loaded) {
        let place = record.header.place;
        if std::mem::take(&mut self.start_is_guess) {
            self.start.events = place.events_before;
            let guessed = self.gaps.iter_mut();
            guessed.for_each(|gap| gap.events = place.events_before);
        }
        // A gap is none if the very record that was expected in it comes after.
        self.gaps
            .retain(|gap| gap.sequence > place.durable_through && gap.sequence != place.sequence);
        self.tail = record.end();
        self.highest = self.highest.max(place.sequence);
        self.last_accepted = self.last_accepted.max(record.header.accepted_at);
    }

    /// Cuts the log at the first gap that nobody vouched for. Returns what is
    /// left of the segments.
    fn cut(
        &mut self,
        files: &dyn Files,
        queue_dir: &Path,
        stored: &[(u64, u64)],
    ) -> Result<Vec<(u64, u64)>, OpenError> {
        let Some(&cut) = self.gaps.first() else {
            return Ok(stored.to_vec());
        };
        let mut kept = Vec::new();
        for &(first, len) in stored {
            let offset = match first.cmp(&cut.segment) {
                std::cmp::Ordering::Less => len,
                std::cmp::Ordering::Equal => cut.offset,
                std::cmp::Ordering::Greater => 0,
            };
            if offset < len {
                let from = cut.sequence.max(first);
                let to = self.highest.max(from);
                let reader = Reader::open(files, queue_dir, first, len).map_err(unreadable)?;
                cut_segment(files, queue_dir, &reader, first, offset, (from, to))?;
            }
            if offset > 0 {
                kept.push((first, offset));
            }
        }
        files
            .sync_dir(queue_dir)
            .map_err(OpenError::io("sync", queue_dir))?;
        self.tail = cut;
        Ok(kept)
    }
}

/// Sets aside what a segment holds from `offset` on, then cuts it there.
fn cut_segment(
    files: &dyn Files,
    queue_dir: &Path,
    reader: &Reader,
    first: u64,
    offset: u64,
    sequences: (u64, u64),
) -> Result<(), OpenError> {
    let range = offset..reader.len();
    let copy = set_aside(files, queue_dir, reader, range, sequences, Kind::Torn);
    if let Some(copy) = copy.map_err(not_set_aside)? {
        tracing::warn!(
            segment = %reader.path().display(), offset, copy = %copy.display(),
            "the log ended in a write that was never answered; cut there"
        );
    }
    if offset == 0 {
        return remove_segment(files, queue_dir, first);
    }
    let path = reader.path();
    let file = files.open(path).map_err(OpenError::io("open", path))?;
    file.set_len(offset).map_err(OpenError::io("cut", path))?;
    file.sync_data().map_err(OpenError::io("sync", path))
}

/// Acceptance time of the first record that waits, or of one shortly after it.
fn first_waiting(
    files: &dyn Files,
    queue_dir: &Path,
    segments: &Segments,
    cursor: &Cursor,
) -> Result<UnixMillis, OpenError> {
    let head = segments.settle(cursor.head);
    let segment = segments.get(head.segment);
    let Some(segment) = segment.filter(|_| !segments.at_end(head)) else {
        return Ok(cursor.last_accepted);
    };
    let reader = Reader::open(files, queue_dir, head.segment, segment.len).map_err(unreadable)?;
    let header = reader.first_header(head).map_err(unreadable)?;
    Ok(header.map_or(cursor.last_accepted, |header| header.accepted_at))
}

fn unreadable(error: ReadError) -> OpenError {
    match error {
        ReadError::Io { path, source } => OpenError::io("read", &path)(source),
        ReadError::Version { path, version } => OpenError::Version {
            path,
            version: u64::from(version),
            known: u64::from(crate::record::VERSION),
        },
    }
}

fn not_set_aside(error: AsideError) -> OpenError {
    match error {
        AsideError::Read(error) => unreadable(error),
        AsideError::Write { path, source } => OpenError::io("write", &path)(source),
    }
}
