//! Dead letters: events that cannot be processed, kept with the reason where a
//! person can find them.

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
    /// What is wrong, in words.
    pub detail: String,
    /// Who found out.
    pub source: Source,
    /// When.
    pub at: UnixMillis,
    /// The event as it came.
    pub event: Bytes,
}

/// The class of what is wrong with a dead letter; written in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", untagged)]
pub enum Reason {
    /// Refused at the door.
    Rejected(RejectReason),
    /// Found guilty by the forwarder.
    Undeliverable(Undeliverable),
}

/// Why the forwarder gave an event up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undeliverable {
    /// The connection failed again and again when this event was sent alone.
    Poison,
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
    /// The forwarder, by bisecting.
    Forwarder,
}

/// Why letters were not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeepError {
    /// The store holds as much as it may.
    #[error("the dead letters hold as much as they may (dead_letters.max_bytes)")]
    Full,
    /// The store failed.
    #[error("the dead letters cannot be stored: {0}")]
    Failed(String),
}

/// The store of dead letters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeadLetters {}

impl DeadLetters {
    /// Stores letters; answers when they are durable.
    pub async fn keep(&self, letters: Vec<DeadLetter>) -> Result<(), KeepError> {
        let _ = letters;
        todo!("lead")
    }
}
