//! Records that were handed out and are not settled, with their sums.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cursor::Unsettled;
use super::layout::Address;
use super::reader::Loaded;
use crate::batch::UnixMillis;
use crate::record::Header;

/// A record that was handed out and is not settled.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub address: Address,
    /// Number of its events.
    pub events: u32,
    /// Length of the record.
    pub bytes: u64,
    /// When it arrived, or one shortly before it.
    pub arrived_at: UnixMillis,
    /// How often it came back with an unknown outcome.
    pub attempts: u32,
    /// `None` until somebody reads it, after a restart.
    pub header: Option<Arc<Header>>,
    /// Found unreadable while it was leased: it will not be leased again.
    pub damaged: bool,
}

impl Held {
    pub(super) fn new(record: &Loaded, arrived_at: UnixMillis) -> Self {
        Self {
            address: record.address,
            events: record.header.events,
            bytes: record.header.record_len(),
            arrived_at,
            attempts: 0,
            header: Some(record.header.clone()),
            damaged: false,
        }
    }

    pub(super) fn after_restart(record: &Unsettled) -> Self {
        Self {
            address: record.address,
            events: record.events,
            bytes: record.bytes,
            arrived_at: record.accepted_at,
            attempts: 0,
            header: None,
            damaged: false,
        }
    }

    pub(super) fn unsettled(&self, sequence: u64) -> Unsettled {
        Unsettled {
            sequence,
            address: self.address,
            events: self.events,
            bytes: self.bytes,
            accepted_at: self.arrived_at,
        }
    }
}

/// Held records by sequence. The sums are kept by the only two methods that
/// change the set.
#[derive(Debug, Default)]
pub(super) struct HeldSet {
    records: BTreeMap<u64, Held>,
    events: u64,
    bytes: u64,
}

impl HeldSet {
    pub(super) fn insert(&mut self, sequence: u64, held: Held) {
        self.events += u64::from(held.events);
        self.bytes += held.bytes;
        self.records.insert(sequence, held);
    }

    pub(super) fn remove(&mut self, sequence: u64) -> Option<Held> {
        let held = self.records.remove(&sequence)?;
        self.events -= u64::from(held.events);
        self.bytes -= held.bytes;
        Some(held)
    }

    pub(super) fn get_mut(&mut self, sequence: u64) -> Option<&mut Held> {
        self.records.get_mut(&sequence)
    }

    pub(super) fn first(&self) -> Option<(u64, &Held)> {
        self.records.first_key_value().map(|(s, held)| (*s, held))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Held)> {
        self.records.iter().map(|(s, held)| (*s, held))
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Events of all records.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Length of all records, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
