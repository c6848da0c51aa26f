//! The stamp: `@metadata._id` and `@metadata.accepted_at`, put into each event
//! when it is sent.

use crate::record::Header;

/// Stamps the events of one batch.
#[derive(Debug)]
pub struct Stamper {}

impl Stamper {
    /// `event_id`: whether `_id` is stamped too, or `accepted_at` only.
    pub fn new(header: &Header, event_id: bool) -> Self {
        let _ = (header, event_id);
        todo!("helper: event")
    }

    /// Appends the events of `block` to `out`, stamped, one a line. `block` is
    /// the payload of the record, or whole lines of it of which the first is
    /// the event at position `first` among the accepted ones.
    pub fn stamp(&self, block: &[u8], first: u32, out: &mut Vec<u8>) {
        let _ = (block, first, out);
        todo!("helper: event")
    }

    /// The stable id of the event at position `accepted` among the accepted ones.
    pub fn id(&self, accepted: u32) -> String {
        let _ = accepted;
        todo!("helper: event")
    }
}
