//! What of a window is stored and acknowledged at a time.

use bytes::Bytes;

use crate::event::Limits;
use crate::wire::lumberjack::Item;

/// Bytes of a chunk, unless `[limits]` allow less.
const CHUNK_BYTES: usize = 1 << 20;

/// Events in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) events: Vec<Bytes>,
    /// Their length as a block, in bytes.
    bytes: usize,
    /// Events that are too long: the beginning and the length.
    pub(super) overlong: Vec<(Bytes, u32)>,
    /// The sequence of the last one.
    pub(super) last: u32,
}

impl Chunk {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.overlong.is_empty()
    }

    /// Takes an event of a window; gives it back if it belongs into another chunk.
    pub(super) fn push(&mut self, item: Item, limits: &Limits) -> Result<(), Item> {
        match item {
            Item::Event { ref json, sequence } => {
                let bytes = self.bytes + json.len() + 1;
                let most = CHUNK_BYTES.min(limits.max_batch_bytes);
                let full = bytes > most || self.events.len() >= limits.max_batch_events;
                if full && !self.is_empty() {
                    return Err(item);
                }
                self.bytes = bytes;
                self.events.push(json.clone());
                self.last = sequence;
            }
            Item::Overlong {
                beginning,
                length,
                sequence,
            } => {
                self.overlong.push((beginning, length));
                self.last = sequence;
            }
            Item::Window(_) => {}
        }
        Ok(())
    }

    /// Whether it holds as much as a connection should.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= CHUNK_BYTES || !self.overlong.is_empty()
    }
}
