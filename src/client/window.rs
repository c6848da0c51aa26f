//! The window: how much may be unanswered at a time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};

/// Places for batches, counted in batches and in bytes.
#[derive(Debug, Clone)]
pub(super) struct Window {
    batches: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    all_bytes: u32,
}

/// A batch's place in the window; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _batch: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Window {
    /// Both are at least 1: a window without a place would wait for ever.
    pub(super) fn new(batches: usize, bytes: usize) -> Self {
        let all_bytes = u32::try_from(bytes.max(1)).unwrap_or(u32::MAX);
        Self {
            batches: Arc::new(Semaphore::new(batches.clamp(1, Semaphore::MAX_PERMITS))),
            bytes: Arc::new(Semaphore::new(all_bytes as usize)),
            all_bytes,
        }
    }

    /// Waits for a place; first come, first served. `None`: closed.
    pub(super) async fn enter(&self, bytes: usize) -> Option<Place> {
        let batch = Arc::clone(&self.batches).acquire_owned().await.ok()?;
        let bytes = Arc::clone(&self.bytes)
            .acquire_many_owned(self.share(bytes))
            .await
            .ok()?;
        Some(Place {
            _batch: batch,
            _bytes: bytes,
        })
    }

    /// A place, if one is free at once.
    pub(super) fn try_enter(&self, bytes: usize) -> Result<Place, TryAcquireError> {
        let batch = Arc::clone(&self.batches).try_acquire_owned()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(self.share(bytes))?;
        Ok(Place {
            _batch: batch,
            _bytes: bytes,
        })
    }

    /// Ends every wait, and every later one.
    pub(super) fn close(&self) {
        self.batches.close();
        self.bytes.close();
    }

    /// A batch that is larger than the window gets all of it: it goes alone.
    fn share(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.all_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_larger_than_the_window_waits_until_it_can_go_alone() {
        let window = Window::new(4, 100);
        let small = window.enter(10).await.expect("open");
        assert!(window.try_enter(1_000).is_err());
        drop(small);
        let _large = window.enter(1_000).await.expect("open");
        assert!(window.try_enter(1).is_err());
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_its_batch_is_done() {
        let window = Window::new(1, 100);
        let place = window.enter(10).await.expect("open");
        assert!(window.try_enter(10).is_err());
        drop(place);
        assert!(window.try_enter(10).is_ok());
    }

    #[tokio::test]
    async fn closing_ends_the_wait_for_a_place() {
        let window = Window::new(1, 100);
        let _place = window.enter(10).await.expect("open");
        let waiter = tokio::spawn({
            let window = window.clone();
            async move { window.enter(10).await.is_none() }
        });
        window.close();
        assert!(waiter.await.expect("no panic"));
    }
}
