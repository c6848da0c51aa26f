//! Why an event is not taken.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The class of what is wrong with an event; written in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// Not valid UTF-8.
    InvalidUtf8,
    /// Not valid JSON (RFC 8259).
    InvalidJson,
    /// Valid JSON, but not an object.
    NotAnObject,
    /// Longer than `max_event_bytes`.
    TooLarge,
    /// Nested deeper than 128 levels.
    TooDeep,
    /// A number or a name longer than Logstash's JSON parser takes.
    TokenTooLong,
    /// The top-level `@metadata` is not one object.
    InvalidMetadata,
}

/// An event that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// 0-based position in the batch as it was sent.
    pub index: u32,
    /// The class of what is wrong.
    pub reason: RejectReason,
    /// What is wrong in words, with the byte position in the event.
    pub detail: String,
    /// The event as it was sent.
    pub event: Bytes,
}
