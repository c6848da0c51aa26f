//! What tells one batch of a queue from all others, however often it is leased.

use crate::batch::BatchId;
use crate::record::Header;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    id: BatchId,
    sequence: u64,
    payload_hash: u64,
    /// The same bytes sent again under other limits may be other events.
    events: u32,
}

impl Key {
    pub(super) fn of(header: &Header) -> Self {
        Self {
            id: header.id,
            sequence: header.place.sequence,
            payload_hash: header.payload_hash,
            events: header.events,
        }
    }
}
