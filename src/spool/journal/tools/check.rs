//! `journal check`: reads every byte, changes nothing.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::files::OsFiles;
use super::super::layout::segment_path;
use super::super::options::OpenError;
use super::super::quarantine::is_set_aside;
use super::super::reader::Loaded;
use super::super::recover::Survey;
use super::gaps::{Gap, find_gaps};
use super::{ToolError, open};
use crate::batch::{QueueName, UnixMillis};

/// What [`check`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The journal's folder.
    pub dir: PathBuf,
    /// Its queues, by name.
    pub queues: Vec<QueueReport>,
}

impl Report {
    /// Whether there is nothing that [`repair`](super::repair()) would do.
    pub fn is_clean(&self) -> bool {
        self.queues.iter().all(QueueReport::is_clean)
    }
}

/// What is stored of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueReport {
    /// The queue.
    pub queue: QueueName,
    /// Its cursor file.
    pub cursor: CursorState,
    /// Number of segments.
    pub segments: usize,
    /// Good records.
    pub records: u64,
    /// Their events.
    pub events: u64,
    /// Their length, in bytes.
    pub bytes: u64,
    /// Acceptance time of the first good record that was not replayed.
    pub oldest: Option<UnixMillis>,
    /// Acceptance time of the last good record that was not replayed.
    pub newest: Option<UnixMillis>,
    /// What is missing, in the order of the log.
    pub problems: Vec<Problem>,
}

/// What a queue has for a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CursorState {
    /// A good one.
    Good,
    /// None. If anything is stored it would be sent again.
    Missing,
    /// One that cannot be read: everything stored would be sent again.
    Damaged,
}

/// Records that are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What happened to them.
    pub kind: ProblemKind,
    /// The segment in which they should begin.
    pub segment: PathBuf,
    /// Where they should begin in it, in bytes.
    pub offset: u64,
    /// How many bytes are in their place, in this segment and others.
    pub bytes: u64,
    /// The first sequence that is missing.
    pub first_sequence: u64,
    /// The last sequence that is missing.
    pub last_sequence: u64,
    /// Events that are missing; 0 if nobody knows how many.
    pub events: u64,
    /// Whether the quarantine has them already.
    pub set_aside: bool,
}

/// What happened to records that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// They were durable once; their bytes are bad, or gone.
    Damaged,
    /// They are the rest of a write that was never answered; the next start cuts
    /// them off.
    Torn,
}

/// Reads every record of every segment of the journal in `dir`. Blocks.
pub fn check(dir: &Path) -> Result<Report, ToolError> {
    let (_lock, queues) = open(dir)?;
    let mut reports = Vec::new();
    for (queue, queue_dir) in queues {
        reports.push(check_queue(queue, &queue_dir)?);
    }
    Ok(Report {
        dir: dir.to_owned(),
        queues: reports,
    })
}

fn check_queue(queue: QueueName, queue_dir: &Path) -> Result<QueueReport, OpenError> {
    let survey = Survey::new(&OsFiles, queue_dir)?;
    let mut report = QueueReport {
        queue,
        cursor: cursor_state(&survey),
        segments: survey.stored.len(),
        records: 0,
        events: 0,
        bytes: 0,
        oldest: None,
        newest: None,
        problems: Vec::new(),
    };
    let gaps = find_gaps(queue_dir, &survey, |record| report.add(record))?;
    for gap in gaps {
        report.problems.push(problem(queue_dir, &gap)?);
    }
    Ok(report)
}

impl QueueReport {
    /// Whether there is nothing that [`repair`](super::repair()) would do.
    pub fn is_clean(&self) -> bool {
        let has_cursor = match self.cursor {
            CursorState::Good => true,
            CursorState::Missing => self.segments == 0,
            CursorState::Damaged => false,
        };
        has_cursor && self.problems.iter().all(|problem| problem.set_aside)
    }

    fn add(&mut self, record: &Loaded) {
        self.records += 1;
        self.events += u64::from(record.header.events);
        self.bytes += record.header.record_len();
        self.newest = record.header.arrived_at().or(self.newest);
        self.oldest = self.oldest.or(self.newest);
    }
}

fn cursor_state(survey: &Survey) -> CursorState {
    match &survey.known {
        Some(_) => CursorState::Good,
        None if survey.cursor_is_damaged => CursorState::Damaged,
        None => CursorState::Missing,
    }
}

pub(super) fn problem(queue_dir: &Path, gap: &Gap) -> Result<Problem, OpenError> {
    let set_aside = is_set_aside(&OsFiles, queue_dir, gap.at.sequence)
        .map_err(OpenError::io("list the quarantine of", queue_dir))?;
    let bytes = gap.bad.iter().map(|bad| bad.end - bad.from.offset).sum();
    Ok(Problem {
        kind: if gap.torn {
            ProblemKind::Torn
        } else {
            ProblemKind::Damaged
        },
        segment: segment_path(queue_dir, gap.at.segment),
        offset: gap.at.offset,
        bytes,
        first_sequence: gap.at.sequence,
        last_sequence: gap.last_sequence,
        events: gap.events,
        set_aside: set_aside && !gap.torn,
    })
}
