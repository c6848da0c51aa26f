//! Reads every record of a queue, oldest first, and the bad bytes between them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::super::files::OsFiles;
use super::super::layout::Position;
use super::super::options::OpenError;
use super::super::reader::{Loaded, Reader, Step};
use super::super::recover::unreadable;

/// Reads the segments of a queue one after the other.
#[derive(Debug)]
pub(super) struct Walk {
    queue_dir: PathBuf,
    stored: VecDeque<(u64, u64)>,
    at: Position,
    reader: Option<Reader>,
}

/// What comes next in the log.
#[derive(Debug)]
pub(super) enum Found {
    /// Good records, without a gap between their bytes.
    Records(Vec<Loaded>),
    /// Bytes that are no good record.
    Bad(Bad),
}

/// Bytes of a segment that are no good record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bad {
    /// Where they begin.
    pub from: Position,
    /// Where they end, in the same segment.
    pub end: u64,
}

impl Walk {
    /// `stored`: first sequences and lengths, ascending.
    pub(super) fn new(queue_dir: &Path, stored: &[(u64, u64)]) -> Self {
        Self {
            queue_dir: queue_dir.to_owned(),
            stored: stored.iter().copied().collect(),
            at: Position::default(),
            reader: None,
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Found>, OpenError> {
        loop {
            let reader = match &self.reader {
                Some(reader) if self.at.offset < reader.len() => reader,
                _ => match self.next_segment()? {
                    true => continue,
                    false => return Ok(None),
                },
            };
            let from = self.at;
            return match reader.step(from).map_err(unreadable)? {
                Step::Records(records) => {
                    self.at = records.last().map_or(from, Loaded::end);
                    Ok(Some(Found::Records(records)))
                }
                Step::Bad { to } => {
                    self.at = to;
                    let end = to.offset;
                    Ok(Some(Found::Bad(Bad { from, end })))
                }
            };
        }
    }

    fn next_segment(&mut self) -> Result<bool, OpenError> {
        let Some((first, len)) = self.stored.pop_front() else {
            return Ok(false);
        };
        let reader = Reader::open(&OsFiles, &self.queue_dir, first, len);
        self.reader = Some(reader.map_err(unreadable)?);
        self.at = Position {
            sequence: self.at.sequence.max(first),
            events: self.at.events,
            ..Position::start_of(first)
        };
        Ok(true)
    }
}
