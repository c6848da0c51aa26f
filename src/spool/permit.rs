//! Room for an append, got before the batch is given away.

use super::{AppendError, Appended, journal, redis, spill};
use crate::batch::Batch;

/// Room for one append. It moves into the queued batch, so that it is given
/// back when the batch is durable, not when the caller stops waiting.
#[derive(Debug)]
#[must_use = "room that is not used is given back"]
pub struct Permit(Kind);

#[derive(Debug)]
enum Kind {
    Journal(journal::Permit),
    Redis(redis::Permit),
    Spill(Box<spill::Permit>),
}

impl Permit {
    /// Stores `batch`; answers when it is durable. If the disk fills up it waits
    /// for room as long as the permit's patience; without a limit it is never
    /// refused for that. A caller that stops waiting does not undo it.
    pub async fn append(self, batch: Batch) -> Result<Appended, AppendError> {
        match self.0 {
            Kind::Journal(permit) => permit.append(batch).await,
            Kind::Redis(permit) => permit.append(batch).await,
            Kind::Spill(permit) => permit.append(batch).await,
        }
    }
}

impl From<journal::Permit> for Permit {
    fn from(permit: journal::Permit) -> Self {
        Self(Kind::Journal(permit))
    }
}

impl From<redis::Permit> for Permit {
    fn from(permit: redis::Permit) -> Self {
        Self(Kind::Redis(permit))
    }
}

impl From<spill::Permit> for Permit {
    fn from(permit: spill::Permit) -> Self {
        Self(Kind::Spill(Box::new(permit)))
    }
}
