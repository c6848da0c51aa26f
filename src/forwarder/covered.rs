//! How far batches are confirmed that were confirmed only in part.
//!
//! A protocol with answers may vouch for the first events of a batch and then
//! break. The lease stays whole, and so does what a crash sends again; but as
//! long as this process lives, only the rest is sent.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::recent::Recent;
use crate::record::Header;

/// The batches of a queue that are confirmed in part. One break leaves one such
/// batch at most. Nothing is lost when one is forgotten: all of its batch is sent.
#[derive(Debug)]
pub(super) struct Covered(Mutex<Recent<u32>>);

const MOST: usize = 1024;

impl Default for Covered {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(MOST)))
    }
}

impl Covered {
    fn known(&self) -> MutexGuard<'_, Recent<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events at the beginning of the batch are confirmed.
    pub(super) fn events(&self, header: &Header) -> u32 {
        self.known().get(header).copied().unwrap_or(0)
    }

    /// The first `events` of the batch are confirmed.
    pub(super) fn up_to(&self, header: &Header, events: u32) {
        *self.known().of(header, || 0) = events;
    }

    /// The batch is settled.
    pub(super) fn clear(&self, header: &Header) {
        self.known().remove(header);
    }
}
