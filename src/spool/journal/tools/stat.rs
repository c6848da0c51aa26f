//! `journal stat`: what a journal holds, without reading it all.

use std::path::Path;

use serde::Serialize;

use super::super::files::OsFiles;
use super::super::options::OpenError;
use super::super::recover::Survey;
use super::{ToolError, open};
use crate::batch::QueueName;
use crate::ledger::Ledger;

/// What a queue holds, as the next start would find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueStat {
    /// The queue.
    pub queue: QueueName,
    /// Its books.
    pub ledger: Ledger,
    /// Events that wait; what was leased waits again.
    pub waiting_events: u64,
    /// Number of segments.
    pub segments: usize,
    /// Their length, in bytes.
    pub stored_bytes: u64,
    /// The sequence the next record gets.
    pub next_sequence: u64,
    /// Records found damaged so far.
    pub quarantined_records: u64,
}

/// What each queue of the journal in `dir` holds. Reads what a start reads.
pub fn stat(dir: &Path) -> Result<Vec<QueueStat>, ToolError> {
    let (_lock, queues) = open(dir)?;
    let mut stats = Vec::new();
    for (queue, queue_dir) in queues {
        stats.push(stat_queue(queue, &queue_dir)?);
    }
    Ok(stats)
}

fn stat_queue(queue: QueueName, queue_dir: &Path) -> Result<QueueStat, OpenError> {
    let survey = Survey::new(&OsFiles, queue_dir)?;
    let cursor = survey.cursor(&OsFiles, queue_dir)?;
    Ok(QueueStat {
        queue,
        ledger: cursor.ledger,
        waiting_events: cursor.unsettled_events(),
        segments: survey.stored.len(),
        stored_bytes: survey.stored.iter().map(|(_, len)| len).sum(),
        next_sequence: cursor.tail.sequence,
        quarantined_records: cursor.quarantined_records,
    })
}
