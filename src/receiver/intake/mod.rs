//! The one way in, shared by all receivers.
//!
//! A batch takes two steps. [`Intake::admit`] gets room for it (the
//! backpressure), then validates it. [`Admitted::store`] appends what passed and
//! keeps what did not, at the same time; it answers when both are settled.
//! Whoever reads a stream of batches admits one after the other and stores many
//! at once, so that the order of the stream is the order of the spool.
//!
//! - Room is asked for before the events are looked at, so that what is being
//!   validated is bounded by `limits.max_in_flight_bytes`.
//! - A batch without events is no error: nothing is stored, and 0 are accepted.
//!   So it is with a batch whose every event was rejected.
//! - A rejected event never fails its batch. It is kept as a dead letter; if
//!   that fails, the answer says so.
//! - A caller that stops waiting after [`Admitted::store`] began does not undo it.
//! - A small block is copied, so that it does not hold the transport's buffer,
//!   which is far larger, for as long as it is in memory.
//!
//! `source` is all that is known of a caller. Whatever else there will be (whose
//! token it was, what it may use) goes the same way, and [`Intake::admit`] is
//! where it is judged.

mod letters;
mod payload;
mod store;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

pub use payload::Payload;
pub use store::{Admitted, Taken};

use super::reply::Refusal;
use crate::batch::{Batch, BatchId, QueueName, UnixMillis};
use crate::dead_letter::{DeadLetters, Source};
use crate::event::{Limits, Reject, RejectReason, Validated};
use crate::log::SharedComplaints;
use crate::metrics;
use crate::spool::{Permit, Spool};

/// How long a batch that cannot be refused still waits for room after the
/// gateway began to stop, and how long any batch waits for the disk.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
/// Blocks up to this length are copied; the transports read so much at a time.
/// 12,000 gRPC calls with an event of three bytes, kept for a forwarder, took
/// 58 MB of memory without that and 5 MB with it.
const COPIED_BYTES: usize = 8 << 10;

/// How long a batch waits for room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// At most so long; then it is refused. Refused at once when the gateway is
    /// stopping.
    AtMost(Duration),
    /// As long as it takes, for there is nobody to refuse it to. When the gateway is
    /// stopping, a full queue does not hold it up, and a full disk a few seconds only.
    UntilRoom,
}

/// The one way in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    spool: Spool,
    letters: DeadLetters,
    limits: ArcSwap<Limits>,
    queues: HashMap<String, QueueName>,
    closing: CancellationToken,
    not_kept: SharedComplaints,
}

impl Intake {
    /// `queues`: those that take batches. Cancelling `closing` stops all
    /// receivers: new batches are refused, what is in hand is finished.
    pub fn new(
        spool: Spool,
        letters: DeadLetters,
        limits: Limits,
        queues: impl IntoIterator<Item = QueueName>,
        closing: CancellationToken,
    ) -> Self {
        let queues = queues
            .into_iter()
            .map(|queue| (queue.to_string(), queue))
            .collect();
        Self(Arc::new(Shared {
            spool,
            letters,
            limits: ArcSwap::from_pointee(limits),
            queues,
            closing,
            not_kept: SharedComplaints::default(),
        }))
    }

    /// What a batch may measure now.
    pub fn limits(&self) -> Limits {
        **self.0.limits.load()
    }

    /// Sets what a batch may measure from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.0.limits.store(Arc::new(limits));
    }

    /// Cancelled when the gateway is stopping.
    pub fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }

    /// Whether a disk operation failed, so that a queue takes nothing more until
    /// the gateway is restarted.
    pub fn is_poisoned(&self) -> bool {
        let queues = self.0.spool.stats();
        queues.iter().any(|queue| queue.poisoned.is_some())
    }

    /// Admits and stores one batch. `queue`: its name; empty for the default.
    /// Without an `id` the batch gets one.
    pub async fn take(
        &self,
        source: Source,
        queue: &str,
        payload: Payload,
        id: Option<BatchId>,
        patience: Patience,
    ) -> Result<Taken, Refusal> {
        let admitted = self.admit(source, queue, payload, id, patience).await?;
        admitted.store().await
    }

    /// Gets room for a batch, then validates it. Nothing is stored yet.
    pub async fn admit(
        &self,
        source: Source,
        queue: &str,
        payload: Payload,
        id: Option<BatchId>,
        patience: Patience,
    ) -> Result<Admitted, Refusal> {
        self.admit_within(&self.limits(), source, queue, payload, id, patience)
            .await
    }

    /// Like [`Intake::admit`], for a receiver that has measured by `limits`
    /// already and could not refuse what they allowed.
    pub(super) async fn admit_within(
        &self,
        limits: &Limits,
        source: Source,
        queue: &str,
        payload: Payload,
        id: Option<BatchId>,
        patience: Patience,
    ) -> Result<Admitted, Refusal> {
        let begun = Instant::now();
        let queue = self.queue(queue)?;
        payload.measure(limits)?;
        let permit = self.room(&queue, payload.room(), patience).await?;
        let validated = payload.validate(limits)?;
        Ok(self.admitted(source, queue, id, begun, permit, validated))
    }

    /// An event that a receiver rejects by itself, so that it becomes a dead
    /// letter in its turn. `queue`: its name.
    pub fn admit_rejected(
        &self,
        source: Source,
        queue: &str,
        event: Bytes,
        reason: RejectReason,
        detail: String,
    ) -> Result<Admitted, Refusal> {
        let reject = Reject {
            index: 0,
            reason,
            detail,
            event,
        };
        Ok(Admitted {
            intake: self.clone(),
            source,
            queue: self.queue(queue)?,
            id: BatchId::generate(),
            begun: Instant::now(),
            batch: None,
            rejects: vec![reject],
        })
    }

    fn admitted(
        &self,
        source: Source,
        queue: QueueName,
        id: Option<BatchId>,
        begun: Instant,
        permit: Permit,
        validated: Validated,
    ) -> Admitted {
        let id = id.unwrap_or_else(BatchId::generate);
        let batch = Batch {
            id,
            accepted_at: UnixMillis::now(),
            events: validated.events,
            payload: unpinned(validated.block),
            payload_hash: validated.hash,
            rejected: validated.rejects.iter().map(|r| r.index).collect(),
            own_metadata: validated.own_metadata,
            foreign: false,
            timestamps: validated.timestamps,
            origin: crate::batch::Origin::Accepted,
        };
        Admitted {
            intake: self.clone(),
            source,
            queue,
            id,
            begun,
            batch: (batch.events > 0).then_some((permit, batch)),
            rejects: validated.rejects,
        }
    }

    /// The queue of that name; the default one's may be left out.
    pub(super) fn queue(&self, name: &str) -> Result<QueueName, Refusal> {
        let name = if name.is_empty() {
            QueueName::DEFAULT
        } else {
            name
        };
        let unknown = || Refusal::UnknownQueue(name.chars().take(80).collect());
        self.0.queues.get(name).cloned().ok_or_else(unknown)
    }

    async fn room(
        &self,
        queue: &QueueName,
        bytes: usize,
        patience: Patience,
    ) -> Result<Permit, Refusal> {
        let permit = |patience| self.0.spool.permit(queue, bytes, patience);
        match patience {
            Patience::AtMost(patience) => tokio::select! {
                biased;
                () = self.0.closing.cancelled() => Err(Refusal::Closing),
                permit = permit(Some(patience)) => Ok(permit?),
            },
            Patience::UntilRoom => tokio::select! {
                biased;
                permit = permit(None) => Ok(permit?),
                () = self.0.closing.cancelled() => {
                    self.0.spool.lift_limits();
                    Ok(permit(Some(LAST_PATIENCE)).await?)
                }
            },
        }
    }
}

/// Counts a batch that is answered with a refusal.
pub(super) fn count_refused(source: Source, refusal: &Refusal) {
    metrics::refused(source.as_str(), refusal.reply().reason);
}

/// The same bytes, without the buffer they were read into if they are few.
fn unpinned(block: Bytes) -> Bytes {
    if block.len() <= COPIED_BYTES {
        Bytes::copy_from_slice(&block)
    } else {
        block
    }
}
