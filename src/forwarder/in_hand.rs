//! The leases of a stretch, and how they are settled.

use std::time::Duration;

use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::outcome::Unknown;
use super::work::Work;
use crate::batch::UnixMillis;
use crate::metrics;
use crate::record::Header;
use crate::spool::Lease;

/// What was leased for a stretch, in order. Leases only: a payload is read when
/// it is sent, and not kept.
#[derive(Debug, Default)]
pub(super) struct InHand {
    leases: Vec<Lease>,
    events: u64,
    bytes: u64,
    first_byte: Option<Instant>,
}

impl InHand {
    pub(super) fn push(&mut self, lease: Lease) {
        self.events += u64::from(lease.header().events);
        self.bytes += u64::from(lease.header().payload_len);
        self.leases.push(lease);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Number of batches.
    pub(super) fn batches(&self) -> usize {
        self.leases.len()
    }

    /// Length of the payloads, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A byte is about to be written.
    pub(super) fn sending(&mut self) {
        self.first_byte.get_or_insert_with(Instant::now);
    }

    /// When the first byte was written.
    pub(super) fn first_byte(&self) -> Option<Instant> {
        self.first_byte
    }

    /// The far side has it all.
    pub(super) async fn confirmed(self, work: &Work, endpoint: &Endpoint) {
        endpoint.confirmed(self.events);
        metrics::forwarded(&work.queue, &endpoint.label, work.terms.result, self.events);
        if let Some(since) = self.first_byte {
            metrics::confirm_took(&work.queue, since.elapsed());
        }
        for lease in self.leases {
            work.suspects.clear(lease.header());
            ack(work, lease, 0).await;
        }
    }

    /// Nobody knows what became of it: all of it goes back, in order.
    pub(super) async fn unknown(self, work: &Work, endpoint: &Endpoint, why: &Unknown) {
        if self.is_empty() {
            return;
        }
        tracing::debug!(queue = %work.queue, endpoint = %endpoint.label, events = self.events,
            batches = self.leases.len(), "not confirmed, to be sent again: {why}");
        metrics::forwarded(&work.queue, &endpoint.label, "requeued", self.events);
        metrics::possible_duplicates(&work.queue, self.events);
        for lease in self.leases {
            requeue(work, lease, true).await;
        }
    }

    /// The batches, for whoever counts what happened to them.
    pub(super) fn headers(&self) -> impl Iterator<Item = &Header> {
        self.leases.iter().map(Lease::header)
    }
}

/// Settles `lease`, whose events are confirmed, all but `dead_letters` of them.
pub(super) async fn ack(work: &Work, lease: Lease, dead_letters: u32) {
    let age = UnixMillis::now()
        .0
        .saturating_sub(lease.header().accepted_at.0);
    metrics::end_to_end_took(&work.queue, Duration::from_millis(age));
    if let Err(error) = lease.ack(dead_letters).await
        && let Some(failures) = work.unsettled.failed()
    {
        tracing::error!(queue = %work.queue, failures, "a confirmed batch will be sent again: {error}");
    }
}

/// Gives `lease` back.
pub(super) async fn requeue(work: &Work, lease: Lease, unknown_outcome: bool) {
    if let Err(error) = lease.requeue(unknown_outcome).await
        && let Some(failures) = work.unsettled.failed()
    {
        tracing::error!(queue = %work.queue, failures, "a batch goes back to the queue only after a restart: {error}");
    }
}
