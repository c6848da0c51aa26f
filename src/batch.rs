//! A batch: the events that travel, are stored, acknowledged and requeued
//! together.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A batch that passed the door, as it is given to the spool.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The client's name for the batch, or a UUIDv7 of the gateway's.
    pub id: BatchId,
    /// When the gateway took it.
    pub accepted_at: UnixMillis,
    /// Number of events in `payload`; never 0.
    pub events: u32,
    /// The accepted events as a block: each event is one line, begins with `{`,
    /// holds no raw line break, and ends with `\n` (the last one too).
    pub payload: Bytes,
    /// xxh3-64 of what the client sent, rejected events included.
    pub payload_hash: u64,
    /// Positions, in the batch as sent, of the events that were rejected;
    /// ascending.
    pub rejected: Box<[u32]>,
    /// Whether an event of the block has an `@metadata` of its own. Such an
    /// event begins with exactly `{"@metadata":{`.
    pub own_metadata: bool,
    /// Whether others put the events into the queue as plain JSON. What makes up
    /// such a batch differs from lease to lease, so its events get no stable id.
    pub foreign: bool,
    /// Which events have an `@timestamp` of their own: they are not told when the
    /// gateway took them.
    pub timestamps: Timestamps,
    /// How it came into the queue: the books keep them apart.
    pub origin: Origin,
}

/// How a batch came into its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A receiver took it.
    #[default]
    Accepted,
    /// It came back from the dead letters.
    Returned,
    /// It was sent again from the archive, as it was: with the id, the hash, the rejected
    /// positions and the acceptance time of then. The archive does not take it a second
    /// time, and its time says nothing about how long anything has waited.
    Replayed,
}

/// Which events of a batch have an `@timestamp` of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timestamps {
    /// None of them.
    #[default]
    None,
    /// Some of them; only a look at each tells which.
    Some,
    /// All of them.
    All,
}

impl Timestamps {
    /// `dated` of `events` events have one.
    pub fn of(dated: u32, events: u32) -> Self {
        match dated {
            0 => Self::None,
            _ if dated == events => Self::All,
            _ => Self::Some,
        }
    }
}

/// A batch's name: up to 64 bytes, the client's own or a UUIDv7.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchId {
    len: u8,
    bytes: [u8; Self::MAX_LEN],
}

impl BatchId {
    /// The longest id a client may give, in bytes.
    pub const MAX_LEN: usize = 64;

    /// A new id, a UUIDv7, so that ids made later sort later.
    pub fn generate() -> Self {
        Self::fill(uuid::Uuid::now_v7().as_bytes())
    }

    /// The client's own id. Errors if it is empty or longer than
    /// [`BatchId::MAX_LEN`].
    pub fn new(id: &[u8]) -> Result<Self, InvalidBatchId> {
        match id.len() {
            1..=Self::MAX_LEN => Ok(Self::fill(id)),
            length => Err(InvalidBatchId { length }),
        }
    }

    fn fill(id: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX_LEN];
        bytes[..id.len()].copy_from_slice(id);
        Self {
            len: id.len() as u8,
            bytes,
        }
    }

    /// The id's bytes; 1 to 64 of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchId({})", self.as_bytes().escape_ascii())
    }
}

/// A batch id that is empty or too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a batch id has 1 to 64 bytes; this one has {length}")]
pub struct InvalidBatchId {
    /// The length that was given, in bytes.
    pub length: usize,
}

/// The name of a queue: 1 to 64 of `a-z`, `0-9`, `_`, `-`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueName(Arc<str>);

impl QueueName {
    /// The queue of whoever names none.
    pub const DEFAULT: &str = "logstash";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for QueueName {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl FromStr for QueueName {
    type Err = InvalidQueueName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidQueueName(name.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for QueueName {
    type Error = InvalidQueueName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

impl From<QueueName> for String {
    fn from(name: QueueName) -> Self {
        name.0.to_string()
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Not a queue's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a queue name: it has 1 to 64 of a-z, 0-9, '_' and '-'")]
pub struct InvalidQueueName(String);

/// A moment, in milliseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The wall clock.
    pub fn now() -> Self {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for UnixMillis {
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(since.as_millis() as u64)
    }
}

/// Reads what a person or a program writes: RFC 3339 (`2026-11-21T20:53:00Z`), the same
/// without a zone or without a time of day, in UTC (`2026-11-21`), or milliseconds.
impl FromStr for UnixMillis {
    type Err = InvalidMoment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(millis) = text.parse() {
            return Ok(Self(millis));
        }
        let in_utc = |at: jiff::civil::DateTime| jiff::tz::Offset::UTC.to_timestamp(at);
        let at = text
            .parse()
            .or_else(|_| text.parse().and_then(in_utc))
            .map_err(|_| InvalidMoment::Unreadable)?;
        u64::try_from(jiff::Timestamp::as_millisecond(at))
            .map(Self)
            .map_err(|_| InvalidMoment::TooEarly)
    }
}

/// Not a moment that can be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMoment {
    /// It is not in a form that is read.
    #[error("write a time such as 2026-11-21T20:53:00Z, or a day such as 2026-11-21")]
    Unreadable,
    /// Nothing is that old.
    #[error("it is before 1970")]
    TooEarly,
}

/// RFC 3339 in UTC with milliseconds: `2026-11-21T20:53:00.123Z`.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = i64::try_from(self.0)
            .ok()
            .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        write!(f, "{:.3}", at.unwrap_or(jiff::Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_names_are_limited_to_what_a_key_and_a_folder_can_bear() {
        assert!("logstash.0".parse::<QueueName>().is_err());
        assert!("../x".parse::<QueueName>().is_err());
        assert!("".parse::<QueueName>().is_err());
        assert!("a".repeat(65).parse::<QueueName>().is_err());
        assert_eq!(
            "web_1-x".parse::<QueueName>().expect("valid").as_str(),
            "web_1-x"
        );
    }

    #[test]
    fn a_batch_id_keeps_its_bytes() {
        assert_eq!(
            BatchId::new(b"order-7").expect("valid").as_bytes(),
            b"order-7"
        );
        assert_eq!(BatchId::new(&[0; 65]), Err(InvalidBatchId { length: 65 }));
        assert_eq!(BatchId::new(b""), Err(InvalidBatchId { length: 0 }));
        assert_eq!(BatchId::generate().as_bytes().len(), 16);
    }

    #[test]
    fn a_moment_is_read_as_it_is_written_and_as_people_write_it() {
        let at = UnixMillis(1_795_294_380_120);
        assert_eq!(at.to_string().parse(), Ok(at));
        assert_eq!("1795294380120".parse(), Ok(at));
        let whole = UnixMillis(1_795_294_380_000);
        assert_eq!("2026-11-21T20:53:00Z".parse(), Ok(whole));
        assert_eq!("2026-11-21T21:53:00+01:00".parse(), Ok(whole));
        assert_eq!("2026-11-21T20:53".parse(), Ok(whole));
        let midnight = UnixMillis(1_795_219_200_000);
        assert_eq!("2026-11-21".parse(), Ok(midnight));
        let read = |text: &str| text.parse::<UnixMillis>();
        assert_eq!(read("yesterday"), Err(InvalidMoment::Unreadable));
        assert_eq!(read("1969-12-31"), Err(InvalidMoment::TooEarly));
    }

    #[test]
    fn a_moment_is_written_with_three_digits_of_a_second() {
        assert_eq!(
            UnixMillis(1_795_294_380_120).to_string(),
            "2026-11-21T20:53:00.120Z"
        );
        assert_eq!(UnixMillis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }
}
