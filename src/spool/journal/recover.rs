//! Start-up: finds out what a queue holds, and repairs what a crash left.
//!
//! Only what comes after the cursor's last known good end is read. Bad bytes
//! there are one of two things:
//!
//! - A good record comes after them: they are *damage*. They stay, are counted,
//!   and are set aside when reading comes to them.
//! - None does: they are *torn*, the rest of a write that was never answered.
//!   The log is cut there; what was cut goes into the quarantine unless it is all
//!   zeros, which is only allocated room.
//!
//! So no good record is ever cut off. Of the last round before a power cut that
//! may be too much: some of its blocks can be on the disk without it having been
//! answered. But an answered round that lost a block looks the same, and its
//! records are owed.
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

/// Recovers a queue: see the module. The caller holds the journal's lock.
pub(super) fn recover(files: &dyn Files, queue_dir: &Path) -> Result<Recovered, OpenError> {
    let survey = Survey::new(files, queue_dir)?;
    if survey.cursor_is_damaged {
        keep_damaged_cursor(files, queue_dir)?;
    }
    if survey.known.is_none() && !survey.stored.is_empty() {
        tracing::error!(
            dir = %queue_dir.display(),
            "the queue has no cursor that can be read; all that is stored is sent again"
        );
    }
    for &first in &survey.empty {
        remove_segment(files, queue_dir, first)?;
    }
    cut(files, queue_dir, &survey)?;

    let mut segments = Segments::default();
    let kept = survey.kept().filter(|(_, _, kept)| *kept > 0);
    kept.for_each(|(first, _, kept)| segments.push(first, kept));
    let cursor = survey.cursor(files, queue_dir)?;
    let waiting_since = first_waiting(files, queue_dir, &segments, &cursor)?;
    Ok(Recovered {
        segments,
        cursor,
        waiting_since,
    })
}

/// What a queue's folder holds. Looking changes nothing.
#[derive(Debug)]
pub(super) struct Survey {
    /// The cursor file, if it is good.
    pub known: Option<Cursor>,
    pub cursor_is_damaged: bool,
    /// First sequences and lengths of the files, ascending.
    pub stored: Vec<(u64, u64)>,
    /// Files without a byte, which a crash leaves between creation and first
    /// write.
    empty: Vec<u64>,
    scan: Scan,
}

impl Survey {
    pub(super) fn new(files: &dyn Files, queue_dir: &Path) -> Result<Self, OpenError> {
        let (stored, empty) = list_segments(files, queue_dir)?;
        let found = Cursor::read(files, queue_dir)?;
        let cursor_is_damaged = matches!(found, Found::Damaged);
        let known = match found {
            Found::Whole(cursor) => Some(cursor),
            Found::Missing | Found::Damaged => None,
        };
        let mut scan = Scan::new(known.as_ref(), &stored);
        for &(first, len) in &stored {
            scan.segment(files, queue_dir, first, len)?;
        }
        Ok(Self {
            known,
            cursor_is_damaged,
            stored,
            empty,
            scan,
        })
    }

    /// Where the log has to be cut.
    pub(super) fn torn_from(&self) -> Option<Position> {
        self.scan.torn
    }

    /// First sequence and length of each file, and how much of it stays.
    fn kept(&self) -> impl DoubleEndedIterator<Item = (u64, u64, u64)> + '_ {
        let cut = self.torn_from();
        self.stored.iter().map(move |&(first, len)| {
            let kept = match cut {
                Some(cut) if first > cut.segment => 0,
                Some(cut) if first == cut.segment => cut.offset,
                _ => len,
            };
            (first, len, kept)
        })
    }

    /// Where the queue stands once the log is cut.
    pub(super) fn cursor(&self, files: &dyn Files, queue_dir: &Path) -> Result<Cursor, OpenError> {
        let set_aside = highest_sequence(files, queue_dir)
            .map_err(OpenError::io("list", &queue_dir.join(QUARANTINE)))?;
        let known = self.known.clone();
        let before = known.as_ref().map_or(1, |cursor| cursor.tail.sequence);
        let mut tail = self.torn_from().unwrap_or(self.scan.tail);
        tail.sequence = tail.sequence.max(before).max(set_aside + 1);
        let cursor = match known {
            Some(cursor) => resume(cursor, tail, &self.scan.came),
            None => rebuild(self.scan.start, tail, &self.scan.came),
        };
        Ok(Cursor {
            last_accepted: cursor.last_accepted.max(self.scan.last_accepted),
            ..cursor
        })
    }
}

/// The books of `cursor`, with what the log got after it.
fn resume(cursor: Cursor, tail: Position, came: &Ledger) -> Cursor {
    let events = tail.events.saturating_sub(cursor.tail.events);
    Cursor {
        ledger: cursor.ledger.plus(&arrivals(events, came)),
        tail,
        ..cursor
    }
}

/// Books without a cursor: what was deleted had been settled, the rest waits.
fn rebuild(start: Position, tail: Position, came: &Ledger) -> Cursor {
    let ledger = Ledger {
        confirmed: start.events,
        ..arrivals(tail.events, came)
    };
    Cursor::new(start, tail, ledger)
}

/// How `events` came, of which `came` tells as far as their records are good; the others
/// count as accepted.
fn arrivals(events: u64, came: &Ledger) -> Ledger {
    let others = came.returned + came.replayed;
    Ledger {
        accepted: events.saturating_sub(others),
        ..*came
    }
}

type Stored = Vec<(u64, u64)>;

/// First sequences and lengths of the segments, ascending, and apart from them
/// those without a byte.
fn list_segments(files: &dyn Files, queue_dir: &Path) -> Result<(Stored, Vec<u64>), OpenError> {
    let entries = files
        .list(queue_dir)
        .map_err(OpenError::io("list", queue_dir))?;
    let (mut stored, mut empty) = (Vec::new(), Vec::new());
    for entry in entries {
        match segment_first(&entry.name) {
            Some(first) if entry.len == 0 => empty.push(first),
            Some(first) => stored.push((first, entry.len)),
            None => {}
        }
    }
    stored.sort_unstable();
    Ok((stored, empty))
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
#[derive(Debug)]
struct Scan {
    /// Where reading began.
    start: Position,
    /// After the last good record.
    tail: Position,
    /// Where bad bytes begin that no good record follows.
    torn: Option<Position>,
    /// Highest sequence seen, also in what will be cut.
    highest: u64,
    /// How the events of the good records came.
    came: Ledger,
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
            torn: None,
            highest: 0,
            came: Ledger::default(),
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
                    self.torn.get_or_insert(at);
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
        }
        self.torn = None;
        self.tail = record.end();
        self.highest = self.highest.max(place.sequence);
        let (origin, events) = (record.header.origin, record.header.events);
        self.came.came(origin, u64::from(events));
        let arrived_at = record.header.arrived_at().unwrap_or_default();
        self.last_accepted = self.last_accepted.max(arrived_at);
    }
}

/// Cuts the log after its last good record.
fn cut(files: &dyn Files, queue_dir: &Path, survey: &Survey) -> Result<(), OpenError> {
    let Some(torn) = survey.torn_from() else {
        return Ok(());
    };
    // The last segment first: after a crash in between, the gap is still there
    // to tell that what follows it goes too.
    for (first, len, kept) in survey.kept().rev().filter(|(_, len, kept)| kept < len) {
        let from = torn.sequence.max(first);
        let to = survey.scan.highest.max(from);
        let reader = Reader::open(files, queue_dir, first, len).map_err(unreadable)?;
        cut_segment(files, queue_dir, &reader, first, kept, (from, to))?;
    }
    files
        .sync_dir(queue_dir)
        .map_err(OpenError::io("sync", queue_dir))
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

/// When the first record that waits arrived, or one shortly after it.
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
    let arrived_at = reader.first_arrival(head).map_err(unreadable)?;
    Ok(arrived_at.unwrap_or(cursor.last_accepted))
}

pub(super) fn unreadable(error: ReadError) -> OpenError {
    match error {
        ReadError::Io { path, source } => OpenError::io("read", &path)(source),
        ReadError::Version { path, version } => OpenError::Version {
            path,
            version: u64::from(version),
            known: u64::from(crate::record::VERSION),
        },
    }
}

pub(super) fn not_set_aside(error: AsideError) -> OpenError {
    match error {
        AsideError::Read(error) => unreadable(error),
        AsideError::Write { path, source } => OpenError::io("write", &path)(source),
    }
}
