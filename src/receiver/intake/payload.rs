//! What a client sent as a batch.

use bytes::Bytes;

use crate::event::{self, BlockError, Limits, Validated};

/// What a client sent as a batch.
#[derive(Debug, Clone)]
pub enum Payload {
    /// One event a line.
    Ndjson(Bytes),
    /// Events one by one.
    List(Vec<Bytes>),
    /// One JSON document: an object, or an array of objects.
    Json(Bytes),
}

impl Payload {
    /// Refuses what cannot be a batch by its size alone.
    pub(super) fn measure(&self, limits: &Limits) -> Result<(), BlockError> {
        if let Self::List(events) = self
            && events.len() > limits.max_batch_events
        {
            let limit = limits.max_batch_events;
            return Err(BlockError::TooManyEvents { limit });
        }
        if self.len() > limits.max_batch_bytes {
            let limit = limits.max_batch_bytes;
            return Err(BlockError::TooManyBytes { limit });
        }
        Ok(())
    }

    /// Bytes the events take as a block: each gets a line end.
    pub(super) fn room(&self) -> usize {
        match self {
            Self::List(events) => self.len() + events.len(),
            Self::Ndjson(_) | Self::Json(_) => self.len() + 1,
        }
    }

    pub(super) fn validate(self, limits: &Limits) -> Result<Validated, BlockError> {
        match self {
            Self::Ndjson(block) => event::ndjson(block, limits),
            Self::List(events) => event::list(&events, limits),
            Self::Json(body) => event::json_document(body, limits),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::List(events) => events.iter().map(Bytes::len).sum(),
            Self::Ndjson(bytes) | Self::Json(bytes) => bytes.len(),
        }
    }
}
