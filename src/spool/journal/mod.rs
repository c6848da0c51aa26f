//! The embedded spool. (To be written.)

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use super::{AppendError, Appended, LeaseError, QueueStats, SettleError};
use crate::batch::{Batch, QueueName};
use crate::record::Header;

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

/// How the journal works; from the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// The gateway's `data_dir`.
    pub data_dir: PathBuf,
    /// When an append is answered.
    pub sync: Sync,
    /// Length of a segment, in bytes.
    pub segment_bytes: u64,
    /// Appends stop when the disk has less left, in bytes.
    pub min_free_bytes: u64,
    /// Most bytes of waiting batches, all queues together.
    pub max_bytes: u64,
    /// Most bytes of payload in appends that are in flight.
    pub max_in_flight_bytes: usize,
    /// How long settled batches are kept, for replay; zero: not at all.
    pub retention: Duration,
    /// The queues, each with the most bytes of waiting batches it may hold.
    pub queues: Vec<(QueueName, u64)>,
}

/// Why a journal does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// To be refined.
    #[error("{0}")]
    Other(String),
}

/// The embedded spool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {}

impl Journal {
    /// Opens or makes the journal in `options.data_dir`, repairing what a crash
    /// left; blocks while it reads.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let _ = options;
        todo!("helper: journal")
    }

    pub(super) async fn permit(
        &self,
        queue: &QueueName,
        bytes: usize,
        patience: Option<Duration>,
    ) -> Result<super::Permit, AppendError> {
        let _ = (queue, bytes, patience);
        todo!("helper: journal")
    }

    pub(super) async fn lease(&self, queue: &QueueName) -> Result<super::Lease, LeaseError> {
        let _ = queue;
        todo!("helper: journal")
    }

    pub(super) fn stats(&self) -> Vec<QueueStats> {
        todo!("helper: journal")
    }

    pub(super) async fn close(&self) {
        todo!("helper: journal")
    }
}

/// Room for one append.
#[derive(Debug)]
pub(super) struct Permit {}

impl Permit {
    pub(super) async fn append(self, batch: Batch) -> Result<Appended, AppendError> {
        let _ = batch;
        todo!("helper: journal")
    }
}

/// A batch held for sending.
#[derive(Debug)]
pub(super) struct Lease {}

impl Lease {
    pub(super) fn header(&self) -> &Header {
        todo!("helper: journal")
    }

    pub(super) async fn payload(&self) -> Result<Bytes, LeaseError> {
        todo!("helper: journal")
    }

    pub(super) fn attempts(&self) -> u32 {
        todo!("helper: journal")
    }

    pub(super) fn ack(self, dead_letters: u32) -> Result<(), SettleError> {
        let _ = dead_letters;
        todo!("helper: journal")
    }

    pub(super) fn requeue(self, unknown_outcome: bool) -> Result<(), SettleError> {
        let _ = unknown_outcome;
        todo!("helper: journal")
    }
}
