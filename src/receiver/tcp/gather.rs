//! Gathers lines into chunks, without I/O and without copying: a chunk is the
//! piece of the read buffer up to a line end.
//!
//! A chunk has at most [`Bounds::lines`] lines and [`Bounds::bytes`] bytes, but at
//! least one line. A line longer than [`Bounds::line`] is given as its beginning
//! and its length. At most a chunk, a longest line and one read are in memory.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memchr_iter, memrchr};

/// Room for a read when the connection has not sent a chunk yet, in bytes.
const FIRST_READ: usize = 8 << 10;
/// With less room left than this, reading goes on in a new buffer.
const LEAST_READ: usize = 4 << 10;

/// What a chunk may measure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Most lines.
    pub(super) lines: usize,
    /// Most bytes; a single line may be longer.
    pub(super) bytes: usize,
    /// Longest line without its line end, in bytes.
    pub(super) line: usize,
}

/// A piece of what a connection sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Whole lines; the last one of a connection may lack its line end.
    Lines(Bytes),
    /// A line that is too long.
    Overlong {
        /// Its first [`Bounds::line`] bytes.
        beginning: Bytes,
        /// How long it is, in bytes, line end excluded.
        length: u64,
    },
}

impl Chunk {
    /// How many bytes it holds.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Lines(bytes)
            | Self::Overlong {
                beginning: bytes, ..
            } => bytes.len(),
        }
    }
}

/// The read buffer of a connection.
#[derive(Debug)]
pub(super) struct Gather {
    bounds: Bounds,
    buffer: BytesMut,
    /// How many bytes of the buffer were searched for line ends.
    searched: usize,
    /// How many whole lines the buffer has.
    lines: usize,
    /// Where the last of them ends.
    end: usize,
    /// An overlong line whose end has not come yet.
    overlong: Option<(Bytes, u64)>,
    /// An overlong line that ended.
    passed_over: Option<(Bytes, u64)>,
    /// Length of the last chunk, which the next one is likely to have.
    usual: usize,
}

impl Gather {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            buffer: BytesMut::new(),
            searched: 0,
            lines: 0,
            end: 0,
            overlong: None,
            passed_over: None,
            usual: FIRST_READ,
        }
    }

    /// What chunks may measure from now on.
    pub(super) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Where to read to; call [`Gather::received`] afterwards.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < LEAST_READ {
            self.buffer.reserve(self.usual);
        }
        &mut self.buffer
    }

    /// Looks at what was read.
    pub(super) fn received(&mut self) {
        if self.overlong.is_some() {
            self.pass_over();
        }
        let fresh = &self.buffer[self.searched..];
        if let Some(last) = memrchr(b'\n', fresh) {
            self.lines += memchr_iter(b'\n', &fresh[..=last]).count();
            self.end = self.searched + last + 1;
        }
        self.searched = self.buffer.len();
    }

    /// Whether there is a whole line.
    pub(super) fn has_lines(&self) -> bool {
        self.lines > 0
    }

    /// A chunk that need not wait for more.
    pub(super) fn full(&mut self) -> Option<Chunk> {
        if let Some((beginning, length)) = self.passed_over.take() {
            return Some(Chunk::Overlong { beginning, length });
        }
        let partial = self.buffer.len() - self.end;
        let overlong = partial > self.longest();
        if overlong && self.lines == 0 {
            self.begin_overlong();
            return None;
        }
        let full = self.lines >= self.bounds.lines || self.end >= self.bounds.bytes;
        if full || overlong { self.cut() } else { None }
    }

    /// The oldest lines, as many as a chunk takes.
    pub(super) fn cut(&mut self) -> Option<Chunk> {
        if self.lines == 0 {
            return None;
        }
        let first = memchr(b'\n', &self.buffer)?;
        if first > self.longest() {
            let beginning = self.split(first + 1).slice(..self.bounds.line);
            let length = first as u64;
            return Some(Chunk::Overlong { beginning, length });
        }
        let end = self.chunk_end(first + 1);
        self.usual = end.max(FIRST_READ);
        Some(Chunk::Lines(self.split(end)))
    }

    /// What is left when nothing more comes and [`Gather::cut`] gave everything:
    /// a last line without a line end.
    pub(super) fn last(&mut self) -> Option<Chunk> {
        if let Some((beginning, length)) = self.overlong.take() {
            return Some(Chunk::Overlong { beginning, length });
        }
        let line = self.split(self.buffer.len());
        (!line.is_empty()).then_some(Chunk::Lines(line))
    }

    /// A line may have a carriage return beyond its length.
    fn longest(&self) -> usize {
        self.bounds.line + 1
    }

    /// Where the chunk ends that begins with a line of `first` bytes.
    fn chunk_end(&self, first: usize) -> usize {
        let mut end = self.end;
        if self.lines > self.bounds.lines {
            let last = memchr_iter(b'\n', &self.buffer).nth(self.bounds.lines - 1);
            end = last.map_or(end, |last| last + 1);
        }
        if end > self.bounds.bytes {
            let last = memrchr(b'\n', &self.buffer[..self.bounds.bytes]);
            end = last.map_or(first, |last| last + 1);
        }
        end
    }

    fn split(&mut self, end: usize) -> Bytes {
        let piece = self.buffer.split_to(end).freeze();
        if end == self.end {
            self.lines = 0;
        } else {
            self.lines -= memchr_iter(b'\n', &piece).count();
        }
        self.end -= end.min(self.end);
        self.searched -= end;
        piece
    }

    fn begin_overlong(&mut self) {
        let beginning = self.split(self.buffer.len());
        let length = beginning.len() as u64;
        self.overlong = Some((beginning.slice(..self.bounds.line), length));
    }

    /// Drops what was read of an overlong line, up to its line end.
    fn pass_over(&mut self) {
        let Some((beginning, length)) = self.overlong.take() else {
            return;
        };
        let found = memchr(b'\n', &self.buffer);
        let until = found.unwrap_or(self.buffer.len());
        let overlong = (beginning, length + until as u64);
        self.buffer.advance(until);
        if found.is_some() {
            self.buffer.advance(1);
            self.passed_over = Some(overlong);
        } else {
            self.overlong = Some(overlong);
        }
    }
}

#[cfg(test)]
mod tests;
