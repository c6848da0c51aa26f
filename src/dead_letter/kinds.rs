//! What a dead letter is, and the words for why and by whom.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::batch::{QueueName, UnixMillis};
use crate::event::RejectReason;

/// An event that cannot be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The queue it was sent to.
    pub queue: QueueName,
    /// The stable id, if the event got one.
    pub id: Option<String>,
    /// The class of what is wrong.
    pub reason: Reason,
    /// The event's field that is to blame, if one is: `user.id`.
    pub field: Option<String>,
    /// What is wrong, in words.
    pub detail: String,
    /// Who found out.
    pub source: Source,
    /// Which attempt at the event this was; from 1, and one more each time it was
    /// returned from the dead letters.
    pub attempt: u32,
    /// When.
    pub at: UnixMillis,
    /// The event as it came.
    pub event: Bytes,
}

/// The class of what is wrong with a dead letter; written in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reason {
    /// Refused at the door.
    Rejected(RejectReason),
    /// Found guilty by the forwarder.
    Undeliverable(Undeliverable),
    /// Refused by Elasticsearch or OpenSearch, and sent back by Logstash.
    Unindexable(Unindexable),
}

impl Reason {
    /// The word for it, as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected(reason) => reason.as_str(),
            Self::Undeliverable(Undeliverable::Poison) => "poison",
            Self::Unindexable(reason) => reason.as_str(),
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let rejected = RejectReason::ALL.into_iter().map(Self::Rejected);
        rejected
            .chain([Self::Undeliverable(Undeliverable::Poison)])
            .chain(Unindexable::ALL.into_iter().map(Self::Unindexable))
    }

    /// The reason of that word.
    pub fn named(word: &str) -> Option<Self> {
        Self::all().find(|reason| reason.as_str() == word)
    }
}

/// Why the forwarder gave an event up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undeliverable {
    /// The connection failed again and again when this event was sent alone.
    Poison,
}

/// Why an event was not indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unindexable {
    /// A field has another type than the index's mapping.
    MappingConflict,
    /// The mapping is strict and does not have a field.
    StrictMapping,
    /// The index would have more fields than it may.
    TooManyFields,
    /// Another `illegal_argument_exception`.
    IllegalArgument,
    /// There is no such index, and none is made by itself.
    IndexMissing,
    /// The index is closed.
    IndexClosed,
    /// Something else; the detail has all that was said.
    Other,
}

impl Unindexable {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::MappingConflict,
        Self::StrictMapping,
        Self::TooManyFields,
        Self::IllegalArgument,
        Self::IndexMissing,
        Self::IndexClosed,
        Self::Other,
    ];

    /// The reason's name in snake case, as in JSON: for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MappingConflict => "mapping_conflict",
            Self::StrictMapping => "strict_mapping",
            Self::TooManyFields => "too_many_fields",
            Self::IllegalArgument => "illegal_argument",
            Self::IndexMissing => "index_missing",
            Self::IndexClosed => "index_closed",
            Self::Other => "other",
        }
    }
}

/// Who found out that an event cannot be processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The gRPC receiver.
    Grpc,
    /// The HTTP receiver.
    Http,
    /// A TCP receiver.
    Tcp,
    /// The lumberjack receiver.
    Lumberjack,
    /// Whoever leases plain JSON that others put into Redis.
    Redis,
    /// The forwarder, by bisecting.
    Forwarder,
    /// Elasticsearch or OpenSearch, as told by Logstash's dead letter queue.
    Logstash,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Grpc,
        Self::Http,
        Self::Tcp,
        Self::Lumberjack,
        Self::Redis,
        Self::Forwarder,
        Self::Logstash,
    ];

    /// The source's name in snake case, as in JSON: for labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Lumberjack => "lumberjack",
            Self::Redis => "redis",
            Self::Forwarder => "forwarder",
            Self::Logstash => "logstash",
        }
    }

    /// Where its letters are kept.
    pub fn place(self) -> Place {
        match self {
            Self::Forwarder => Place::Forwarder,
            Self::Logstash => Place::Logstash,
            _ => Place::Door,
        }
    }
}

/// Sources that share a budget: letters of one place never take the room of another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The receivers, and whoever leases what others put into Redis.
    Door,
    /// The forwarder.
    Forwarder,
    /// Elasticsearch's refusals.
    Logstash,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Door, Self::Forwarder, Self::Logstash];

    /// The word for it, in labels and as the inbox's queue.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Door => "door",
            Self::Forwarder => "forwarder",
            Self::Logstash => "logstash",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_as_it_is_written() {
        let rejected = RejectReason::ALL.into_iter().map(Reason::Rejected);
        let unindexable = Unindexable::ALL.into_iter().map(Reason::Unindexable);
        let poison = Reason::Undeliverable(Undeliverable::Poison);
        for reason in rejected.chain(unindexable).chain([poison]) {
            let json = serde_json::to_string(&reason).expect("writes");
            assert_eq!(json, format!("\"{}\"", reason.as_str()));
            let read: Reason = serde_json::from_str(&json).expect("reads");
            assert_eq!(read, reason);
            assert_eq!(Reason::named(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::named("bad luck"), None);
    }
}
