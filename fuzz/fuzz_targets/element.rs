//! Any bytes as an element of a Redis list, and any bytes as the payload of a
//! record whose checksums hold: expanded to the length that is told, or damage.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stashgate::batch::{Batch, BatchId, UnixMillis};
use stashgate::record::encode_compressed_header;
use stashgate::spool::redis::element::{Compression, Element, decode, encode};

fuzz_target!(|data: &[u8]| {
    if let Element::Record(_, payload) = decode(data.to_vec().into()) {
        let _ = payload.block();
    }
    let Some((more, stored)) = data.split_first_chunk::<2>() else {
        return;
    };
    let len = stored.len() + 1 + usize::from(u16::from_le_bytes(*more));
    crafted(stored, len);
    comes_back(stored);
});

fn batch(payload: Vec<u8>) -> Batch {
    Batch {
        id: BatchId::new(b"fuzz").expect("valid"),
        accepted_at: UnixMillis(1),
        events: 1,
        payload: payload.into(),
        payload_hash: 0,
        rejected: [].into(),
        own_metadata: false,
        foreign: false,
        timestamps: stashgate::batch::Timestamps::None,
        origin: stashgate::batch::Origin::Accepted,
    }
}

fn crafted(stored: &[u8], len: usize) {
    let mut bytes = Vec::new();
    encode_compressed_header(&batch(vec![0; len]), stored, &mut bytes);
    bytes.extend_from_slice(stored);
    match decode(bytes.into()) {
        Element::Record(_, payload) => {
            if let Ok(block) = payload.block() {
                assert_eq!(block.len(), len);
            }
        }
        other => panic!("{other:?}"),
    }
}

fn comes_back(payload: &[u8]) {
    let batch = batch(payload.to_vec());
    match decode(encode(&batch, Compression::Zstd).into()) {
        Element::Record(_, found) => assert_eq!(found.block().expect("expands"), batch.payload),
        other => panic!("{other:?}"),
    }
}
