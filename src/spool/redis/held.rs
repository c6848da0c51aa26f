//! What this gateway holds of a list, and how it came out of it.

use std::sync::Arc;

use bytes::Bytes;
use deadpool_redis::redis::{Value, from_redis_value};

use super::element::{self, Damage, Element, Payload};
use crate::batch::{Batch, BatchId, UnixMillis};
use crate::record::{self, Header, MAGIC, Place};

/// Most events that a foreign lease gathers, and most bytes.
const GATHERED_EVENTS: usize = 500;
const GATHERED_BYTES: usize = 1 << 20;

/// A batch of this gateway's, by the lease numbers behind it: one for a record,
/// several for foreign elements.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) parts: Arc<[Part]>,
    pub(super) header: Arc<Header>,
    /// `None` once it was handed out: then it is read again if need be.
    pub(super) content: Option<Content>,
    /// How often it came back with an unknown outcome.
    pub(super) attempts: u32,
}

/// One element under its lease number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: u64,
    /// Events that Redis' ledger counts of it.
    pub(super) counted: u64,
    /// Length of the element.
    pub(super) bytes: u64,
}

/// The events.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Stored(Payload),
    Block(Bytes),
}

impl Content {
    pub(super) fn block(self) -> Result<Bytes, Damage> {
        match self {
            Self::Stored(payload) => payload.block(),
            Self::Block(block) => Ok(block),
        }
    }
}

impl Held {
    pub(super) fn number(&self) -> u64 {
        self.parts.first().map_or(0, |part| part.number)
    }

    pub(super) fn events(&self) -> u64 {
        u64::from(self.header.events)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// What came out of a list, sorted.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) elements: u64,
    pub(super) bytes: u64,
    pub(super) batches: Vec<Held>,
    /// Damaged elements, with the events that were in them as far as is known.
    pub(super) damaged: Vec<(Part, u64, Damage)>,
    /// Elements that only another release can read.
    pub(super) other_version: Vec<(u64, u8)>,
    /// Foreign events being gathered.
    gathering: Gathering,
}

#[derive(Debug, Default)]
struct Gathering {
    parts: Vec<Part>,
    block: Vec<u8>,
}

impl Sorted {
    /// Sorts what a script answered, `numbers` with it. What is no element is not
    /// there any more.
    pub(super) fn read(numbers: impl IntoIterator<Item = u64>, elements: Vec<Value>) -> Self {
        let mut sorted = Self::default();
        for (number, element) in numbers.into_iter().zip(elements) {
            if let Ok(Some(bytes)) = from_redis_value::<Option<Bytes>>(element) {
                sorted.add(number, bytes);
            }
        }
        sorted.gathered();
        sorted
    }

    fn add(&mut self, number: u64, bytes: Bytes) {
        let part = Part {
            number,
            counted: counted(&bytes),
            bytes: bytes.len() as u64,
        };
        self.elements += 1;
        self.bytes += part.bytes;
        match element::decode(bytes) {
            Element::Record(header, payload) => self.batches.push(Held {
                parts: [part].into(),
                header: header.into(),
                content: Some(Content::Stored(payload)),
                attempts: 0,
            }),
            Element::Foreign(json) => self.gather(part, &json),
            Element::OtherVersion(version) => self.other_version.push((number, version)),
            Element::Damaged(damage) => self.set_aside(part, damage),
        }
    }

    fn set_aside(&mut self, part: Part, damage: Damage) {
        let events = damage.events.map_or(part.counted, u64::from);
        self.damaged.push((part, events, damage));
    }

    fn gather(&mut self, part: Part, json: &[u8]) {
        let Some(line) = line(json) else {
            let damage = Damage {
                what: "neither a record nor a JSON object",
                events: Some(1),
            };
            return self.set_aside(part, damage);
        };
        let gathering = &self.gathering;
        if gathering.parts.len() >= GATHERED_EVENTS
            || gathering.block.len() + line.len() > GATHERED_BYTES
        {
            self.gathered();
        }
        self.gathering.parts.push(part);
        self.gathering.block.extend_from_slice(&line);
        self.gathering.block.push(b'\n');
    }

    fn gathered(&mut self) {
        let Gathering { parts, block } = std::mem::take(&mut self.gathering);
        if parts.is_empty() {
            return;
        }
        let batch = Batch {
            id: BatchId::generate(),
            accepted_at: UnixMillis::now(),
            events: parts.len() as u32,
            payload_hash: xxhash_rust::xxh3::xxh3_64(&block),
            payload: block.into(),
            rejected: Box::default(),
            own_metadata: false,
            foreign: true,
            timestamps: crate::batch::Timestamps::None,
        };
        let header = record::encode_header(&batch, Place::default(), &mut Vec::new());
        self.batches.push(Held {
            parts: parts.into(),
            header: header.into(),
            content: Some(Content::Block(batch.payload)),
            attempts: 0,
        });
    }
}

/// An event on one line. `None`: it is no JSON object.
fn line(json: &[u8]) -> Option<Vec<u8>> {
    let value: &serde_json::value::RawValue = serde_json::from_slice(json).ok()?;
    let text = value.get().trim();
    let breaks = |byte: u8| if byte.is_ascii_control() { b' ' } else { byte };
    text.starts_with('{')
        .then(|| text.bytes().map(breaks).collect())
}

/// How many events the scripts count of an element: see `common.lua`.
fn counted(element: &[u8]) -> u64 {
    if !element.starts_with(&MAGIC) || element.len() < record::FIXED_LEN {
        return 1;
    }
    let events = u32::from_le_bytes([element[16], element[17], element[18], element[19]]);
    match events {
        1..=1_048_576 => u64::from(events),
        _ => 1,
    }
}
