//! A suspect batch, or a part of it, in a stretch of its own and before a witness.

use std::ops::Range;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::bisect::rest;
use super::connection::{Connection, Seen};
use super::in_hand::{InHand, requeue};
use super::lane::Lane;
use super::outcome::Unknown;
use super::suspects::Treatment;
use super::wire::Wire;
use crate::spool::Lease;

/// What came of sending it alone.
#[derive(Debug)]
pub(super) enum Verdict {
    Confirmed,
    /// It broke the connection, and nothing else did.
    Broke(Unknown),
    /// Not confirmed, and that says nothing about it.
    Unclear(Unknown),
    /// Nothing was sent.
    NotSent,
}

impl Lane {
    /// Sends a suspect as `treatment` says, and settles it.
    pub(super) async fn try_suspect(&mut self, lease: Lease, treatment: Treatment) {
        let payload = match lease.payload().await {
            Ok(payload) => payload,
            Err(error) => {
                self.spool_failed(&error);
                return requeue(&self.work, lease, false).await;
            }
        };
        match treatment {
            Treatment::Bisect { since } if self.is_fit_to_judge(since) => {
                self.bisect(lease, payload, since).await;
            }
            Treatment::Bisect { .. } => {
                self.endpoint.trial_in_vain();
                self.try_alone(lease, payload).await;
            }
            _ => self.try_alone(lease, payload).await,
        }
    }

    /// Whether this endpoint may condemn what broke first at `since`: see
    /// [`crate::forwarder::suspects`].
    pub(super) fn is_fit_to_judge(&self, since: Instant) -> bool {
        let since = match self.work.output.ordered {
            true => self.endpoint.last_gone(),
            false => since,
        };
        self.endpoint.confirmed_since(since)
    }

    async fn try_alone(&mut self, lease: Lease, payload: Bytes) {
        let from = self.work.covered.events(lease.header());
        let all = from..lease.header().events;
        let mut in_hand = InHand::default();
        in_hand.sending();
        let verdict = self.send_alone(&lease, rest(&payload, from), all).await;
        if matches!(verdict, Verdict::Broke(_)) {
            self.work.suspects.broke_alone(lease.header());
        }
        match verdict {
            Verdict::NotSent => requeue(&self.work, lease, false).await,
            Verdict::Confirmed => {
                in_hand.push(lease, from);
                in_hand.confirmed(&self.work, &self.endpoint).await;
            }
            Verdict::Broke(unknown) | Verdict::Unclear(unknown) => {
                in_hand.push(lease, from);
                in_hand.unknown(&self.work, &self.endpoint, &unknown).await;
            }
        }
    }

    /// Sends the events at `range`, whose lines are `lines`, alone.
    pub(super) async fn send_alone(
        &mut self,
        lease: &Lease,
        lines: &[u8],
        range: Range<u32>,
    ) -> Verdict {
        let Ok(Some(wire)) = self.try_wire().await else {
            return Verdict::NotSent;
        };
        let witness = match self.endpoint.dial(self.work.timing.connect).await {
            Ok(witness) => witness,
            Err(error) => {
                self.endpoint.unreachable(&error);
                return Verdict::NotSent;
            }
        };
        self.buffer.clear();
        wire.encode(lease.header(), lines, range.start, &mut self.buffer);
        match self.send_buffer(wire).await {
            Ok(()) => Verdict::Confirmed,
            Err(unknown) => self.judge(unknown, &witness).await,
        }
    }

    async fn send_buffer(&mut self, mut wire: Wire) -> Result<(), Unknown> {
        let vigil = self.vigil();
        self.work
            .give_up
            .run_until_cancelled(wire.write(&self.buffer, &vigil))
            .await
            .unwrap_or(Err(Unknown::Stopping))?;
        // Keeps the closes as far apart as those of stretches.
        sleep(self.work.terms.pace).await;
        self.confirm(wire).await
    }

    async fn judge(&mut self, unknown: Unknown, witness: &Connection) -> Verdict {
        let blamed = self.is_blamed(&unknown).await && self.is_unharmed(witness).await;
        match blamed && !self.work.output.ordered {
            true => self.endpoint.spared(&unknown),
            // With `ordered` nothing else is kept waiting.
            false => self.endpoint.lost(&unknown, !blamed),
        }
        match blamed {
            true => Verdict::Broke(unknown),
            false => Verdict::Unclear(unknown),
        }
    }

    /// Whether the peer still holds `witness` after a while.
    async fn is_unharmed(&self, witness: &Connection) -> bool {
        let waited = sleep(self.work.timing.witness);
        self.work
            .give_up
            .run_until_cancelled(waited)
            .await
            .is_some()
            && matches!(witness.look(), Ok(Seen::Open))
    }
}
