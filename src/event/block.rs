//! The block that is put together from the accepted events.

use std::ops::Range;

use bytes::Bytes;

/// Puts a block together from lines of the input. As long as they follow each
/// other in the input untouched they are only counted, so that an input
/// without faults is given back as it came; else they are copied.
#[derive(Debug)]
pub(super) struct Block<'a> {
    input: &'a Bytes,
    /// Accepted as it came, not copied yet.
    untouched: Range<usize>,
    copied: Vec<u8>,
    /// The most bytes the block can have.
    capacity: usize,
}

impl<'a> Block<'a> {
    /// A block that will have at most `capacity` bytes.
    pub(super) fn new(input: &'a Bytes, capacity: usize) -> Self {
        Self {
            input,
            untouched: 0..0,
            copied: Vec::new(),
            capacity,
        }
    }

    /// Adds a line of the input as it is, its `\n` included.
    #[inline]
    pub(super) fn keep(&mut self, line: Range<usize>) {
        if self.untouched.end != line.start {
            self.flush();
            self.untouched.start = line.start;
        }
        self.untouched.end = line.end;
    }

    /// Where to append a line that is not kept as it is.
    pub(super) fn copy(&mut self) -> &mut Vec<u8> {
        self.flush();
        if self.copied.capacity() == 0 {
            self.copied.reserve_exact(self.capacity);
        }
        &mut self.copied
    }

    fn flush(&mut self) {
        let untouched = std::mem::take(&mut self.untouched);
        if untouched.is_empty() {
            return;
        }
        if self.copied.capacity() == 0 {
            self.copied.reserve_exact(self.capacity);
        }
        self.copied.extend_from_slice(&self.input[untouched]);
    }

    pub(super) fn finish(mut self) -> Bytes {
        if self.copied.is_empty() && self.untouched == (0..self.input.len()) {
            return self.input.clone();
        }
        self.flush();
        Bytes::from(self.copied)
    }
}
