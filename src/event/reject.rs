//! Why an event is not taken.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The class of what is wrong with an event; written in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// The top-level `@metadata` is not one object, or its `_id` is longer than an index
    /// takes.
    InvalidMetadata,
}

impl RejectReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::InvalidUtf8,
        Self::InvalidJson,
        Self::NotAnObject,
        Self::TooLarge,
        Self::TooDeep,
        Self::TokenTooLong,
        Self::InvalidMetadata,
    ];

    /// The reason's name in snake case, as in JSON: for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::TokenTooLong => "token_too_long",
            Self::InvalidMetadata => "invalid_metadata",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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

/// What is wrong with an event, and where. Costs no allocation, so that a block
/// full of faults costs one only where a [`Reject`] is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: RejectReason,
    /// In words, so that "at byte N" can follow.
    pub(super) what: &'static str,
    /// Byte position in the slice that was examined.
    pub(super) at: usize,
}

impl Fault {
    pub(super) fn new(reason: RejectReason, what: &'static str, at: usize) -> Self {
        Self { reason, what, at }
    }

    /// The same fault, its position counted from `start`.
    pub(super) fn from(self, start: usize) -> Self {
        Self {
            at: self.at - start,
            ..self
        }
    }

    /// The same fault, in a slice in which `len` bytes stand before it.
    pub(super) fn behind(self, len: usize) -> Self {
        Self {
            at: self.at + len,
            ..self
        }
    }

    /// The words, for an event of `len` bytes.
    pub(super) fn detail(&self, len: usize) -> String {
        let Self { reason, what, at } = *self;
        if at >= len && reason == RejectReason::InvalidJson {
            // Blanks before the line end are no part of the event: `at` may be
            // behind it.
            format!("{what} at byte {len}, where it ends")
        } else {
            format!("{what} at byte {at}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RejectReason;

    #[test]
    fn the_name_of_a_reason_is_its_name_in_json() {
        for reason in RejectReason::ALL {
            let json = serde_json::to_string(&reason).expect("writes");
            assert_eq!(json, format!("\"{reason}\""));
        }
    }
}
