//! How many bytes an address takes at a time.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What it took in a row, after which twice as much is tried: a limit may be
/// raised, and an answer may have been another's. A try in vain costs one request.
const TAKEN: usize = 1000;

/// Learnt from answers. Updates that meet may miss one another, and only the size of
/// some requests hangs on it.
#[derive(Debug)]
pub(super) struct Room {
    bytes: AtomicUsize,
    taken: AtomicUsize,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            bytes: AtomicUsize::new(usize::MAX),
            taken: AtomicUsize::new(0),
        }
    }
}

impl Room {
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    /// It does not take more than `bytes`, one at least.
    pub(super) fn at_most(&self, bytes: usize) {
        self.bytes.fetch_min(bytes.max(1), Relaxed);
        self.taken.store(0, Relaxed);
    }

    /// It took what it was sent.
    pub(super) fn took(&self) {
        if self.taken.fetch_add(1, Relaxed) + 1 == TAKEN {
            self.taken.store(0, Relaxed);
            let doubled = self.bytes().saturating_mul(2);
            self.bytes.store(doubled, Relaxed);
        }
    }
}
