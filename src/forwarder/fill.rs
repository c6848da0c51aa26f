//! The sending half of a stretch: lease, encode, write.

use tokio::time::{Instant, sleep_until};

use super::bisect::rest;
use super::in_hand::{InHand, requeue};
use super::lane::Lane;
use super::leasing::Leasing;
use super::outcome::Unknown;
use super::suspects::Treatment;
use super::wire::Wire;
use crate::spool::{Lease, LeaseError};

/// A buffer that grew beyond so many times a usual write, by a large batch, gives
/// the memory back.
const KEPT_WRITES: usize = 4;

/// What was sent, and why no more.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) in_hand: InHand,
    pub(super) reason: Reason,
}

/// Why a stretch ended.
#[derive(Debug)]
pub(super) enum Reason {
    /// All of it is written.
    Complete,
    /// The connection is lost.
    Broken(Unknown),
    /// Nothing was sent: the next batch has to be sent alone.
    Suspect(Lease, Treatment),
    /// Nothing was sent for so long that the session is to be closed.
    Expired,
    /// Nothing was sent, and nothing is to be for now.
    OffDuty,
    /// Nothing was sent: a suspect that was set aside may be tried.
    TrialDue,
    /// Nothing was sent: the next batch is to be set aside, and there is no room.
    Crowded,
    /// Nothing was sent: the spool cannot be read.
    SpoolTrouble,
    /// Nothing was sent, and nothing is to be.
    Stopped,
}

/// What became of a batch that was leased for the stretch.
enum Taken {
    /// It is in the buffer.
    Encoded,
    /// It waits for its trial.
    SetAside,
    /// The stretch ends before it.
    Ends(Reason),
}

impl Lane {
    /// Sends batches on `wire` until the stretch is over.
    pub(super) async fn fill(&mut self, wire: &mut Wire) -> Filled {
        let mut in_hand = InHand::default();
        let mut leasing = Leasing::new(self.work.clone());
        let reason = loop {
            let lease = match self.next_lease(&mut leasing, wire, &in_hand).await {
                Ok(lease) => lease,
                Err(reason) => break reason,
            };
            self.buffer.clear();
            let taken = self.gather(lease, &mut leasing, wire, &mut in_hand).await;
            if let Err(unknown) = self.write(wire, &mut in_hand).await {
                break Reason::Broken(unknown);
            }
            if let Taken::Ends(reason) = taken {
                break reason;
            }
            if self.is_full(&in_hand) {
                break Reason::Complete;
            }
        };
        self.buffer.clear();
        self.buffer
            .shrink_to(self.work.terms.write_bytes * KEPT_WRITES);
        Filled { in_hand, reason }
    }

    fn is_full(&self, in_hand: &InHand) -> bool {
        self.work.output.ordered
            || in_hand.bytes() >= self.work.timing.stretch_bytes
            || in_hand.batches() >= self.work.timing.stretch_batches
    }

    /// Waits for a batch, watching the session.
    async fn next_lease(
        &mut self,
        leasing: &mut Leasing,
        wire: &mut Wire,
        in_hand: &InHand,
    ) -> Result<Lease, Reason> {
        let over = in_hand.first_byte().map(|at| at + self.work.terms.stretch);
        let expires = wire.expires().filter(|_| in_hand.is_empty());
        tokio::select! {
            biased;
            unknown = wire.ended() => Err(Reason::Broken(unknown)),
            () = self.endpoint.stop.cancelled() => Err(stopped(in_hand)),
            () = self.endpoint.duty_is(false) => Err(off_duty(in_hand)),
            () = sleep_until(over.unwrap_or_else(Instant::now)), if over.is_some() => Err(Reason::Complete),
            lease = leasing.next() => lease.map_err(|error| self.spool_trouble(&error, in_hand)),
            () = sleep_until(expires.unwrap_or_else(Instant::now)), if expires.is_some() => Err(Reason::Expired),
            () = self.trial_is_due(), if !self.work.output.ordered && in_hand.is_empty() => Err(Reason::TrialDue),
        }
    }

    fn spool_trouble(&mut self, error: &LeaseError, in_hand: &InHand) -> Reason {
        if *error == LeaseError::Closed {
            return stopped(in_hand);
        }
        self.spool_failed(error);
        match in_hand.is_empty() {
            true => Reason::SpoolTrouble,
            false => Reason::Complete,
        }
    }

    /// Encodes `lease` and what else is waiting into the buffer.
    async fn gather(
        &mut self,
        first: Lease,
        leasing: &mut Leasing,
        wire: &Wire,
        in_hand: &mut InHand,
    ) -> Taken {
        let written = in_hand.events();
        let mut taken = self.take(first, wire, in_hand).await;
        while matches!(taken, Taken::Encoded | Taken::SetAside)
            && self.may_write_more(written, in_hand)
            && !self.is_full(in_hand)
        {
            taken = match leasing.try_next().await {
                Some(Ok(lease)) => self.take(lease, wire, in_hand).await,
                Some(Err(error)) => Taken::Ends(self.spool_trouble(&error, in_hand)),
                None => break,
            };
        }
        taken
    }

    fn may_write_more(&self, written: u64, in_hand: &InHand) -> bool {
        let terms = &self.work.terms;
        self.buffer.len() < terms.write_bytes && in_hand.events() - written < terms.write_events
    }

    async fn take(&mut self, lease: Lease, wire: &Wire, in_hand: &mut InHand) -> Taken {
        match self.work.suspects.treatment(lease.header()) {
            Treatment::Normal => {}
            Treatment::Bisect { .. } if !self.work.output.ordered => {
                return self.set_aside(lease, in_hand).await;
            }
            treatment if in_hand.is_empty() => {
                return Taken::Ends(Reason::Suspect(lease, treatment));
            }
            _ => return Taken::Ends(self.give_back(lease).await),
        }
        match lease.payload().await {
            Ok(payload) => {
                let from = self.work.covered.events(lease.header());
                wire.encode(lease.header(), rest(&payload, from), from, &mut self.buffer);
                in_hand.push(lease, from);
                self.spool_works();
                Taken::Encoded
            }
            Err(error) => {
                let reason = self.spool_trouble(&error, in_hand);
                requeue(&self.work, lease, false).await;
                Taken::Ends(reason)
            }
        }
    }

    async fn set_aside(&self, lease: Lease, in_hand: &InHand) -> Taken {
        let Err(refused) = self.work.aside.put(lease) else {
            return Taken::SetAside;
        };
        requeue(&self.work, *refused, false).await;
        Taken::Ends(match in_hand.is_empty() {
            true => Reason::Crowded,
            false => Reason::Complete,
        })
    }

    /// Nothing of `lease` was sent; whoever leases next begins with it.
    async fn give_back(&self, lease: Lease) -> Reason {
        requeue(&self.work, lease, false).await;
        Reason::Complete
    }

    async fn write(&self, wire: &mut Wire, in_hand: &mut InHand) -> Result<(), Unknown> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        in_hand.sending();
        let vigil = self.vigil();
        self.work
            .give_up
            .run_until_cancelled(wire.write(&self.buffer, &vigil))
            .await
            .unwrap_or(Err(Unknown::Stopping))
    }
}

fn off_duty(in_hand: &InHand) -> Reason {
    match in_hand.is_empty() {
        true => Reason::OffDuty,
        false => Reason::Complete,
    }
}

/// Nothing more is to be leased.
fn stopped(in_hand: &InHand) -> Reason {
    match in_hand.is_empty() {
        true => Reason::Stopped,
        false => Reason::Complete,
    }
}
