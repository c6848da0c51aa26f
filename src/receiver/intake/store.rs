//! The second step: what passed is appended, what did not is kept.

use std::future::{self, Future};
use std::task::Poll;
use std::time::Instant;

use futures_util::future::Either;

use super::{Intake, Refusal, label};
use crate::batch::{Batch, BatchId, QueueName, UnixMillis};
use crate::dead_letter::{DeadLetter, Reason, Source};
use crate::event::{Reject, RejectReason};
use crate::metrics;
use crate::spool::Permit;

/// A batch that has room and passed validation; not stored yet. Dropped, it
/// leaves nothing behind.
#[derive(Debug)]
#[must_use = "what is admitted has to be stored"]
pub struct Admitted {
    pub(super) intake: Intake,
    pub(super) source: Source,
    pub(super) queue: QueueName,
    pub(super) id: BatchId,
    pub(super) begun: Instant,
    /// Nothing if no event was accepted.
    pub(super) batch: Option<(Permit, Batch)>,
    pub(super) rejects: Vec<Reject>,
}

/// A batch whose accepted events are durable.
#[derive(Debug)]
pub struct Taken {
    /// The client's id, or the one made for it.
    pub id: BatchId,
    /// How many events were accepted.
    pub accepted: u32,
    /// The others, in order.
    pub rejects: Vec<Reject>,
    /// Whether the others are kept as dead letters; if not, the client holds the
    /// only copy.
    pub kept: bool,
}

impl Admitted {
    /// The batch's id.
    pub fn id(&self) -> BatchId {
        self.id
    }

    /// How many events the client sent.
    pub fn events(&self) -> usize {
        let accepted = self.batch.as_ref().map_or(0, |(_, batch)| batch.events);
        accepted as usize + self.rejects.len()
    }

    /// Stores it; answers when the accepted events are durable and the rejected
    /// ones kept, or known not to be.
    pub async fn store(self) -> Result<Taken, Refusal> {
        let Self {
            intake,
            source,
            queue,
            id,
            begun,
            batch,
            rejects,
        } = self;
        let append = async {
            let Some((permit, batch)) = batch else {
                return Ok::<_, Refusal>((0, 0));
            };
            let bytes = batch.payload.len();
            let appended = permit.append(batch).await?;
            Ok((appended.events, bytes))
        };
        let keep = intake.keep(source, &queue, &rejects);
        let (appended, kept) = tokio::join!(append, keep);
        let (accepted, bytes) = appended?;
        if accepted > 0 {
            metrics::accepted(label(source), &queue, accepted, bytes);
        }
        count_rejects(source, &queue, &rejects);
        metrics::append_took(&queue, begun.elapsed());
        Ok(Taken {
            id,
            accepted,
            rejects,
            kept,
        })
    }

    /// Like [`Admitted::store`], with the append already on its way when this
    /// returns: batches begun one after the other are stored in that order,
    /// however their answers are waited for.
    pub async fn begin(self) -> impl Future<Output = Result<Taken, Refusal>> + Send {
        let mut stored = Box::pin(self.store());
        match futures_util::poll!(&mut stored) {
            Poll::Ready(taken) => Either::Left(future::ready(taken)),
            Poll::Pending => Either::Right(stored),
        }
    }
}

impl Intake {
    /// Keeps rejected events; whether that worked.
    async fn keep(&self, source: Source, queue: &QueueName, rejects: &[Reject]) -> bool {
        if rejects.is_empty() {
            return true;
        }
        let at = UnixMillis::now();
        let letters = rejects.iter().map(|reject| DeadLetter {
            queue: queue.clone(),
            id: None,
            reason: Reason::Rejected(reject.reason),
            detail: reject.detail.clone(),
            source,
            at,
            event: reject.event.clone(),
        });
        let kept = self.0.letters.keep(letters.collect()).await;
        if let Err(error) = &kept {
            tracing::warn!(%queue, receiver = label(source), events = rejects.len(), %error, "rejected events are not kept");
        }
        kept.is_ok()
    }
}

fn count_rejects(source: Source, queue: &QueueName, rejects: &[Reject]) {
    for reason in REASONS {
        let events = rejects.iter().filter(|r| r.reason == reason).count();
        if events > 0 {
            metrics::rejected(label(source), queue, reason_label(reason), events as u64);
        }
    }
}

const REASONS: [RejectReason; 7] = [
    RejectReason::InvalidUtf8,
    RejectReason::InvalidJson,
    RejectReason::NotAnObject,
    RejectReason::TooLarge,
    RejectReason::TooDeep,
    RejectReason::TokenTooLong,
    RejectReason::InvalidMetadata,
];

fn reason_label(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::InvalidUtf8 => "invalid_utf8",
        RejectReason::InvalidJson => "invalid_json",
        RejectReason::NotAnObject => "not_an_object",
        RejectReason::TooLarge => "too_large",
        RejectReason::TooDeep => "too_deep",
        RejectReason::TokenTooLong => "token_too_long",
        RejectReason::InvalidMetadata => "invalid_metadata",
    }
}
