//! `journal repair`: does what the next start would do, and sets aside the
//! damage in all segments at once instead of when reading comes to it.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::files::{Files, OsFiles, write_all_at};
use super::super::layout::{QUARANTINE, quarantine_name};
use super::super::options::OpenError;
use super::super::quarantine::{Kind, set_aside};
use super::super::recover::{Survey, not_set_aside, recover};
use super::check::{Problem, problem};
use super::gaps::{Gap, find_gaps, open_segment};
use super::{ToolError, open};
use crate::batch::QueueName;

/// What [`repair`] did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// The journal's folder.
    pub dir: PathBuf,
    /// Its queues, by name.
    pub queues: Vec<QueueRepair>,
}

/// What [`repair`] did with a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueRepair {
    /// The queue.
    pub queue: QueueName,
    /// The cursor was made anew from the segments: all that is stored will be
    /// sent again.
    pub cursor_rebuilt: bool,
    /// What was set aside. A torn end was also cut off; damage stays in its
    /// segment, and the ledger counts it when reading comes to it.
    pub set_aside: Vec<Problem>,
    /// Events that wait or were leased, damage included.
    pub unsettled_events: u64,
}

/// Repairs the journal in `dir`. Blocks. Doing it twice does no more than doing
/// it once.
pub fn repair(dir: &Path) -> Result<Repair, ToolError> {
    let (_lock, queues) = open(dir)?;
    let mut repaired = Vec::new();
    for (queue, queue_dir) in queues {
        repaired.push(repair_queue(queue, &queue_dir)?);
    }
    Ok(Repair {
        dir: dir.to_owned(),
        queues: repaired,
    })
}

fn repair_queue(queue: QueueName, queue_dir: &Path) -> Result<QueueRepair, OpenError> {
    let survey = Survey::new(&OsFiles, queue_dir)?;
    let cursor_rebuilt = survey.known.is_none() && !survey.stored.is_empty();
    let mut done = Vec::new();
    for gap in find_gaps(queue_dir, &survey, |_| ())? {
        let problem = problem(queue_dir, &gap)?;
        if problem.set_aside {
            continue;
        }
        // A torn end is set aside where it is cut.
        if !gap.torn {
            set_gap_aside(queue_dir, &survey, &gap)?;
        }
        done.push(problem);
    }
    let found = recover(&OsFiles, queue_dir)?;
    found
        .cursor
        .write(&OsFiles, queue_dir)
        .map_err(OpenError::io("write the cursor in", queue_dir))?;
    Ok(QueueRepair {
        queue,
        cursor_rebuilt,
        set_aside: done,
        unsettled_events: found.cursor.unsettled_events(),
    })
}

fn set_gap_aside(queue_dir: &Path, survey: &Survey, gap: &Gap) -> Result<(), OpenError> {
    let mut copies = 0;
    for bad in &gap.bad {
        let reader = open_segment(queue_dir, survey, bad.from.segment)?;
        let range = bad.from.offset..bad.end;
        let from = bad.from.sequence.max(gap.at.sequence);
        let to = gap.last_sequence.max(from);
        let copy = set_aside(
            &OsFiles,
            queue_dir,
            &reader,
            range,
            (from, to),
            Kind::Damaged,
        );
        copies += usize::from(copy.map_err(not_set_aside)?.is_some());
    }
    if copies == 0 {
        note_loss(queue_dir, gap).map_err(OpenError::io("write to", queue_dir))?;
    }
    Ok(())
}

/// Nothing is left to copy: a note in its place, so that the loss is known.
fn note_loss(queue_dir: &Path, gap: &Gap) -> io::Result<()> {
    let dir = queue_dir.join(QUARANTINE);
    OsFiles.create_dir(&dir)?;
    let name = quarantine_name(gap.at.sequence, gap.last_sequence, "lost");
    let note = format!("{} events; no bytes were left\n", gap.events);
    let file = OsFiles.create(&dir.join(name))?;
    write_all_at(&*file, &mut [IoSlice::new(note.as_bytes())], 0)?;
    file.sync_data()?;
    OsFiles.sync_dir(&dir)
}
