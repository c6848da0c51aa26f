//! The client's writing side: a block of lines becomes a window.

use flate2::{Compress, Compression, FlushCompress, Status};
use memchr::{memchr, memchr_iter, memrchr};

use super::{COMPRESSED, EVENT, LONG, SHORT, VERSION, short, window};

/// Room that is made for compressed bytes, step by step.
const STEP: usize = 32 << 10;

/// How many bytes of `lines` (whole lines, each with its `\n`) make the next
/// window: at most `events` lines and `bytes` bytes, but at least one line.
pub fn window_len(lines: &[u8], events: usize, bytes: usize) -> usize {
    let last = memchr_iter(b'\n', lines).nth(events.saturating_sub(1));
    let len = last.map_or(lines.len(), |last| last + 1);
    if len <= bytes {
        return len;
    }
    let end = memrchr(b'\n', &lines[..bytes]).or_else(|| memchr(b'\n', lines));
    end.map_or(len, |end| end + 1)
}

/// Makes windows. Allocates nothing for an event, and little for a window: what it
/// needs it keeps.
#[derive(Debug)]
pub struct Encoder {
    deflate: Option<Compress>,
    /// The frames before they are compressed.
    plain: Vec<u8>,
}

impl Encoder {
    /// `level`: of zlib, 1 (quick) to 9 (small); 0: not compressed.
    pub fn new(level: u32) -> Self {
        let compression = Compression::new(level.min(9));
        Self {
            deflate: (level > 0).then(|| Compress::new(compression, true)),
            plain: Vec::new(),
        }
    }

    /// Appends the events in `lines`, one each, all ended by `\n`, to `out` as one
    /// window with the sequences 1, 2, 3 and so on. Returns how many they are.
    pub fn window(&mut self, lines: &[u8], out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        out.extend_from_slice(&window(0));
        let count = match &mut self.deflate {
            None => put_events(lines, out),
            Some(deflate) => {
                self.plain.clear();
                let count = put_events(lines, &mut self.plain);
                put_compressed(deflate, &self.plain, out);
                count
            }
        };
        out[start..start + SHORT].copy_from_slice(&window(count));
        count
    }

    /// Gives back memory beyond `bytes`, which a large window took.
    pub fn shrink_to(&mut self, bytes: usize) {
        self.plain.clear();
        self.plain.shrink_to(bytes);
    }
}

/// How many events are whole in `frames`, the beginning of one window. Those of a
/// compressed frame are whole when all of it is.
pub fn whole_events(frames: &[u8]) -> u32 {
    let number = |at: usize| -> Option<u32> {
        let bytes = frames.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    let (mut at, mut whole) = (SHORT, 0);
    loop {
        let (end, covered) = match frames.get(at + 1) {
            Some(&EVENT) => match (number(at + 2), number(at + 6)) {
                (Some(sequence), Some(len)) => (at + LONG + len as usize, sequence),
                _ => return whole,
            },
            // A compressed frame holds all of its window.
            Some(&COMPRESSED) => match (number(2), number(at + 2)) {
                (Some(count), Some(len)) => (at + SHORT + len as usize, count),
                _ => return whole,
            },
            _ => return whole,
        };
        if end > frames.len() {
            return whole;
        }
        (at, whole) = (end, covered);
    }
}

fn put_events(lines: &[u8], out: &mut Vec<u8>) -> u32 {
    // Exact for events of 160 bytes; for shorter ones it grows.
    out.reserve(lines.len() + lines.len() / 16 + LONG);
    let mut sequence = 0;
    let mut start = 0;
    for end in memchr_iter(b'\n', lines) {
        sequence += 1;
        let json = &lines[start..end];
        out.extend_from_slice(&event_header(sequence, json.len()));
        out.extend_from_slice(json);
        start = end + 1;
    }
    sequence
}

fn event_header(sequence: u32, len: usize) -> [u8; LONG] {
    let len = u32::try_from(len).expect("invariant: an event is shorter than a record");
    let mut header = [VERSION, EVENT, 0, 0, 0, 0, 0, 0, 0, 0];
    header[2..6].copy_from_slice(&sequence.to_be_bytes());
    header[6..].copy_from_slice(&len.to_be_bytes());
    header
}

fn put_compressed(deflate: &mut Compress, plain: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&short(COMPRESSED, 0));
    deflate.reset();
    loop {
        out.reserve(STEP);
        let rest = &plain[deflate.total_in() as usize..];
        let status = deflate.compress_vec(rest, out, FlushCompress::Finish);
        if status.expect("invariant: deflate takes any bytes") == Status::StreamEnd {
            break;
        }
    }
    let len = u32::try_from(out.len() - start - SHORT)
        .expect("invariant: a window is far shorter than 4 GiB");
    out[start..start + SHORT].copy_from_slice(&short(COMPRESSED, len));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_count_and_a_frame_for_each_line() {
        let mut out = Vec::new();
        assert_eq!(Encoder::new(0).window(b"{}\n{\"a\":1}\n", &mut out), 2);
        let expected = b"2W\0\0\0\x02\
            2J\0\0\0\x01\0\0\0\x02{}\
            2J\0\0\0\x02\0\0\0\x07{\"a\":1}";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_compressed_window_is_a_count_and_one_compressed_frame() {
        let mut out = Vec::new();
        Encoder::new(3).window(b"{}\n{}\n", &mut out);
        assert_eq!(out[..8], *b"2W\0\0\0\x022C");
        let len = u32::from_be_bytes(out[8..12].try_into().expect("four bytes"));
        assert_eq!(out.len(), 12 + len as usize);
    }

    #[test]
    fn an_event_is_whole_with_the_last_byte_of_its_frame() {
        for (level, first) in [(0, 18), (3, usize::MAX)] {
            let mut out = Vec::new();
            Encoder::new(level).window(b"{}\n{\"a\":1}\n", &mut out);
            for end in 0..out.len() {
                assert_eq!(whole_events(&out[..end]), u32::from(end >= first), "{end}");
            }
            assert_eq!(whole_events(&out), 2);
        }
    }

    #[test]
    fn a_window_has_whole_lines_and_one_at_least() {
        let lines = b"{1}\n{2}\n{3}\n";
        assert_eq!(window_len(lines, 2, 100), 8);
        assert_eq!(window_len(lines, 9, 100), 12);
        assert_eq!(window_len(lines, 9, 11), 8);
        assert_eq!(window_len(lines, 9, 1), 4);
        assert_eq!(window_len(lines, 0, 1), 4);
        assert_eq!(window_len(b"", 1, 1), 0);
    }
}
