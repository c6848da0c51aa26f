//! Brings letters from a store that was used before into the one that is used now, so
//! that none is left where nobody looks.
//!
//! A letter is held there before it is taken out here. After a crash in between it is
//! brought again, which changes nothing, unless somebody was done with it in that moment:
//! then it is held once more. Tombstones stay behind: a late copy of what was settled
//! before the move may be held again.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::store::{Fate, Filed, Handle, Order, Selection, Span, Store, StoreError};
use crate::log::Complaints;

/// Most letters at a time: each may have an event of some MiB.
const LETTERS: usize = 100;
/// How long is waited before a store is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Moves all letters, until there are none or `closing`.
pub async fn run(from: Store, to: Store, closing: CancellationToken) {
    closing.run_until_cancelled(run_all(&from, &to)).await;
}

async fn run_all(from: &Store, to: &Store) {
    let (mut moved, mut complaints) = (0, Complaints::default());
    loop {
        let why = match run_some(from, to).await {
            Ok(Some(0)) => break,
            Ok(Some(events)) => {
                moved += events;
                continue;
            }
            Ok(None) => "there is no room for them (dead_letters.max_bytes)".to_owned(),
            Err(error) => error.to_string(),
        };
        if let Some(failures) = complaints.failed(Instant::now()) {
            tracing::error!(
                failures,
                "dead letters wait in the former store and cannot be listed yet: {why}"
            );
        }
        sleep(PAUSE).await;
    }
    if moved > 0 {
        tracing::info!(
            moved,
            "all dead letters of the former store are in this one"
        );
    }
}

/// Moves the oldest; how many there were. `None`: there is no room for any.
async fn run_some(from: &Store, to: &Store) -> Result<Option<u64>, StoreError> {
    let all = Span {
        from: 0,
        to: u64::MAX,
    };
    let everything = Selection::default();
    let numbers = from.numbers(&everything, all, Order::OldestFirst, LETTERS);
    let letters = from.read(&numbers.await?).await?;
    if letters.is_empty() {
        return Ok(Some(0));
    }
    let handles: Vec<Handle> = letters.iter().map(|letter| letter.handle()).collect();
    let brought = to.restore(letters).await?;
    let held = handles.into_iter().zip(brought);
    let held = held.filter(|(_, brought)| matches!(brought, Filed::Kept | Filed::Known));
    let held: Vec<Handle> = held.map(|(handle, _)| handle).collect();
    if held.is_empty() {
        return Ok(None);
    }
    from.settle(&held, Fate::SentElsewhere).await.map(Some)
}
