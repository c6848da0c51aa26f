//! Lines into batches, with their numbers.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Batch, is_blank};

/// How long a line waits for others: input may come drop by drop.
const AGE: Duration = Duration::from_millis(50);

/// A batch, and the line of the input that each of its events stood in.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) batch: Batch,
    /// 1-based.
    pub(super) lines: Vec<u64>,
}

/// Puts batches together.
#[derive(Debug)]
pub(super) struct Batches {
    most_events: usize,
    most_bytes: usize,
    line: u64,
    block: Vec<u8>,
    lines: Vec<u64>,
    opened: Option<Instant>,
}

impl Batches {
    pub(super) fn new(most_events: usize, most_bytes: usize) -> Self {
        Self {
            most_events,
            most_bytes,
            line: 0,
            block: Vec::new(),
            lines: Vec::new(),
            opened: None,
        }
    }

    /// Takes the next line, with or without its line end. Returns a batch that
    /// has no room for it.
    pub(super) fn add(&mut self, line: &[u8]) -> Option<Numbered> {
        self.line += 1;
        if is_blank(line) {
            return None;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let fits = self.block.len() + line.len() < self.most_bytes;
        let full = (self.lines.len() >= self.most_events || !fits).then(|| self.take());
        self.block.extend_from_slice(line);
        self.block.push(b'\n');
        self.lines.push(self.line);
        self.opened.get_or_insert_with(Instant::now);
        full.flatten()
    }

    /// Counts a line that is not sent; its number.
    pub(super) fn skip(&mut self) -> u64 {
        self.line += 1;
        self.line
    }

    /// What was gathered, if anything.
    pub(super) fn take(&mut self) -> Option<Numbered> {
        self.opened = None;
        if self.lines.is_empty() {
            return None;
        }
        let next = Vec::with_capacity(self.block.len());
        let block = std::mem::replace(&mut self.block, next);
        Some(Numbered {
            batch: Batch::new(block),
            lines: std::mem::take(&mut self.lines),
        })
    }

    /// When what was gathered is to be sent at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.opened.map(|opened| opened + AGE)
    }

    /// Lines so far.
    pub(super) fn lines(&self) -> u64 {
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_not_sent_and_keep_their_numbers() {
        let mut batches = Batches::new(10, 1_000);
        for line in ["{\"a\":1}\r\n", "\r\n", "  \n", "{\"a\":2}"] {
            assert!(batches.add(line.as_bytes()).is_none());
        }
        let numbered = batches.take().expect("two events");
        assert_eq!(numbered.lines, [1, 4]);
        assert_eq!(numbered.batch.events(), 2);
        assert!(batches.take().is_none());
    }

    #[test]
    fn a_batch_ends_at_its_events_or_bytes() {
        let mut by_events = Batches::new(2, 1_000);
        assert!(by_events.add(b"{}\n").is_none());
        assert!(by_events.add(b"{}\n").is_none());
        let full = by_events.add(b"{}\n").expect("two are enough");
        assert_eq!(full.lines, [1, 2]);

        let mut by_bytes = Batches::new(100, 6);
        assert!(by_bytes.add(b"{}\n").is_none());
        assert!(by_bytes.add(b"{}\n").is_none());
        let full = by_bytes.add(b"{\"longer\":\"than a batch\"}\n");
        assert_eq!(full.expect("six bytes").lines, [1, 2]);
        let long = by_bytes.add(b"{}\n").expect("it goes alone");
        assert_eq!(long.lines, [3]);
    }
}
