//! Any bytes as a lumberjack server's answers: in one piece and in many they mean
//! the same, and what was read is what those acks are written as.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stashgate::wire::lumberjack::{Acks, NotAnAck, ack};

fuzz_target!(|data: &[u8]| {
    let whole = read(data, data.len().max(1));
    for piece in [1, 3, 7] {
        assert_eq!(read(data, piece), whole);
    }
    let (acks, _) = whole;
    let written: Vec<u8> = acks.iter().flat_map(|sequence| ack(*sequence)).collect();
    assert!(data.starts_with(&written));
});

fn read(data: &[u8], piece: usize) -> (Vec<u32>, Option<NotAnAck>) {
    let (mut reader, mut acks) = (Acks::default(), Vec::new());
    for mut piece in data.chunks(piece) {
        loop {
            match reader.read(&mut piece) {
                Ok(Some(sequence)) => acks.push(sequence),
                Ok(None) => break,
                Err(error) => return (acks, Some(error)),
            }
        }
    }
    (acks, None)
}
