//! Counts events by their number, and looks whether one that comes twice has
//! the same id.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use memchr::memmem::Finder;
use memchr::{memchr, memrchr};
use xxhash_rust::xxh3::xxh3_64;

const READ_BYTES: usize = 256 << 10;

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Received {
    /// Different events.
    pub(in super::super) distinct: u64,
    /// Arrivals of events that were there before, under the same id.
    pub(in super::super) duplicates: u64,
    /// The same under another id.
    pub(in super::super) renamed: u64,
    /// Lines that are no event of the demo's.
    pub(in super::super) strange: u64,
}

/// The count of all connections.
pub(super) struct Counter {
    /// A hash of each event's id; 0 until it arrives.
    ids: Vec<AtomicU32>,
    distinct: AtomicU64,
    duplicates: AtomicU64,
    renamed: AtomicU64,
    strange: AtomicU64,
    number: Finder<'static>,
    id: Finder<'static>,
}

impl Counter {
    pub(super) fn new(events: u64) -> Self {
        Self {
            ids: (0..events).map(|_| AtomicU32::new(0)).collect(),
            distinct: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            renamed: AtomicU64::new(0),
            strange: AtomicU64::new(0),
            number: Finder::new("\"sequence\":"),
            id: Finder::new("\"_id\":\""),
        }
    }

    pub(super) fn received(&self) -> Received {
        Received {
            distinct: self.distinct.load(Relaxed),
            duplicates: self.duplicates.load(Relaxed),
            renamed: self.renamed.load(Relaxed),
            strange: self.strange.load(Relaxed),
        }
    }

    fn count(&self, line: &[u8]) {
        let sum = match self.place(line) {
            None => &self.strange,
            Some((place, id)) => match place.compare_exchange(0, id, Relaxed, Relaxed) {
                Ok(_) => &self.distinct,
                Err(known) if known == id => &self.duplicates,
                Err(_) => &self.renamed,
            },
        };
        sum.fetch_add(1, Relaxed);
    }

    /// The event's place in the list, and the hash of its id.
    fn place(&self, line: &[u8]) -> Option<(&AtomicU32, u32)> {
        let number = after(&self.number, line)?;
        let digits = number.iter().take_while(|b| b.is_ascii_digit());
        let number = digits.fold(0_usize, |n, digit| {
            n.saturating_mul(10)
                .saturating_add(usize::from(digit - b'0'))
        });
        let id = after(&self.id, line)?;
        let id = &id[..memchr(b'"', id)?];
        // 0 says "not arrived".
        Some((self.ids.get(number)?, (xxh3_64(id) as u32).max(1)))
    }
}

fn after<'l>(name: &Finder<'_>, line: &'l [u8]) -> Option<&'l [u8]> {
    let at = name.find(line)?;
    Some(&line[at + name.needle().len()..])
}

/// The bytes of one connection, until they are whole lines.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Where to read to.
    pub(super) fn room(&mut self) -> &mut Vec<u8> {
        self.0.reserve(READ_BYTES);
        &mut self.0
    }

    /// Counts the whole lines.
    pub(super) fn take(&mut self, counter: &Counter) {
        let Some(end) = memrchr(b'\n', &self.0) else {
            return;
        };
        for line in self.0[..end].split(|b| *b == b'\n') {
            counter.count(line);
        }
        self.0.drain(..=end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, id: &str) -> String {
        format!("{{\"@metadata\":{{\"_id\":\"{id}\"}},\"sequence\":{number},\"x\":1}}\n")
    }

    #[test]
    fn events_are_counted_by_number_and_id_however_they_are_cut() {
        let text = [
            line(0, "a"),
            line(1, "b"),
            line(1, "b"),
            line(1, "c"),
            line(7, "d"),
            "junk\n".into(),
        ]
        .concat();
        let counter = Counter::new(3);
        let mut lines = Lines::default();
        for piece in text.as_bytes().chunks(7) {
            lines.room().extend_from_slice(piece);
            lines.take(&counter);
        }
        let received = Received {
            distinct: 2,
            duplicates: 1,
            renamed: 1,
            strange: 2,
        };
        assert_eq!(counter.received(), received);
    }
}
