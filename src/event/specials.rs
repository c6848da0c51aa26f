//! Finds the bytes that matter inside a JSON string: `"`, `\` and everything
//! below 0x20.
//!
//! 64 bytes are examined at once and kept as a bit mask. Names and values in
//! log events are short, so one mask serves several strings, and where a string
//! ends costs a shift and a count instead of a loop whose length the processor
//! cannot guess.

/// Bytes behind one mask.
const WIDTH: usize = 64;

/// The mask of the bytes examined last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Specials {
    base: usize,
    /// Bit `i` is set when the byte at `base + i` is special; bits beyond the
    /// end of the input are set.
    mask: u64,
}

impl Specials {
    /// Examines the bytes from `base` on.
    #[inline(always)]
    pub(super) fn new(bytes: &[u8], base: usize) -> Self {
        let mask = examine(bytes, base);
        Self { base, mask }
    }

    /// Position of the first special byte at or after `from`; the length of
    /// `bytes` when there is none. `bytes` must be the same at every call, and
    /// `from` at most its length.
    #[inline(always)]
    pub(super) fn next(&mut self, bytes: &[u8], from: usize) -> usize {
        let offset = from.wrapping_sub(self.base);
        if offset < WIDTH {
            let rest = self.mask >> offset;
            if rest != 0 {
                return from + rest.trailing_zeros() as usize;
            }
            // No bit is set to the end of the mask, so the input goes on there.
            *self = Self::new(bytes, self.base + WIDTH);
        } else {
            *self = Self::new(bytes, from);
        }
        while self.mask == 0 {
            *self = Self::new(bytes, self.base + WIDTH);
        }
        self.base + self.mask.trailing_zeros() as usize
    }
}

#[inline]
fn examine(bytes: &[u8], from: usize) -> u64 {
    match bytes[from..].first_chunk() {
        Some(chunk) => mask(chunk),
        None => mask(&last_chunk(&bytes[from..])),
    }
}

/// Fills up with zeros, which are special: they end every search at the end of
/// the input.
#[cold]
fn last_chunk(rest: &[u8]) -> [u8; WIDTH] {
    let mut chunk = [0; WIDTH];
    chunk[..rest.len()].copy_from_slice(rest);
    chunk
}

/// Written so that the compiler makes vector instructions of the first loop.
#[inline(never)]
fn mask(chunk: &[u8; WIDTH]) -> u64 {
    let flags =
        chunk.map(|byte| u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\'));
    let (words, _) = flags.as_chunks::<8>();
    let mut mask = 0;
    for (i, word) in words.iter().enumerate() {
        // Gathers the lowest bit of each of the eight bytes in the topmost byte.
        let bits = u64::from_le_bytes(*word).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= bits << (8 * i);
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_special(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }

    #[test]
    fn every_byte_at_every_place_is_judged_right() {
        for byte in 0..=255 {
            for place in 0..WIDTH {
                for around in [b'a', 0xFF, 0x20, 0x21] {
                    let mut chunk = [around; WIDTH];
                    chunk[place] = byte;
                    let expected = u64::from(is_special(byte)) << place;
                    assert_eq!(mask(&chunk), expected, "{byte:#x} at {place}");
                }
            }
        }
    }

    #[test]
    fn a_search_finds_what_a_plain_loop_finds() {
        for len in 0..300 {
            let bytes: Vec<u8> = (0..len)
                .map(|i| if i * i % 71 == 3 { b'"' } else { b'x' })
                .collect();
            let mut specials = Specials::new(&bytes, 0);
            for from in 0..=len {
                let plain = (from..len).find(|&i| is_special(bytes[i])).unwrap_or(len);
                assert_eq!(specials.next(&bytes, from), plain, "{from} of {len}");
            }
        }
    }
}
