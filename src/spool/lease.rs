//! A batch held for sending.

use bytes::Bytes;

use super::{LeaseError, journal, redis};
use crate::event::Reject;
use crate::record::Header;

/// A batch held for sending. Settle it with [`Lease::ack`] or [`Lease::requeue`];
/// dropped, it goes back to its old place as if requeued.
#[derive(Debug)]
#[must_use = "a lease that is dropped goes back to the queue"]
pub struct Lease(Kind);

#[derive(Debug)]
enum Kind {
    Journal(journal::Lease),
    Redis(redis::Lease),
}

/// A settlement that did not reach the spool: the batch will be leased again.
#[derive(Debug, thiserror::Error)]
#[error("the spool did not take the settlement: {0}")]
pub struct SettleError(pub String);

impl Lease {
    /// The record's header.
    pub fn header(&self) -> &Header {
        match &self.0 {
            Kind::Journal(lease) => lease.header(),
            Kind::Redis(lease) => lease.header(),
        }
    }

    /// The events, as a block. Read when asked for, so that a lease whose events
    /// were sent holds no copy of them.
    pub async fn payload(&self) -> Result<Bytes, LeaseError> {
        match &self.0 {
            Kind::Journal(lease) => lease.payload().await,
            Kind::Redis(lease) => lease.payload().await,
        }
    }

    /// Events of the batch that were refused and are not in its payload: plain JSON
    /// that others put into Redis. Whoever has the lease keeps them as dead letters
    /// and says so; before that it cannot be acknowledged. The batch may have no
    /// others.
    pub fn rejects(&self) -> &[Reject] {
        match &self.0 {
            Kind::Journal(_) => &[],
            Kind::Redis(lease) => lease.rejects(),
        }
    }

    /// The rejects are durable as dead letters. They are not handed out with this
    /// batch again as long as this gateway holds it.
    pub fn rejects_kept(&mut self) {
        if let Kind::Redis(lease) = &mut self.0 {
            lease.rejects_kept();
        }
    }

    /// How often the batch was given back with an unknown outcome since this
    /// gateway started.
    pub fn attempts(&self) -> u32 {
        match &self.0 {
            Kind::Journal(lease) => lease.attempts(),
            Kind::Redis(lease) => lease.attempts(),
        }
    }

    /// The batch is done with: `dead_letters` of the events of its payload became dead
    /// letters, all others of them are confirmed.
    pub async fn ack(self, dead_letters: u32) -> Result<(), SettleError> {
        match self.0 {
            Kind::Journal(lease) => lease.ack(dead_letters),
            Kind::Redis(lease) => lease.ack(dead_letters),
        }
    }

    /// The batch is done with but for `events` of its events, of which nobody can make
    /// sense: `bytes`, which are theirs, go into the quarantine, and then they count there.
    /// After an error the batch will be leased again.
    pub async fn ack_without(self, events: u32, bytes: Bytes) -> Result<(), SettleError> {
        match self.0 {
            Kind::Journal(lease) => lease.ack_without(events, bytes).await,
            // Its events were looked at when it was leased, see `rejects`.
            Kind::Redis(_) => Err(SettleError("Redis has no such quarantine".into())),
        }
    }

    /// The batch goes back to its old place. `unknown_outcome`: it was sent, and
    /// nobody knows what became of it; counts as an attempt.
    pub async fn requeue(self, unknown_outcome: bool) -> Result<(), SettleError> {
        match self.0 {
            Kind::Journal(lease) => lease.requeue(unknown_outcome),
            Kind::Redis(lease) => lease.requeue(unknown_outcome),
        }
    }
}

impl From<journal::Lease> for Lease {
    fn from(lease: journal::Lease) -> Self {
        Self(Kind::Journal(lease))
    }
}

impl From<redis::Lease> for Lease {
    fn from(lease: redis::Lease) -> Self {
        Self(Kind::Redis(lease))
    }
}
