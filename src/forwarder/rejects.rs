//! Events that were refused when their batch was leased: plain JSON that others put
//! into Redis. They become dead letters before anything of the batch is sent, and
//! before it can be acknowledged. A lease that is lost in between has them kept twice,
//! never not at all.

use super::in_hand::{ack, requeue};
use super::letters;
use super::work::Work;
use crate::batch::UnixMillis;
use crate::dead_letter::{DeadLetter, Reason, Source};
use crate::event::Reject;
use crate::spool::{Lease, LeaseError};

/// Keeps what was refused of `lease`, however long that takes, and gives the lease
/// back if there is something to send.
pub(super) async fn keep(work: &Work, mut lease: Lease) -> Result<Option<Lease>, LeaseError> {
    if lease.rejects().is_empty() {
        return Ok(Some(lease));
    }
    let letters: Vec<_> = lease.rejects().iter().map(|r| letter(work, r)).collect();
    let events = letters.len();
    if !letters::keep(work, letters).await {
        requeue(work, lease, false).await;
        return Err(LeaseError::Closed);
    }
    tracing::warn!(queue = %work.queue, events, "what others put into Redis is no event; it became dead letters");
    lease.rejects_kept();
    if lease.header().events > 0 {
        return Ok(Some(lease));
    }
    ack(work, lease, 0).await;
    Ok(None)
}

fn letter(work: &Work, reject: &Reject) -> DeadLetter {
    DeadLetter {
        queue: work.queue.clone(),
        id: None,
        reason: Reason::Rejected(reject.reason),
        field: None,
        detail: reject.detail.clone(),
        source: Source::Redis,
        attempt: 1,
        at: UnixMillis::now(),
        event: reject.event.clone(),
    }
}
