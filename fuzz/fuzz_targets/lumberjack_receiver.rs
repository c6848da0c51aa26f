//! Any bytes as a lumberjack client: never more is held than an event and a read,
//! no window has more events than it said, and pieces change nothing. Events in a
//! compressed frame are reached by compressing the bytes here.

#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use libfuzzer_sys::fuzz_target;
use stashgate::wire::lumberjack::{DecodeError, Decoder, Item};

const LONGEST: usize = 64;

fuzz_target!(|data: &[u8]| {
    check(data);
    let mut z = ZlibEncoder::new(Vec::new(), Compression::fast());
    z.write_all(data).expect("memory");
    let z = z.finish().expect("memory");
    let mut frame = b"2W\0\0\0\x08\x32C".to_vec();
    frame.extend_from_slice(&(z.len() as u32).to_be_bytes());
    frame.extend_from_slice(&z);
    check(&frame);
});

fn check(data: &[u8]) {
    let whole = read(data, data.len().max(1));
    let pieces = read(data, 1);
    // How much of a damaged compressed frame is read, and what is said of it,
    // depends on the pieces.
    let both = whole.0.len().min(pieces.0.len());
    assert_eq!(whole.0[..both], pieces.0[..both]);
    assert_eq!(whole.1.is_some(), pieces.1.is_some());
    assert!(whole.1.is_some() || whole == pieces);
    let mut left = 0_u64;
    for item in whole.0 {
        match item {
            Item::Window(events) => left = u64::from(events),
            Item::Event { json, .. } => {
                assert!(json.len() <= LONGEST);
                left = left.checked_sub(1).expect("no more than was said");
            }
            Item::Overlong {
                beginning, length, ..
            } => {
                assert!(beginning.len() == LONGEST && length as usize > LONGEST);
                left = left.checked_sub(1).expect("no more than was said");
            }
        }
    }
}

fn read(data: &[u8], piece: usize) -> (Vec<Item>, Option<DecodeError>) {
    let (mut decoder, mut items) = (Decoder::new(LONGEST), Vec::new());
    for piece in data.chunks(piece) {
        decoder.buffer().extend_from_slice(piece);
        loop {
            match decoder.item() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error)),
            }
        }
        assert!(decoder.buffer().len() <= LONGEST + 10 + piece.len());
    }
    (items, None)
}
