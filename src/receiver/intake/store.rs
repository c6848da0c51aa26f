//! The second step: what passed is appended, what did not is kept.

use std::future::{self, Future};
use std::task::Poll;
use std::time::Instant;

use futures_util::future::Either;

use super::{Intake, LAST_PATIENCE, Refusal};
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
            let appended = tokio::select! {
                biased;
                appended = permit.append(batch) => appended?,
                () = intake.gave_up() => return Err(Refusal::Closing),
            };
            Ok((appended.events, bytes))
        };
        let keep = intake.keep(source, &queue, &rejects);
        let (appended, kept) = tokio::join!(append, keep);
        let (accepted, bytes) = appended?;
        if accepted > 0 {
            metrics::accepted(source.as_str(), &queue, accepted, bytes);
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
    /// The gateway is stopping, and what is in hand had its time.
    async fn gave_up(&self) {
        self.closing().cancelled().await;
        tokio::time::sleep(LAST_PATIENCE).await;
    }

    /// Keeps rejected events; whether that worked.
    pub(in crate::receiver) async fn keep(
        &self,
        source: Source,
        queue: &QueueName,
        rejects: &[Reject],
    ) -> bool {
        if rejects.is_empty() {
            return true;
        }
        let at = UnixMillis::now();
        let letters = rejects.iter().map(|reject| DeadLetter {
            queue: queue.clone(),
            id: None,
            reason: Reason::Rejected(reject.reason),
            field: None,
            detail: reject.detail.clone(),
            source,
            attempt: 1,
            at,
            event: reject.event.clone(),
        });
        let mut letters: Vec<_> = letters.collect();
        let Err(error) = self.0.letters.keep(&mut letters).await else {
            self.0.not_kept.recovered();
            return true;
        };
        if let Some(times) = self.0.not_kept.failed() {
            tracing::warn!(%queue, receiver = source.as_str(), events = letters.len(), times, %error, "rejected events are not kept");
        }
        false
    }
}

fn count_rejects(source: Source, queue: &QueueName, rejects: &[Reject]) {
    for reason in RejectReason::ALL {
        let events = rejects.iter().filter(|r| r.reason == reason).count();
        if events > 0 {
            metrics::rejected(source.as_str(), queue, reason.as_str(), events as u64);
        }
    }
}
