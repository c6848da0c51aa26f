//! The ledger: sums, in events, that must always come out equal. What they
//! leave over is `stashgate_ledger_unaccounted_events`; it is 0, or events were
//! lost or made.

use serde::{Deserialize, Serialize};

use crate::batch::Origin;

/// The spool's book of one queue, in events since the queue was made. Kept with
/// the data. What waits and what is leased is not written here: it is counted
/// from the data itself, so that the two sides of the sum are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// Answered as durable.
    pub accepted: u64,
    /// Came back from the dead letters.
    pub returned: u64,
    /// Sent again from the archive.
    pub replayed: u64,
    /// Put into the queue by others (Redis only).
    pub foreign: u64,
    /// Confirmed by the far side.
    pub confirmed: u64,
    /// Became dead letters after they were accepted.
    pub dead_letters: u64,
    /// Thrown away by a person.
    pub discarded: u64,
    /// In records found damaged and set aside.
    pub quarantined: u64,
}

impl Ledger {
    /// `events` came into the queue from `origin`.
    pub fn came(&mut self, origin: Origin, events: u64) {
        *match origin {
            Origin::Accepted => &mut self.accepted,
            Origin::Returned => &mut self.returned,
            Origin::Replayed => &mut self.replayed,
        } += events;
    }

    /// All that came in.
    pub fn arrived(&self) -> u64 {
        self.accepted + self.returned + self.replayed + self.foreign
    }

    /// Both books as one.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            returned: self.returned + other.returned,
            replayed: self.replayed + other.replayed,
            foreign: self.foreign + other.foreign,
            confirmed: self.confirmed + other.confirmed,
            dead_letters: self.dead_letters + other.dead_letters,
            discarded: self.discarded + other.discarded,
            quarantined: self.quarantined + other.quarantined,
        }
    }

    /// What came in and is not explained by what went out, what waits and what
    /// is leased. 0 when the books are right.
    pub fn unaccounted(&self, waiting: u64, leased: u64) -> i64 {
        let came = self.arrived();
        let went = self.confirmed + self.dead_letters + self.discarded + self.quarantined;
        came as i64 - (went + waiting + leased) as i64
    }
}
