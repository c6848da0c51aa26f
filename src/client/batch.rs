//! A batch on the client's side.

use bytes::Bytes;
use memchr::memchr;

use crate::batch::BatchId;

/// Events that are sent, answered and sent again together, under one id.
///
/// A clone shares the bytes and has the same id: sending it a second time does
/// not make its events appear twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    id: Bytes,
    ndjson: Bytes,
    events: u32,
}

impl Batch {
    /// A batch under a new id, a UUIDv7. `ndjson`: one JSON object a line; a
    /// line may end in `\n` or `\r\n`; blank lines are no events.
    pub fn new(ndjson: impl Into<Bytes>) -> Self {
        Self::with_id(BatchId::generate(), ndjson)
    }

    /// A batch under an id of the caller's own. Whoever keeps id and bytes
    /// somewhere safe can send the batch again even after a crash of its own:
    /// the same id with the same bytes gives the same events.
    pub fn with_id(id: BatchId, ndjson: impl Into<Bytes>) -> Self {
        let ndjson = ndjson.into();
        let events = events(&ndjson).count() as u32;
        Self {
            id: Bytes::copy_from_slice(id.as_bytes()),
            ndjson,
            events,
        }
    }

    /// The id under which it is sent, the first time and every other.
    pub fn id(&self) -> &Bytes {
        &self.id
    }

    /// The bytes as they are sent.
    pub fn ndjson(&self) -> &Bytes {
        &self.ndjson
    }

    /// How many events it holds.
    pub fn events(&self) -> u32 {
        self.events
    }

    /// The event at `index`, as in [`Rejected::index`](super::Rejected).
    pub fn event(&self, index: u32) -> Option<&[u8]> {
        events(&self.ndjson).nth(index as usize)
    }
}

/// The lines that are not blank, without their line ends.
fn events(ndjson: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines(ndjson)
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !is_blank(line))
}

fn lines(ndjson: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = ndjson;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, after) = match memchr(b'\n', rest) {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = after;
        Some(line)
    })
}

/// Whether there is nothing but JSON's white space.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    line.iter()
        .all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_no_events() {
        let batch = Batch::new("{\"a\":1}\r\n\n  \n{\"a\":2}");
        assert_eq!(batch.events(), 2);
        assert_eq!(batch.event(0), Some(&b"{\"a\":1}"[..]));
        assert_eq!(batch.event(1), Some(&b"{\"a\":2}"[..]));
        assert_eq!(batch.event(2), None);
    }

    #[test]
    fn two_batches_of_the_same_events_have_two_ids() {
        assert_ne!(Batch::new("{}\n").id(), Batch::new("{}\n").id());
    }
}
