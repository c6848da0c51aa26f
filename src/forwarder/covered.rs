//! How far batches are confirmed that were confirmed only in part.
//!
//! A protocol with answers may vouch for the first events of a batch and then
//! break. The lease stays whole, and so does what a crash sends again; but as
//! long as this process lives, only the rest is sent.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::key::Key;
use crate::record::Header;

/// The batches of a queue that are confirmed in part. One break leaves one such
/// batch at most. Where another gateway takes a batch over, nobody here learns what
/// becomes of it: so the oldest entry gives way. Nothing is lost by that: all of
/// its batch is sent.
#[derive(Debug, Default)]
pub(super) struct Covered(Mutex<Known>);

const MOST: usize = 1024;

#[derive(Debug, Default)]
struct Known {
    events: HashMap<Key, u32>,
    /// The keys of `events`, the oldest first.
    order: VecDeque<Key>,
}

impl Covered {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events at the beginning of the batch are confirmed.
    pub(super) fn events(&self, header: &Header) -> u32 {
        let known = self.known();
        match known.events.is_empty() {
            true => 0,
            false => known.events.get(&Key::of(header)).copied().unwrap_or(0),
        }
    }

    /// The first `events` of the batch are confirmed.
    pub(super) fn up_to(&self, header: &Header, events: u32) {
        let key = Key::of(header);
        let mut known = self.known();
        if known.events.insert(key, events).is_none() {
            known.order.push_back(key);
        }
        if known.order.len() > MOST
            && let Some(oldest) = known.order.pop_front()
        {
            known.events.remove(&oldest);
        }
    }

    /// The batch is settled.
    pub(super) fn clear(&self, header: &Header) {
        let mut known = self.known();
        if known.events.is_empty() {
            return;
        }
        let key = Key::of(header);
        if known.events.remove(&key).is_some() {
            known.order.retain(|other| *other != key);
        }
    }
}
