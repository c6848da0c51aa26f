//! What becomes of a batch.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Batch;
use crate::proto::{self, RejectReason};

/// A batch's end: it is durable at the gateway, or it is given back.
pub type Outcome = Result<Receipt, Failed>;

/// The gateway has made the batch durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The batch as it was sent.
    pub batch: Batch,
    /// How many of its events were accepted.
    pub accepted: u32,
    /// The events that were not, in the order of their index. Sending them
    /// again without a change is of no use.
    pub rejected: Vec<Rejected>,
}

/// An event that the gateway did not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// 0-based position in the batch; see [`Batch::event`].
    pub index: u32,
    /// The class of what is wrong with it; `Unspecified` when the gateway is
    /// newer than this client and has a class of its own.
    pub reason: RejectReason,
    /// What is wrong with it, in words.
    pub detail: String,
    /// Whether the gateway keeps it as a dead letter. If not, the caller holds
    /// the only copy.
    pub kept: bool,
}

impl From<proto::RejectedEvent> for Rejected {
    fn from(event: proto::RejectedEvent) -> Self {
        Self {
            index: event.index,
            reason: event.reason(),
            detail: event.detail,
            kept: event.kept,
        }
    }
}

/// A batch that is not known to be durable, given back to the caller.
///
/// Sent again as it is, it keeps its id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    /// The batch as it was sent.
    pub batch: Batch,
    /// Why.
    pub error: SendError,
}

impl Failed {
    pub(super) fn runtime_ended() -> Self {
        Self {
            batch: Batch::new(""),
            error: SendError::RuntimeEnded,
        }
    }
}

/// Why a batch was given back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The gateway refused it for good; none of it was stored.
    #[error("refused by the gateway ({code:?}): {message}")]
    Refused {
        /// The gRPC status.
        code: tonic::Code,
        /// What the gateway says is wrong.
        message: String,
    },
    /// No answer in the time the caller set. It may have been stored all the
    /// same: send the very same [`Batch`] again, and its events keep their ids.
    #[error("no answer within {}: {last}", humantime::format_duration(*.patience))]
    GaveUp {
        /// [`Builder::give_up_after`](super::Builder::give_up_after).
        patience: Duration,
        /// What went wrong last.
        last: String,
    },
    /// The client was closed before the batch could be sent.
    #[error("the client was closed before the batch was sent")]
    Closed,
    /// The runtime shut down and took the batch with it, which is why
    /// [`Failed::batch`] is empty here.
    #[error("the runtime was shut down before the batch was answered")]
    RuntimeEnded,
}

/// The client was closed: the batch was not sent, here it is again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the client was closed")]
pub struct Closed(pub Batch);

/// The sums over a client's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Batches that were made durable.
    pub batches: u64,
    /// Events that were accepted.
    pub accepted: u64,
    /// Events that were rejected, each told in its batch's [`Receipt`].
    pub rejected: u64,
    /// Events of batches that were given back.
    pub failed: u64,
    /// How often a batch was sent again.
    pub resent: u64,
}

impl Report {
    /// Whether every event that was sent has been accepted.
    pub fn all_accepted(&self) -> bool {
        self.rejected == 0 && self.failed == 0
    }

    pub(super) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Ok(receipt) => {
                self.batches += 1;
                self.accepted += u64::from(receipt.accepted);
                self.rejected += receipt.rejected.len() as u64;
            }
            Err(failed) => self.failed += u64::from(failed.batch.events()),
        }
    }
}

/// Who wants to know.
pub(super) enum Reply {
    Answer(oneshot::Sender<Outcome>),
    Call(Arc<dyn Fn(Outcome) + Send + Sync>),
}

impl Reply {
    pub(super) fn settle(self, outcome: Outcome) {
        match self {
            // Whoever dropped the answer does not want to know.
            Self::Answer(reply) => drop(reply.send(outcome)),
            Self::Call(call) => call(outcome),
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}
