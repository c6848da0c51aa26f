//! Offline tools: look at a journal that no gateway has open, and repair it.
//! `stashgate journal check | repair | dump | stat` print what these return.
//!
//! `dir` is the folder that holds the lock file and the queues' folders, as
//! [`Options::dir`](super::Options::dir). All but [`repair`] change nothing.

mod check;
mod dump;
mod gaps;
mod repair;
mod stat;
mod walk;

use std::path::{Path, PathBuf};

pub use check::{CursorState, Problem, ProblemKind, QueueReport, Report, check};
pub use dump::{Dump, Dumped, Filter, dump};
pub use repair::{QueueRepair, Repair, repair};
pub use stat::{QueueStat, stat};

use super::files::{Files, OsFiles};
use super::lock::{self, Lock};
use super::options::OpenError;
use crate::batch::QueueName;

/// Why a tool did not finish.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// There is no journal in the folder.
    #[error(
        "there is no journal in {}: name the folder that holds the queues' folders",
        .0.display()
    )]
    NoJournal(PathBuf),
    /// There is no such queue in the journal.
    #[error("the journal has no queue {0}")]
    NoQueue(QueueName),
    /// It is in use, cannot be read, or is of another version.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Whether a process has the journal in `dir` open.
pub fn is_in_use(dir: &Path) -> bool {
    lock::is_held(dir)
}

/// The queues of the journal in `dir`, with its lock.
fn open(dir: &Path) -> Result<(Lock, Vec<(QueueName, PathBuf)>), ToolError> {
    if !dir.is_dir() {
        return Err(ToolError::NoJournal(dir.to_owned()));
    }
    let lock = Lock::take(dir)?;
    let entries = OsFiles.list(dir).map_err(OpenError::io("list", dir))?;
    let folders = entries.into_iter().filter(|entry| entry.is_dir);
    let mut queues: Vec<_> = folders
        .filter_map(|entry| Some((entry.name.parse().ok()?, dir.join(&entry.name))))
        .collect();
    queues.sort();
    if queues.is_empty() {
        return Err(ToolError::NoJournal(dir.to_owned()));
    }
    Ok((lock, queues))
}
