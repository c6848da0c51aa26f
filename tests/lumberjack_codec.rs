//! The lumberjack codec: whatever goes in comes out, in whatever pieces it travels,
//! and nothing from outside breaks it or makes it hold more than it may.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use stashgate::wire::lumberjack::{Acks, DecodeError, Decoder, Encoder, Item, ack, window_len};

const LONGEST: usize = 64;

/// Feeds `bytes` in pieces of the given lengths, over and over.
fn decode(bytes: &[u8], pieces: &[usize], longest: usize) -> Result<Vec<Item>, DecodeError> {
    let mut decoder = Decoder::new(longest);
    let mut items = Vec::new();
    let mut pieces = pieces.iter().cycle();
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = (*pieces.next().expect("endless")).min(rest.len());
        decoder.buffer().extend_from_slice(&rest[..len]);
        rest = &rest[len..];
        while let Some(item) = decoder.item()? {
            items.push(item);
        }
        assert!(
            decoder.buffer().len() <= longest + 10 + len,
            "it holds too much"
        );
    }
    assert_eq!(decoder.events_left(), 0);
    assert!(decoder.is_between_windows());
    Ok(items)
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    vec(
        any::<u8>().prop_filter("no line end", |b| *b != b'\n'),
        0..LONGEST * 2,
    )
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    vec(1..200_usize, 1..8)
}

fn expected(lines: &[Vec<u8>]) -> Vec<Item> {
    let events = lines
        .iter()
        .zip(1..)
        .map(|(line, sequence)| match line.len() {
            ..=LONGEST => Item::Event {
                sequence,
                json: Bytes::copy_from_slice(line),
            },
            length => Item::Overlong {
                sequence,
                beginning: Bytes::copy_from_slice(&line[..LONGEST]),
                length: length as u32,
            },
        });
    std::iter::once(Item::Window(lines.len() as u32))
        .chain(events)
        .collect()
}

fn block(lines: &[Vec<u8>]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [&line[..], b"\n"].concat())
        .collect()
}

proptest! {
    #[test]
    fn a_window_is_read_as_it_was_written(
        windows in vec(vec(line(), 1..20), 1..4), level in 0..=9_u32, pieces in pieces()
    ) {
        let mut encoder = Encoder::new(level);
        let mut bytes = Vec::new();
        for lines in &windows {
            prop_assert_eq!(encoder.window(&block(lines), &mut bytes), lines.len() as u32);
        }
        let all: Vec<_> = windows.iter().flat_map(|lines| expected(lines)).collect();
        prop_assert_eq!(decode(&bytes, &pieces, LONGEST), Ok(all));
    }

    #[test]
    fn windows_cover_a_block_and_keep_their_bounds(
        lines in vec(line(), 1..40), events in 1..10_usize, bytes in 1..400_usize
    ) {
        let block = block(&lines);
        let (mut rest, mut count) = (&block[..], 0);
        while !rest.is_empty() {
            let (window, behind) = rest.split_at(window_len(rest, events, bytes));
            let len = window.iter().filter(|b| **b == b'\n').count();
            prop_assert!(window.ends_with(b"\n") && len <= events);
            prop_assert!(len == 1 || window.len() <= bytes);
            (rest, count) = (behind, count + len);
        }
        prop_assert_eq!(count, lines.len());
    }

    #[test]
    fn acks_are_read_as_they_were_written(sequences in vec(any::<u32>(), 0..20), pieces in pieces()) {
        let bytes: Vec<u8> = sequences.iter().flat_map(|s| ack(*s)).collect();
        let (mut acks, mut read, mut rest) = (Acks::default(), Vec::new(), &bytes[..]);
        for len in pieces.iter().cycle().take(bytes.len()) {
            let (mut piece, behind) = rest.split_at((*len).min(rest.len()));
            while let Some(sequence) = acks.read(&mut piece).expect("acks") {
                read.push(sequence);
            }
            rest = behind;
        }
        prop_assert_eq!(read, sequences);
    }

    #[test]
    fn no_bytes_break_the_reader_or_fill_the_memory(bytes in vec(any::<u8>(), 0..400), pieces in pieces()) {
        // Past the first bytes, that most chances fail at.
        for start in ["", "2W\x00\x00\x01\x00", "2W\x00\x00\x01\x002J\x00\x00\x00\x01\x00\x00\x00", "2W\x00\x00\x01\x002C\x00\x00\x01\x00"] {
            let bytes = [start.as_bytes(), &bytes].concat();
            let mut decoder = Decoder::new(LONGEST);
            for piece in bytes.chunks(pieces[0]) {
                decoder.buffer().extend_from_slice(piece);
                while let Ok(Some(_)) = decoder.item() {}
            }
            let mut piece = &bytes[..];
            while let Ok(Some(_)) = Acks::default().read(&mut piece) {}
        }
    }

    #[test]
    fn a_damaged_window_is_an_error_or_other_events_and_never_more_of_them(
        lines in vec(line(), 1..20), level in 0..=1_u32, at in any::<prop::sample::Index>(), bit in 0..8_u32
    ) {
        let mut bytes = Vec::new();
        Encoder::new(level).window(&block(&lines), &mut bytes);
        let at = at.index(bytes.len() - 6) + 6;
        bytes[at] ^= 1_u8 << bit;
        let mut decoder = Decoder::new(LONGEST);
        decoder.buffer().extend_from_slice(&bytes);
        let mut events = 0;
        while let Ok(Some(item)) = decoder.item() {
            events += usize::from(!matches!(item, Item::Window(_)));
        }
        prop_assert!(events <= lines.len());
    }
}

fn refused(bytes: &[u8]) -> DecodeError {
    let mut decoder = Decoder::new(LONGEST);
    decoder.buffer().extend_from_slice(bytes);
    loop {
        match decoder.item() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("nothing is refused"),
            Err(error) => return error,
        }
    }
}

#[test]
fn what_does_not_belong_is_refused_by_name() {
    assert_eq!(refused(b"1W\0\0\0\x01"), DecodeError::VersionOne);
    assert_eq!(refused(b"GET / HTTP/1.1"), DecodeError::NotLumberjack(b'G'));
    assert_eq!(refused(b"2D"), DecodeError::Unknown(b'D'));
    assert_eq!(refused(b"2J"), DecodeError::Misplaced(b'J'));
    assert_eq!(refused(b"2C"), DecodeError::Misplaced(b'C'));
    assert_eq!(refused(b"2W\0\0\0\x012W"), DecodeError::Misplaced(b'W'));
    assert_eq!(
        refused(b"2W\0\0\0\x012J\0\0\0\x01\xff\0\0\0"),
        DecodeError::TooLong(0xff00_0000)
    );
    assert_eq!(
        refused(b"2W\0\0\0\x012C\0\0\0\x03abc"),
        DecodeError::Corrupt
    );
}

#[test]
fn half_a_frame_at_the_end_of_a_compressed_one_is_refused() {
    let mut inner = Vec::new();
    Encoder::new(0).window(b"{}\n", &mut inner);
    let half = &inner[6..inner.len() - 1];
    let mut z = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut z, half).expect("memory");
    let z = z.finish().expect("memory");
    let frame = [b"2W\0\0\0\x012C", &(z.len() as u32).to_be_bytes()[..], &z].concat();
    assert_eq!(refused(&frame), DecodeError::Corrupt);
}

#[test]
fn a_small_frame_that_becomes_much_is_read_in_little_memory() {
    // One event of 200 MiB, which is too long: 200 KiB compressed.
    let len = 200_u32 << 20;
    let header = [b"2J\0\0\0\x01", &len.to_be_bytes()[..]].concat();
    let mut z = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut z, &header).expect("memory");
    for _ in 0..200 {
        std::io::Write::write_all(&mut z, &[b' '; 1 << 20]).expect("memory");
    }
    let z = z.finish().expect("memory");
    let frame = [b"2W\0\0\0\x012C", &(z.len() as u32).to_be_bytes()[..], &z].concat();
    let mut decoder = Decoder::new(LONGEST);
    decoder.buffer().extend_from_slice(&frame);
    let measured = allocation_counter::measure(|| {
        assert_eq!(decoder.item(), Ok(Some(Item::Window(1))));
        let item = decoder.item();
        assert!(
            matches!(item, Ok(Some(Item::Overlong { length, .. })) if length == len),
            "{item:?}"
        );
    });
    assert!(measured.bytes_max < 1 << 20, "{measured:?}");
}
