//! Which letters are the same one: names, hashes and marks, the same in each store.

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{GroupKey, LONGEST_FIELD, Letter, OTHER_FIELDS};
use crate::batch::QueueName;
use crate::dead_letter::DeadLetter;

/// What tells letters apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The queue.
    pub(super) queue: QueueName,
    /// The stable id, or the hash of the bytes as they were refused.
    pub(super) base: String,
    /// Which attempt it is.
    pub(super) attempt: u32,
    /// xxh3-128 of the event as it was refused.
    pub(super) content: u128,
}

impl Identity {
    /// Of an event that was refused.
    pub(super) fn of(letter: &DeadLetter) -> Self {
        Self::with(letter, xxh3_128(&letter.event))
    }

    /// Of a letter that may have been repaired since.
    pub(super) fn of_stored(letter: &Letter) -> Self {
        Self::with(&letter.letter, letter.content)
    }

    fn with(letter: &DeadLetter, content: u128) -> Self {
        Self {
            queue: letter.queue.clone(),
            base: letter.id.clone().unwrap_or_else(|| digits(content)),
            attempt: letter.attempt,
            content,
        }
    }

    /// The names that it may have in its queue: the first that is free is its name.
    /// The longer ones are for an id that several events have, or several attempts of one
    /// that was repaired each time.
    pub(super) fn names(&self) -> [String; 4] {
        let (base, content) = (&self.base, digits(self.content));
        [
            base.clone(),
            format!("{base}~{}", &content[..8]),
            format!("{base}~{content}"),
            format!("{base}~{content}~"),
        ]
    }

    /// What its tombstone is found by.
    pub(super) fn mark(&self) -> u128 {
        self.hashed(self.attempt, &self.content.to_be_bytes())
    }

    /// What is found if an event of this id left as of `attempt`, whatever its bytes and
    /// its queue. An event that comes back has other bytes, since Logstash works on it, and
    /// comes to the queue that the pipeline for dead letters names.
    pub(super) fn left_mark(&self, attempt: u32) -> u128 {
        let mut hash = Xxh3::new();
        hash.update(b"left");
        hash.update(&attempt.to_be_bytes());
        hash.update(self.base.as_bytes());
        hash.digest128()
    }

    fn hashed(&self, attempt: u32, what: &[u8]) -> u128 {
        let mut hash = Xxh3::new();
        hash.update(self.queue.as_str().as_bytes());
        hash.update(&[0]);
        hash.update(&attempt.to_be_bytes());
        hash.update(what);
        hash.update(self.base.as_bytes());
        hash.digest128()
    }
}

fn digits(content: u128) -> String {
    format!("{content:032x}")
}

impl GroupKey {
    /// The group that a letter belongs to, while there is room for more groups.
    pub(super) fn of(letter: &DeadLetter) -> Self {
        let key = Self {
            queue: letter.queue.clone(),
            reason: letter.reason,
            field: letter.field.clone(),
        };
        match &key.field {
            Some(field) if field.len() > LONGEST_FIELD => key.among_others(),
            _ => key,
        }
    }

    /// The group for letters whose field has no group of its own; the same if no field
    /// is to blame.
    pub(super) fn among_others(self) -> Self {
        Self {
            field: self.field.map(|_| OTHER_FIELDS.to_owned()),
            ..self
        }
    }
}

/// The beginning of a letter's detail, as a group has it.
pub(super) fn short(detail: &str) -> String {
    detail.chars().take(500).collect()
}
