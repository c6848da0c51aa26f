//! The door: one pass over a block of bytes that came from outside.

use bytes::Bytes;

use super::{Limits, Reject};

/// A block that passed the door.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validated {
    /// The accepted events as a block, as [`crate::batch::Batch::payload`] says.
    pub block: Bytes,
    /// Number of events in `block`.
    pub events: u32,
    /// Whether an event of the block has an `@metadata` of its own.
    pub own_metadata: bool,
    /// xxh3-64 of what the client sent.
    pub hash: u64,
    /// What was not accepted, in the order in which it was sent.
    pub rejects: Vec<Reject>,
}

/// Why a block as a whole is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// More events than a batch may have.
    #[error(
        "the batch has more than {limit} events; send smaller batches, or raise limits.max_batch_events"
    )]
    TooManyEvents {
        /// `max_batch_events`.
        limit: usize,
    },
    /// More bytes than a batch may have.
    #[error(
        "the batch has more than {limit} bytes; send smaller batches, or raise limits.max_batch_bytes"
    )]
    TooManyBytes {
        /// `max_batch_bytes`.
        limit: usize,
    },
    /// A JSON document that cannot be split into events.
    #[error("the body is not valid JSON: {detail}")]
    Malformed {
        /// What is wrong, with the byte position.
        detail: String,
    },
}

/// Validates a block of one event a line (`\n` or `\r\n`; blank lines are no
/// events). A block without faults is returned as it came, not copied.
pub fn ndjson(input: Bytes, limits: &Limits) -> Result<Validated, BlockError> {
    let _ = (input, limits);
    todo!("helper: event")
}

/// Validates events that came one by one; each may be pretty-printed.
pub fn list(events: &[Bytes], limits: &Limits) -> Result<Validated, BlockError> {
    let _ = (events, limits);
    todo!("helper: event")
}

/// Validates a JSON document: one object, or an array of objects.
pub fn json_document(body: Bytes, limits: &Limits) -> Result<Validated, BlockError> {
    let _ = (body, limits);
    todo!("helper: event")
}
