//! What this gateway holds of a list, and how it came out of it.

use std::sync::Arc;

use bytes::Bytes;
use deadpool_redis::redis::{Value, from_redis_value};

use super::element::{self, Damage, Element, Payload};
use super::foreign::{Foreign, Gathering};
use crate::batch::UnixMillis;
use crate::event::Reject;
use crate::record::{self, Header, MAGIC};

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
    /// Foreign events that were refused, and are not kept as dead letters yet.
    pub(super) rejects: Arc<[Reject]>,
    /// How many were refused and are kept.
    pub(super) refused: u64,
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

    /// All its events, those that were refused too.
    pub(super) fn events(&self) -> u64 {
        u64::from(self.header.events) + self.rejects.len() as u64 + self.refused
    }

    /// The refused events are kept as dead letters.
    pub(super) fn rejects_kept(&mut self) {
        self.refused += self.rejects.len() as u64;
        self.rejects = Arc::default();
    }

    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }
}

/// What came out of a list, sorted.
#[derive(Debug)]
pub(super) struct Sorted {
    pub(super) elements: u64,
    pub(super) bytes: u64,
    pub(super) batches: Vec<Held>,
    /// Damaged elements, with the events that were in them as far as is known.
    pub(super) damaged: Vec<(Part, u64, Damage)>,
    /// Elements that only another release can read.
    pub(super) other_version: Vec<(u64, u8)>,
    /// Foreign elements that follow each other, being gathered.
    gathering: Gathering,
    gathered: Vec<Part>,
}

impl Sorted {
    /// Sorts what a script answered, `numbers` with it. What is no element is not
    /// there any more. A foreign event may have `max_event_bytes`.
    pub(super) fn read(
        numbers: impl IntoIterator<Item = u64>,
        elements: Vec<Value>,
        max_event_bytes: usize,
    ) -> Self {
        let mut sorted = Self {
            elements: 0,
            bytes: 0,
            batches: Vec::new(),
            damaged: Vec::new(),
            other_version: Vec::new(),
            gathering: Gathering::new(max_event_bytes),
            gathered: Vec::new(),
        };
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
            Element::Record(header, payload) => {
                // What follows it stays behind it.
                self.gathered();
                let content = Content::Stored(payload);
                self.push([part].into(), header, content, Arc::default());
            }
            Element::Foreign(json) => self.gather(part, &json),
            Element::OtherVersion(version) => self.other_version.push((number, version)),
            Element::Damaged(damage) => self.set_aside(part, damage),
        }
    }

    fn set_aside(&mut self, part: Part, damage: Damage) {
        let events = damage.events.map_or(part.counted, u64::from);
        self.damaged.push((part, events, damage));
    }

    fn gather(&mut self, part: Part, json: &Bytes) {
        if self.gathering.is_full() {
            self.gathered();
        }
        self.gathered.push(part);
        self.gathering.add(json);
    }

    fn gathered(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let parts = std::mem::take(&mut self.gathered);
        let Foreign {
            header,
            block,
            rejects,
        } = self.gathering.finish(UnixMillis::now());
        self.push(parts.into(), header, Content::Block(block), rejects);
    }

    fn push(
        &mut self,
        parts: Arc<[Part]>,
        header: Header,
        content: Content,
        rejects: Arc<[Reject]>,
    ) {
        self.batches.push(Held {
            parts,
            header: header.into(),
            content: Some(content),
            attempts: 0,
            rejects,
            refused: 0,
        });
    }
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
