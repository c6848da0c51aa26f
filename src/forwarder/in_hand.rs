//! The leases of a stretch, and how they are settled.

use std::collections::VecDeque;
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
    parcels: VecDeque<Parcel>,
    events: u64,
    bytes: u64,
    first_byte: Option<Instant>,
}

/// A batch, of which the events from position `from` on are sent: those before
/// it are confirmed.
#[derive(Debug)]
struct Parcel {
    lease: Lease,
    from: u32,
}

impl Parcel {
    fn events(&self) -> u64 {
        u64::from(self.lease.header().events.saturating_sub(self.from))
    }
}

impl InHand {
    /// `from`: position of the first event that is sent.
    pub(super) fn push(&mut self, lease: Lease, from: u32) {
        self.bytes += u64::from(lease.header().payload_len);
        let parcel = Parcel { lease, from };
        self.events += parcel.events();
        self.parcels.push_back(parcel);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parcels.is_empty()
    }

    /// Number of batches.
    pub(super) fn batches(&self) -> usize {
        self.parcels.len()
    }

    /// Number of events that are sent.
    pub(super) fn events(&self) -> u64 {
        self.events
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
    pub(super) async fn confirmed(mut self, work: &Work, endpoint: &Endpoint) {
        self.covered(work, endpoint, self.events).await;
    }

    /// The far side has the first `events` of it: batches that are wholly among
    /// them are done with, of one that is half among them only the rest is left.
    pub(super) async fn covered(&mut self, work: &Work, endpoint: &Endpoint, events: u64) {
        let mut left = events.min(self.events);
        if left == 0 {
            return;
        }
        endpoint.confirmed(left);
        metrics::forwarded(&work.queue, &endpoint.label, work.terms.result, left);
        if let Some(since) = self.first_byte {
            metrics::confirm_took(&work.queue, since.elapsed());
        }
        self.events -= left;
        while let Some(parcel) = self.parcels.pop_front_if(|parcel| parcel.events() <= left) {
            left -= parcel.events();
            self.bytes -= u64::from(parcel.lease.header().payload_len);
            ack(work, parcel.lease, 0).await;
        }
        if let Some(half) = self.parcels.front_mut().filter(|_| left > 0) {
            half.from += left as u32;
            work.covered.up_to(half.lease.header(), half.from);
        }
    }

    /// Not confirmed: all of it goes back, in order.
    pub(super) async fn unknown(self, work: &Work, endpoint: &Endpoint, why: &Unknown) {
        if self.is_empty() {
            return;
        }
        tracing::debug!(queue = %work.queue, endpoint = %endpoint.label, events = self.events,
            batches = self.parcels.len(), "not confirmed, to be sent again: {why}");
        metrics::forwarded(&work.queue, &endpoint.label, "requeued", self.events);
        let may_be_there = !why.took_nothing();
        if may_be_there {
            metrics::possible_duplicates(&work.queue, self.events);
        }
        for parcel in self.parcels {
            requeue(work, parcel.lease, may_be_there).await;
        }
    }

    /// The batches, for whoever counts what happened to them.
    pub(super) fn headers(&self) -> impl Iterator<Item = &Header> {
        self.parcels.iter().map(|parcel| parcel.lease.header())
    }
}

/// Settles `lease`, whose events are confirmed, all but `dead_letters` of them.
pub(super) async fn ack(work: &Work, lease: Lease, dead_letters: u32) {
    work.suspects.clear(lease.header());
    work.covered.clear(lease.header());
    if let Some(arrived_at) = lease.header().arrived_at() {
        let age = UnixMillis::now().0.saturating_sub(arrived_at.0);
        metrics::end_to_end_took(&work.queue, Duration::from_millis(age));
    }
    let events = u64::from(lease.header().events.saturating_sub(dead_letters));
    let Err(error) = lease.ack(dead_letters).await else {
        return;
    };
    metrics::possible_duplicates(&work.queue, events);
    if let Some(failures) = work.unsettled.failed() {
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
