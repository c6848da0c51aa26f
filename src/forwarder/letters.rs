//! Keeps dead letters, whatever that takes.

use tokio::time::{Instant, sleep_until};

use super::backoff::Backoff;
use super::work::Work;
use crate::dead_letter::DeadLetter;
use crate::log::Complaints;

/// Waits until the letters are durable; a batch waits with them. `false`: the gateway
/// stops, and some of them may not be.
pub(super) async fn keep(work: &Work, mut letters: Vec<DeadLetter>) -> bool {
    let mut backoff = Backoff::new(work.timing.backoff);
    let mut complaints = Complaints::default();
    while let Err(error) = work.letters.keep(&mut letters).await {
        let now = Instant::now();
        if let Some(failures) = complaints.failed(now) {
            tracing::error!(queue = %work.queue, failures, "{error}; a batch waits until they can be kept");
        }
        backoff.failed(now);
        let waited = sleep_until(backoff.until());
        if work.give_up.run_until_cancelled(waited).await.is_none() {
            return false;
        }
    }
    true
}
