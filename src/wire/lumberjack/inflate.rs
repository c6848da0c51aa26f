//! A compressed frame, taken apart as it arrives.

use bytes::{Buf, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};

use super::DecodeError;

/// How much is decompressed at a time: the frames in it are dealt with before any
/// more, so that a small frame cannot become much memory.
const STEP: usize = 32 << 10;

#[derive(Debug)]
pub(super) struct Inflate {
    stream: Decompress,
    /// Bytes of the compressed frame that have not come yet.
    left: usize,
    /// All of it is decompressed.
    over: bool,
    /// Decompressed, and not looked at yet.
    pub(super) plain: BytesMut,
}

impl Inflate {
    pub(super) fn new() -> Self {
        Self {
            stream: Decompress::new(true),
            left: 0,
            over: false,
            plain: BytesMut::new(),
        }
    }

    /// A compressed frame of `len` bytes begins.
    pub(super) fn begin(&mut self, len: usize) {
        self.stream.reset(true);
        self.left = len;
        self.over = false;
        self.plain.clear();
    }

    /// Whether there is nothing more to decompress.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Decompresses a little of what is at the beginning of `input`. False: more of
    /// the frame has to come first.
    pub(super) fn step(&mut self, input: &mut BytesMut) -> Result<bool, DecodeError> {
        let given = input.len().min(self.left);
        let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
        let start = self.plain.len();
        self.plain.resize(start + STEP, 0);
        let status = self.stream.decompress(
            &input[..given],
            &mut self.plain[start..],
            FlushDecompress::None,
        );
        let taken = (self.stream.total_in() - before_in) as usize;
        let made = (self.stream.total_out() - before_out) as usize;
        self.plain.truncate(start + made);
        input.advance(taken);
        self.left -= taken;
        match status.map_err(|_| DecodeError::Corrupt)? {
            Status::StreamEnd if self.left > 0 => return Err(DecodeError::Corrupt),
            Status::StreamEnd => self.over = true,
            _ if taken > 0 || made > 0 => {}
            _ if given > 0 || self.left == 0 => return Err(DecodeError::Corrupt),
            _ => return Ok(false),
        }
        Ok(true)
    }
}
