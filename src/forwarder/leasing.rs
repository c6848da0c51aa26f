//! Leasing one batch after another.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use super::rejects;
use super::work::Work;
use crate::spool::{Lease, LeaseError};

/// A lease may need a read from the disk. It is begun once, and goes on while what
/// is there already is being written: a dropped one would have to be read again.
pub(super) struct Leasing {
    work: Arc<Work>,
    begun: Option<Begun>,
}

type Begun = Pin<Box<dyn Future<Output = Result<Lease, LeaseError>> + Send>>;

impl Leasing {
    pub(super) fn new(work: Arc<Work>) -> Self {
        Self { work, begun: None }
    }

    /// Waits for the next batch. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Lease, LeaseError> {
        let begun = self.begun.get_or_insert_with(|| begin(self.work.clone()));
        let leased = begun.await;
        self.begun = None;
        leased
    }

    /// The next batch if it is there already.
    pub(super) async fn try_next(&mut self) -> Option<Result<Lease, LeaseError>> {
        tokio::select! {
            biased;
            leased = self.next() => Some(leased),
            () = ready(()) => None,
        }
    }
}

fn begin(work: Arc<Work>) -> Begun {
    Box::pin(async move {
        loop {
            let lease = work.spool.lease(&work.queue).await?;
            if let Some(lease) = rejects::keep(&work, lease).await? {
                return Ok(lease);
            }
        }
    })
}
