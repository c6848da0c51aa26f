//! An element of a Redis list: a record, as [`crate::record`] describes it, or
//! plain JSON that someone else pushed.
//!
//! What an element is, is decided by its bytes alone:
//!
//! | begins with | is |
//! | --- | --- |
//! | `F5`, header and payload hold | a record of ours; compressed or not |
//! | `F5`, another version, its header's checksum holds | of another release: given back and reported, never set aside |
//! | `F5`, anything else | damaged: set aside |
//! | anything else | foreign: the old agent, Filebeat, Logstash, a person |
//!
//! No length is believed before the header's checksum holds, and a block is
//! expanded into memory only after the payload's holds too, if zstd can have made
//! it that long at all.

use bytes::Bytes;
use zstd::bulk::{compress_to_buffer, decompress_to_buffer};

use crate::batch::Batch;
use crate::record::{self, DecodeError, Header, MAGIC, Place};

/// zstd's level: the next ones cost more and give hardly more.
const LEVEL: i32 = 1;
/// A shorter payload is stored as it is, in bytes: a few events cost as much
/// to compress as hundreds, and get hardly shorter.
const SHORTEST: usize = 1024;
/// A zstd block has at most 128 KiB, and at least 4 bytes stand for it.
const LONGEST_RATIO: usize = (128 << 10) / 4;

/// How payloads are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// As they are.
    None,
    /// As a zstd frame, where that is shorter by an eighth at least.
    #[default]
    Zstd,
}

/// What was taken from a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// A batch of ours.
    Record(Header, Payload),
    /// Plain JSON, not looked at yet.
    Foreign(Bytes),
    /// A whole record of this version, which this build does not read.
    OtherVersion(u8),
    /// Neither: a record that is cut short or has rotten.
    Damaged(Damage),
}

/// What is known of a damaged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a damaged record: {what}")]
pub struct Damage {
    /// What does not hold.
    pub what: &'static str,
    /// How many events were in it, where the header still tells.
    pub events: Option<u32>,
}

/// The payload of a record as stored; its checksum was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    stored: Bytes,
    /// Length of the events' block, if that has to be expanded.
    expanded: Option<usize>,
    events: u32,
}

/// The element for `batch`: header and payload in one buffer. The payload is
/// copied or compressed once.
pub fn encode(batch: &Batch, compression: Compression) -> Vec<u8> {
    let short = match compression {
        Compression::None => None,
        Compression::Zstd => compressed(batch),
    };
    short.unwrap_or_else(|| plain(batch))
}

fn plain(batch: &Batch) -> Vec<u8> {
    let mut out = Vec::with_capacity(record::header_len(batch) + batch.payload.len());
    record::encode_header(batch, Place::default(), &mut out);
    out.extend_from_slice(&batch.payload);
    out
}

/// `None` if it would be hardly shorter.
fn compressed(batch: &Batch) -> Option<Vec<u8>> {
    if batch.payload.len() < SHORTEST {
        return None;
    }
    let header_len = record::compressed_header_len(batch);
    let mut out = vec![0; header_len + batch.payload.len() / 8 * 7];
    let stored_len = compress_to_buffer(&batch.payload, &mut out[header_len..], LEVEL).ok()?;
    out.truncate(header_len + stored_len);
    let mut header = Vec::with_capacity(header_len);
    record::encode_compressed_header(batch, &out[header_len..], &mut header);
    out[..header_len].copy_from_slice(&header);
    // Elements in flight are counted by their length.
    out.shrink_to_fit();
    Some(out)
}

/// What `bytes` are. Any bytes will do. Expands nothing.
pub fn decode(bytes: Bytes) -> Element {
    if bytes.first() != Some(&MAGIC[0]) {
        return Element::Foreign(bytes);
    }
    match record::decode_header(&bytes) {
        Ok(header) => record(header, &bytes),
        Err(DecodeError::Version(version)) => Element::OtherVersion(version),
        Err(DecodeError::Incomplete { .. }) => damaged("its header is cut short", None),
        Err(DecodeError::NoMagic | DecodeError::Damaged) => damaged("its header is wrong", None),
    }
}

fn record(header: Header, bytes: &Bytes) -> Element {
    let stored = bytes.slice(header.header_len as usize..);
    if !header.matches(&stored) {
        return damaged("its payload is wrong", Some(header.events));
    }
    let payload = Payload {
        stored,
        expanded: header
            .is_compressed()
            .then_some(header.payload_len as usize),
        events: header.events,
    };
    Element::Record(header, payload)
}

fn damaged(what: &'static str, events: Option<u32>) -> Element {
    Element::Damaged(Damage { what, events })
}

impl Payload {
    /// The events' block. Expanded anew each time if it is compressed, so that a
    /// lease whose events were sent holds no copy of them. An error means that
    /// the record was written wrong, since its checksum holds.
    pub fn block(&self) -> Result<Bytes, Damage> {
        match self.expanded {
            None => Ok(self.stored.clone()),
            Some(len) => self.expand(len),
        }
    }

    fn expand(&self, len: usize) -> Result<Bytes, Damage> {
        let damage = |what| Damage {
            what,
            events: Some(self.events),
        };
        if len / LONGEST_RATIO > self.stored.len() {
            return Err(damage("its block is longer than zstd can make it"));
        }
        let mut block = vec![0; len];
        match decompress_to_buffer(&self.stored, &mut block[..]) {
            Ok(expanded) if expanded == len => Ok(block.into()),
            _ => Err(damage("its block cannot be expanded")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{BatchId, UnixMillis};

    fn batch(payload: Vec<u8>) -> Batch {
        Batch {
            id: BatchId::new(b"order-7").expect("valid"),
            accepted_at: UnixMillis(1_795_294_380_120),
            events: 3,
            payload: payload.into(),
            payload_hash: 7,
            rejected: [1].into(),
            own_metadata: true,
            foreign: false,
            timestamps: crate::batch::Timestamps::None,
            origin: crate::batch::Origin::Accepted,
        }
    }

    fn repetitive() -> Batch {
        batch(b"{\"level\":\"info\",\"message\":\"ready\"}\n".repeat(100))
    }

    const BOTH: [Compression; 2] = [Compression::None, Compression::Zstd];

    #[test]
    fn a_batch_comes_back_compressed_or_not() {
        for compression in BOTH {
            let element = encode(&repetitive(), compression);
            let Element::Record(header, payload) = decode(element.into()) else {
                panic!("{compression:?}");
            };
            assert_eq!(header.is_compressed(), compression == Compression::Zstd);
            assert_eq!(header.payload_len as usize, repetitive().payload.len());
            assert_eq!((header.events, &*header.rejected), (3, &[1][..]));
            assert_eq!(payload.block().expect("expands"), repetitive().payload);
        }
    }

    #[test]
    fn compression_makes_an_element_shorter_or_leaves_it_alone() {
        let long = encode(&repetitive(), Compression::None);
        assert!(encode(&repetitive(), Compression::Zstd).len() * 5 < long.len());
        let random = batch((0..5000).map(|_| fastrand::u8(..)).collect());
        for payload in [random, batch(b"{}\n".to_vec())] {
            let plain = encode(&payload, Compression::None);
            assert_eq!(encode(&payload, Compression::Zstd), plain);
        }
    }

    #[test]
    fn every_flipped_bit_of_an_element_is_noticed() {
        for compression in BOTH {
            let element = encode(&repetitive(), compression);
            // The first byte tells whether it is a record at all.
            for at in 8..element.len() * 8 {
                let mut bytes = element.clone();
                bytes[at / 8] ^= 1 << (at % 8);
                let found = decode(bytes.into());
                assert!(matches!(found, Element::Damaged(_)), "bit {at}: {found:?}");
            }
        }
    }

    #[test]
    fn an_element_of_another_length_is_damaged_and_tells_its_events() {
        for compression in BOTH {
            let element = encode(&repetitive(), compression);
            for len in [element.len() - 1, element.len() + 1] {
                let mut bytes = element.clone();
                bytes.resize(len, 0);
                let Element::Damaged(damage) = decode(bytes.into()) else {
                    panic!("{len}");
                };
                assert_eq!(damage.events, Some(3));
            }
            let cut = decode(element[..40].to_vec().into());
            assert!(matches!(cut, Element::Damaged(Damage { events: None, .. })));
        }
    }

    #[test]
    fn a_record_of_another_version_is_neither_damaged_nor_foreign() {
        let mut bytes = encode(&repetitive(), Compression::None);
        bytes[4] = 9;
        let header_len = record::header_len(&repetitive());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..68]), &bytes[72..header_len]);
        bytes[68..72].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode(bytes.into()), Element::OtherVersion(9));
    }

    /// A record whose checksums hold, of a payload that nobody compressed.
    fn crafted(stored: &[u8], len: usize) -> Payload {
        let batch = batch(vec![0; len]);
        let mut bytes = Vec::new();
        record::encode_compressed_header(&batch, stored, &mut bytes);
        bytes.extend_from_slice(stored);
        match decode(bytes.into()) {
            Element::Record(_, payload) => payload,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_block_that_claims_more_than_it_can_hold_takes_no_memory() {
        let claim = crafted(b"\x10a", 1 << 24);
        let damage = claim.block().expect_err("too long");
        assert_eq!(damage.what, "its block is longer than zstd can make it");
    }

    #[test]
    fn a_block_that_expands_to_another_length_is_damage() {
        let block = zstd::bulk::compress(&[b'x'; 400], LEVEL).expect("compresses");
        assert_eq!(
            crafted(&block, 400).block().expect("expands"),
            vec![b'x'; 400]
        );
        for len in [399, 401] {
            assert!(crafted(&block, len).block().is_err(), "{len}");
        }
    }

    proptest! {
        #[test]
        fn any_block_comes_back(payload in vec(prop_oneof![Just(b'a'), any::<u8>()], 1..5000)) {
            for compression in BOTH {
                let batch = batch(payload.clone());
                match decode(encode(&batch, compression).into()) {
                    Element::Record(_, found) => {
                        prop_assert_eq!(found.block().expect("expands"), batch.payload);
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }

        #[test]
        fn any_bytes_are_something(mut bytes in vec(any::<u8>(), 0..300), ours in any::<bool>()) {
            if ours {
                bytes.splice(..bytes.len().min(5), [0xF5, b'S', b'G', 1, 1]);
            }
            decode(bytes.into());
        }

        #[test]
        fn any_bytes_stored_as_compressed_expand_or_are_damage(
            stored in vec(any::<u8>(), 0..200),
            more in 1..3000_usize,
        ) {
            let len = stored.len() + more;
            if let Ok(block) = crafted(&stored, len).block() {
                prop_assert_eq!(block.len(), len);
            }
        }
    }
}
