//! Finds what is missing between the good records of a log.

use std::path::Path;

use super::super::files::OsFiles;
use super::super::layout::Position;
use super::super::options::OpenError;
use super::super::quarantine::end_of_content;
use super::super::reader::{Loaded, Reader};
use super::super::recover::{Survey, unreadable};
use super::walk::{Bad, Found, Walk};

/// Records that are missing between two good ones, or at an end of the log.
#[derive(Debug)]
pub(super) struct Gap {
    /// Where the first of them should be.
    pub at: Position,
    /// The bytes in their place; empty if there are none.
    pub bad: Vec<Bad>,
    /// The highest sequence that is missing.
    pub last_sequence: u64,
    /// Their events; 0: nobody knows.
    pub events: u64,
    /// Whether they were never answered.
    pub torn: bool,
}

/// Reads the whole log of a queue: calls `good` for each good record, and
/// returns what is missing.
pub(super) fn find_gaps(
    queue_dir: &Path,
    survey: &Survey,
    mut good: impl FnMut(&Loaded),
) -> Result<Vec<Gap>, OpenError> {
    let mut walk = Walk::new(queue_dir, &survey.stored);
    let mut expected = lost_start(survey);
    let mut bad: Vec<Bad> = Vec::new();
    let mut gaps = Vec::new();
    while let Some(found) = walk.next()? {
        let records = match found {
            Found::Bad(more) => {
                bad.push(more);
                continue;
            }
            Found::Records(records) => records,
        };
        for record in &records {
            let bad = std::mem::take(&mut bad);
            gaps.extend(gap(expected, bad, record.start()));
            expected = Some(record.end());
            good(record);
        }
    }
    gaps.extend(last_gap(queue_dir, survey, expected, bad)?);
    let torn_from = survey.torn_from().map_or(u64::MAX, |torn| torn.sequence);
    for gap in &mut gaps {
        gap.torn = gap.at.sequence >= torn_from;
    }
    Ok(gaps)
}

/// What is missing before the good record at `next`. Bad bytes in whose place
/// no record is missing are none: room that was allocated and never used.
fn gap(expected: Option<Position>, bad: Vec<Bad>, next: Position) -> Option<Gap> {
    let at = expected.or(bad.first().map(|bad| bad.from))?;
    let known = expected.is_some() || at.sequence == 1;
    let events = if known {
        next.events.saturating_sub(at.events)
    } else {
        0
    };
    let is_missing = events > 0 || (!bad.is_empty() && next.sequence > at.sequence);
    is_missing.then(|| Gap {
        at,
        bad,
        last_sequence: next.sequence.saturating_sub(1).max(at.sequence),
        events,
        torn: false,
    })
}

/// What is missing after the last good record: what the cursor knows of, else
/// bytes that are not all zeros.
fn last_gap(
    queue_dir: &Path,
    survey: &Survey,
    expected: Option<Position>,
    bad: Vec<Bad>,
) -> Result<Option<Gap>, OpenError> {
    let at = expected.or(bad.first().map(|bad| bad.from));
    let tail = survey.known.as_ref().map(|cursor| cursor.tail);
    let Some(at) = at.or(survey.known.as_ref().map(|cursor| cursor.head)) else {
        return Ok(None);
    };
    let events = tail.map_or(0, |tail| tail.events.saturating_sub(at.events));
    if events == 0 && !has_content(queue_dir, survey, &bad)? {
        return Ok(None);
    }
    let last = tail.map_or(0, |tail| tail.sequence.saturating_sub(1));
    Ok(Some(Gap {
        at,
        bad,
        last_sequence: last.max(at.sequence),
        events,
        torn: false,
    }))
}

fn has_content(queue_dir: &Path, survey: &Survey, bad: &[Bad]) -> Result<bool, OpenError> {
    for bad in bad {
        let reader = open_segment(queue_dir, survey, bad.from.segment)?;
        let content = end_of_content(&reader, bad.from.offset..bad.end);
        if content.map_err(unreadable)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Opens a segment as long as it was when the survey was made.
pub(super) fn open_segment(
    queue_dir: &Path,
    survey: &Survey,
    first: u64,
) -> Result<Reader, OpenError> {
    let len = survey.stored.iter().find(|(f, _)| *f == first);
    let len = len.map_or(0, |(_, len)| *len);
    Reader::open(&OsFiles, queue_dir, first, len).map_err(unreadable)
}

/// Where the log should begin, if the segment with the first unsettled record
/// is gone.
fn lost_start(survey: &Survey) -> Option<Position> {
    let head = survey.known.as_ref()?.head;
    let first = survey.stored.first().map(|(first, _)| *first);
    first
        .is_none_or(|first| head.sequence < first)
        .then_some(head)
}
