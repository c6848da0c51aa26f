//! Undoes a body's `Content-Encoding` piece by piece: whatever a body says it becomes,
//! no more than a piece of it is there at a time.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::receiver::http::decode::{Encoding, ZSTD_WINDOW_LOG};
use crate::receiver::reply::Refusal;

/// 32 KiB, the only window that gzip has.
const GZIP_WINDOW_BITS: u8 = 15;

/// Memory that a decompression of a kind takes, and a little more.
const GZIP_BYTES: usize = 64 << 10;
const ZSTD_BYTES: usize = (1 << ZSTD_WINDOW_LOG) + (256 << 10);

/// What is being decompressed.
pub(super) struct Inflate {
    kind: Kind,
    /// Whether the body may end here: it does between members or frames.
    whole: bool,
}

enum Kind {
    Plain,
    Gzip(Decompress),
    /// Made with the first bytes, since that may fail.
    Zstd(Option<Decoder<'static>>),
}

impl Inflate {
    pub(super) fn new(encoding: Option<Encoding>) -> Self {
        let kind = match encoding {
            None => Kind::Plain,
            Some(Encoding::Gzip) => Kind::Gzip(Decompress::new_gzip(GZIP_WINDOW_BITS)),
            Some(Encoding::Zstd) => Kind::Zstd(None),
        };
        Self {
            whole: matches!(kind, Kind::Plain),
            kind,
        }
    }

    /// Takes from `input`, and fills `piece` as far as that goes; `None` when all of
    /// `input` was taken and nothing is left to give.
    pub(super) fn read(
        &mut self,
        input: &mut &[u8],
        piece: &mut [u8],
    ) -> Result<Option<usize>, Refusal> {
        loop {
            let before = input.len();
            let len = self.step(input, piece).map_err(unreadable)?;
            if len > 0 {
                return Ok(Some(len));
            }
            if input.is_empty() {
                return Ok(None);
            }
            if input.len() == before {
                return Err(unreadable("the decompression makes no progress"));
            }
        }
    }

    /// How many bytes are in memory.
    pub(super) fn held(&self) -> usize {
        match self.kind {
            Kind::Plain | Kind::Zstd(None) => 0,
            Kind::Gzip(_) => GZIP_BYTES,
            Kind::Zstd(Some(_)) => ZSTD_BYTES,
        }
    }

    /// The body is over.
    pub(super) fn finish(&self) -> Result<(), Refusal> {
        match self.whole {
            true => Ok(()),
            false => Err(unreadable("it ends before its compression does")),
        }
    }

    fn step(&mut self, input: &mut &[u8], piece: &mut [u8]) -> io::Result<usize> {
        match &mut self.kind {
            Kind::Plain => {
                let len = input.len().min(piece.len());
                let (taken, rest) = input.split_at(len);
                piece[..len].copy_from_slice(taken);
                *input = rest;
                Ok(len)
            }
            Kind::Gzip(decompress) => {
                if self.whole && input.is_empty() {
                    return Ok(0);
                }
                if self.whole {
                    // Another member.
                    *decompress = Decompress::new_gzip(GZIP_WINDOW_BITS);
                }
                let (taken, given) = (decompress.total_in(), decompress.total_out());
                let status = decompress.decompress(input, piece, FlushDecompress::None)?;
                self.whole = status == Status::StreamEnd;
                *input = &input[(decompress.total_in() - taken) as usize..];
                Ok((decompress.total_out() - given) as usize)
            }
            Kind::Zstd(decoder) => {
                if self.whole && input.is_empty() {
                    return Ok(0);
                }
                let decoder = match decoder {
                    Some(decoder) => decoder,
                    None => decoder.insert(zstd()?),
                };
                let mut from = InBuffer::around(input);
                let mut to = OutBuffer::around(piece);
                self.whole = decoder.run(&mut from, &mut to)? == 0;
                let (taken, given) = (from.pos(), to.pos());
                *input = &input[taken..];
                Ok(given)
            }
        }
    }
}

fn zstd() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
    Ok(decoder)
}

fn unreadable(why: impl ToString) -> Refusal {
    Refusal::Undecodable(why.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("compresses");
        encoder.finish().expect("compresses")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).expect("compresses")
    }

    /// What `body` becomes when it arrives in chunks of `chunk` bytes.
    fn read(encoding: Option<Encoding>, body: &[u8], chunk: usize) -> Result<Vec<u8>, Refusal> {
        let mut inflate = Inflate::new(encoding);
        let mut out = Vec::new();
        let mut piece = [0; 100];
        for mut chunk in body.chunks(chunk) {
            while let Some(len) = inflate.read(&mut chunk, &mut piece)? {
                out.extend_from_slice(&piece[..len]);
            }
        }
        inflate.finish().map(|()| out)
    }

    #[test]
    fn a_body_is_the_same_however_it_arrives() {
        let text = b"{\"a\":1}\n".repeat(500);
        let (first, second) = text.split_at(1001);
        for (encoding, body) in [
            (None, text.clone()),
            (Some(Encoding::Gzip), gzip(&text)),
            (Some(Encoding::Zstd), zstd(&text)),
            (
                Some(Encoding::Gzip),
                [gzip(first), gzip(b""), gzip(second)].concat(),
            ),
            (
                Some(Encoding::Zstd),
                [zstd(first), zstd(b""), zstd(second)].concat(),
            ),
        ] {
            for chunk in [1, 7, 100, usize::MAX] {
                let read = read(encoding, &body, chunk).expect("decompresses");
                assert!(read == text, "{encoding:?} in chunks of {chunk}");
            }
        }
    }

    #[test]
    fn a_body_cut_short_or_damaged_is_not_taken_for_a_whole_one() {
        let text = b"{\"a\":1}\n".repeat(50);
        for (encoding, whole) in [(Encoding::Gzip, gzip(&text)), (Encoding::Zstd, zstd(&text))] {
            for cut in 0..whole.len() {
                let cut = read(Some(encoding), &whole[..cut], 7);
                assert!(cut.is_err(), "{encoding:?}: {cut:?}");
            }
            let trailing = [&whole[..], b"x"].concat();
            assert!(read(Some(encoding), &trailing, 7).is_err());
        }
        let mut damaged = gzip(&text);
        let sum = damaged.len() - 8;
        damaged[sum] ^= 1;
        assert!(read(Some(Encoding::Gzip), &damaged, 7).is_err());
    }

    #[test]
    fn a_bomb_takes_a_window_and_a_piece_of_memory() {
        let zeros = vec![0; 64 << 20];
        for (encoding, bomb) in [
            (Encoding::Gzip, gzip(&zeros)),
            (Encoding::Zstd, zstd(&zeros)),
        ] {
            let mut piece = vec![0; 1 << 16];
            let mut len = 0;
            let counted = allocation_counter::measure(|| {
                let mut inflate = Inflate::new(Some(encoding));
                let mut bomb = &bomb[..];
                while let Some(read) = inflate.read(&mut bomb, &mut piece).expect("reads") {
                    len += read;
                }
            });
            assert_eq!(len, zeros.len());
            assert!(counted.bytes_max < 1 << 20, "{encoding:?}: {counted:?}");
        }
    }
}
