//! How a journal works, and why one does not open.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::batch::QueueName;

/// When an append is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sync {
    /// After `fdatasync`: survives a power cut.
    #[default]
    Batch,
    /// After the write: survives the end of the process, not of the machine.
    Os,
}

/// How a journal works; from the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder that holds the lock file and a folder for each queue.
    pub dir: PathBuf,
    /// When an append is answered.
    pub sync: Sync,
    /// Length of a segment, in bytes.
    pub segment_bytes: u64,
    /// Appends stop when the disk has less left, in bytes.
    pub min_free_bytes: u64,
    /// Most bytes of unsettled batches, all queues together.
    pub max_bytes: u64,
    /// Most bytes of payload in appends that are in flight.
    pub max_in_flight_bytes: usize,
    /// How long settled batches are kept, for replay; zero: not at all.
    pub retention: Duration,
    /// What its metrics call it: its queues' names need not be its own.
    pub store: &'static str,
    /// The queues, each with the most bytes of unsettled batches it may hold.
    pub queues: Vec<(QueueName, u64)>,
}

/// Why a journal does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the journal in {} is in use by another process: stop that one, or give this one a data_dir of its own",
        .dir.display()
    )]
    Locked {
        /// The journal's folder.
        dir: PathBuf,
    },
    /// The file system refused. Nothing was repaired or set aside for it.
    #[error(
        "cannot {doing} {}: {source}; the journal is left as it is: see to the disk or the file's owner, then start again",
        .path.display()
    )]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// A file was written by a release with another format.
    #[error(
        "{} has format version {version}, this release reads version {known}: start the release that wrote it and let it drain, or move the file away",
        .path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version it has.
        version: u64,
        /// The version this release reads.
        known: u64,
    },
    /// Batches wait in a queue that is no longer configured.
    #[error(
        "{events} events wait in {} but there is no queue {queue}: configure [queues.{queue}] until it is drained, or move the folder away",
        .dir.display()
    )]
    Stranded {
        /// The queue that is not configured.
        queue: QueueName,
        /// Its folder.
        dir: PathBuf,
        /// How many events wait.
        events: u64,
    },
}

impl OpenError {
    /// For `map_err`: what was being done, and with what.
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}
