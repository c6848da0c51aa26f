//! Any bytes as the header of a record, and the same with a checksum that
//! holds: without it no input would come past the checksum.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stashgate::batch::Batch;
use stashgate::record::{
    DecodeError, FIXED_LEN, MAGIC, MAX_HEADER_LEN, VERSION, decode_header,
    encode_compressed_header, encode_header,
};

fuzz_target!(|data: &[u8]| {
    check(data);
    if data.len() >= FIXED_LEN {
        let mut header = data[..data.len().min(MAX_HEADER_LEN)].to_vec();
        header[..4].copy_from_slice(&MAGIC);
        header[4] = VERSION;
        let len = (header.len() as u32).to_le_bytes();
        header[8..12].copy_from_slice(&len);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..68]), &header[72..]);
        header[68..72].copy_from_slice(&crc.to_le_bytes());
        check(&header);
    }
});

fn check(bytes: &[u8]) {
    let header = match decode_header(bytes) {
        Ok(header) => header,
        Err(DecodeError::Incomplete { needed }) => {
            assert!(needed > bytes.len() && needed <= MAX_HEADER_LEN);
            return;
        }
        Err(_) => return,
    };
    assert!(header.header_len as usize <= bytes.len());
    if header.payload_len > 1 << 20 {
        return;
    }
    let batch = Batch {
        id: header.id,
        accepted_at: header.accepted_at,
        events: header.events,
        payload: vec![0; header.payload_len as usize].into(),
        payload_hash: header.payload_hash,
        rejected: header.rejected.clone(),
        own_metadata: header.own_metadata,
        timestamps: header.timestamps,
        origin: stashgate::batch::Origin::Accepted,
        foreign: header.foreign,
    };
    let mut again = Vec::new();
    if header.is_compressed() {
        let stored = &batch.payload[..header.stored_len as usize];
        encode_compressed_header(&batch, stored, &mut again);
    } else {
        encode_header(&batch, header.place, &mut again);
    }
    let mut again = decode_header(&again).expect("decodes");
    (again.place, again.payload_crc) = (header.place, header.payload_crc);
    assert_eq!(again, header);
}
