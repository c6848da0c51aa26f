//! A record: a batch as it is stored, header and payload. One codec for every
//! spool.
//!
//! All numbers are little-endian.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | magic `F5 53 47 01`; `F5` occurs in no UTF-8 text, so no payload holds it |
//! | 4 | 1 | version, 1 |
//! | 5 | 1 | flags: bit 0 = an event has an `@metadata` of its own, bit 1 = the payload is compressed, bit 2 = the events are foreign, bit 3 = an event has an `@timestamp` of its own, bit 4 = all events have, bit 5 = returned from the dead letters, bit 6 = replayed from the archive |
//! | 6 | 2 | length of the batch id, `i`, 1 to 64 |
//! | 8 | 4 | length of the header, `h`: 72 + `i` + 4 `r` (+ 4 if compressed), rounded up to 8 |
//! | 12 | 4 | length of the payload as stored, `p` |
//! | 16 | 4 | number of events |
//! | 20 | 4 | number of rejected positions, `r` |
//! | 24 | 8 | sequence: position in the queue, from 1 (0 outside the journal) |
//! | 32 | 8 | durable through: highest sequence known synced when this was written |
//! | 40 | 8 | events before: events of all records before this one in the queue |
//! | 48 | 8 | acceptance time, milliseconds since 1970 UTC |
//! | 56 | 8 | xxh3-64 of the payload as the client sent it |
//! | 64 | 4 | CRC-32C of the payload as stored |
//! | 68 | 4 | CRC-32C of the header without these four bytes |
//! | 72 | `i` | batch id |
//! | 72 + `i` | 4 `r` | rejected positions, ascending |
//! | 72 + `i` + 4 `r` | 4 | only if compressed: length of the events' block, more than `p` |
//! | | | zeros up to `h` |
//! | `h` | `p` | payload: the events' block, or a zstd frame of it |
//!
//! The journal's records are never compressed. Events are foreign when others
//! put them into the queue as plain JSON: no client named their batch, so they
//! have no stable id.
//!
//! The header has a checksum of its own so that a record whose payload is
//! damaged still tells how many events were lost; the header's checksum covers
//! the payload's.
//!
//! Every version keeps the magic, the version, the header's length and its
//! checksum where they are, and the header between 72 bytes and
//! [`MAX_HEADER_LEN`]. So a record of another release is told from a damaged one
//! by a checksum that holds.

use crate::batch::{Batch, BatchId, Origin, Timestamps, UnixMillis};

/// The first bytes of a record.
pub const MAGIC: [u8; 4] = [0xF5, b'S', b'G', 0x01];
/// The version this build writes, and the only one it reads.
pub const VERSION: u8 = 1;
/// Length of the part of the header that every record has, in bytes.
pub const FIXED_LEN: usize = 72;
/// The longest header: 64 bytes of id, [`MAX_REJECTED`] positions and a length.
pub const MAX_HEADER_LEN: usize =
    (FIXED_LEN + BatchId::MAX_LEN + 4 * MAX_REJECTED + 4).next_multiple_of(8);
/// The most rejected positions a header holds: `max_batch_events` may not be larger.
pub const MAX_REJECTED: usize = 1 << 20;
/// The longest payload, in bytes: `max_batch_bytes` may not be larger.
pub const MAX_PAYLOAD_LEN: usize = 1 << 30;

const FLAG_OWN_METADATA: u8 = 1;
const FLAG_COMPRESSED: u8 = 2;
const FLAG_FOREIGN: u8 = 4;
const FLAG_A_TIMESTAMP: u8 = 8;
const FLAG_ALL_TIMESTAMPS: u8 = 16;
const FLAG_RETURNED: u8 = 32;
const FLAG_REPLAYED: u8 = 64;

/// Where a record stands in its queue; given by whoever writes the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Position in the queue, from 1.
    pub sequence: u64,
    /// Highest sequence known to be synced when the record is written.
    pub durable_through: u64,
    /// Events of all records before this one.
    pub events_before: u64,
}

/// The header of a record, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Where the record stands.
    pub place: Place,
    /// See [`Batch::id`].
    pub id: BatchId,
    /// See [`Batch::accepted_at`].
    pub accepted_at: UnixMillis,
    /// See [`Batch::events`].
    pub events: u32,
    /// See [`Batch::payload_hash`].
    pub payload_hash: u64,
    /// See [`Batch::rejected`].
    pub rejected: Box<[u32]>,
    /// See [`Batch::own_metadata`].
    pub own_metadata: bool,
    /// See [`Batch::foreign`].
    pub foreign: bool,
    /// See [`Batch::timestamps`].
    pub timestamps: Timestamps,
    /// See [`Batch::origin`].
    pub origin: Origin,
    /// Length of the header as stored, in bytes.
    pub header_len: u32,
    /// Length of the events' block, in bytes.
    pub payload_len: u32,
    /// Length of the payload as stored, in bytes: less than `payload_len` if it
    /// is compressed, else the same.
    pub stored_len: u32,
    /// CRC-32C that the payload as stored must have.
    pub payload_crc: u32,
}

impl Header {
    /// Length of the record, header and payload, in bytes.
    pub fn record_len(&self) -> u64 {
        u64::from(self.header_len) + u64::from(self.stored_len)
    }

    /// Whether `stored` is the payload as it was written.
    pub fn matches(&self, stored: &[u8]) -> bool {
        stored.len() == self.stored_len as usize && crc32c::crc32c(stored) == self.payload_crc
    }

    /// When the batch came into its queue. `None`: it was replayed, and its acceptance
    /// time is that of the first time.
    pub fn arrived_at(&self) -> Option<UnixMillis> {
        (self.origin != Origin::Replayed).then_some(self.accepted_at)
    }

    /// Whether the payload is stored compressed.
    pub fn is_compressed(&self) -> bool {
        self.stored_len != self.payload_len
    }
}

/// Why bytes are not the header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes are needed: at least this many from the record's start.
    #[error("the record's header is cut short: {needed} bytes are needed")]
    Incomplete {
        /// Length the slice must have to go on.
        needed: usize,
    },
    /// The bytes do not begin with [`MAGIC`].
    #[error("no record begins here")]
    NoMagic,
    /// A whole record of another version, written by another release.
    #[error("the record has version {0}, this build reads version {VERSION}")]
    Version(u8),
    /// Checksum or lengths are wrong.
    #[error("the record's header is damaged")]
    Damaged,
}

/// Length of the header of `batch` as stored, in bytes.
pub fn header_len(batch: &Batch) -> usize {
    len_of_header(batch, false)
}

/// The same for a batch whose payload is stored compressed.
pub fn compressed_header_len(batch: &Batch) -> usize {
    len_of_header(batch, true)
}

fn len_of_header(batch: &Batch, compressed: bool) -> usize {
    let id = batch.id.as_bytes().len();
    (FIXED_LEN + id + 4 * batch.rejected.len() + 4 * usize::from(compressed)).next_multiple_of(8)
}

/// Appends the header of `batch` at `place` to `out`; the payload follows it as
/// it is. Returns the header as it would be decoded.
pub fn encode_header(batch: &Batch, place: Place, out: &mut Vec<u8>) -> Header {
    let header = header_of(batch, place, &batch.payload);
    append(&header, out);
    header
}

/// Appends the header of `batch`, which has no place in a journal, to `out`; what
/// follows it is `stored`, its payload compressed, and thus shorter.
pub fn encode_compressed_header(batch: &Batch, stored: &[u8], out: &mut Vec<u8>) -> Header {
    debug_assert!(stored.len() < batch.payload.len());
    let header = header_of(batch, Place::default(), stored);
    append(&header, out);
    header
}

fn header_of(batch: &Batch, place: Place, stored: &[u8]) -> Header {
    Header {
        place,
        id: batch.id,
        accepted_at: batch.accepted_at,
        events: batch.events,
        payload_hash: batch.payload_hash,
        rejected: batch.rejected.clone(),
        own_metadata: batch.own_metadata,
        foreign: batch.foreign,
        timestamps: batch.timestamps,
        origin: batch.origin,
        header_len: len_of_header(batch, stored.len() != batch.payload.len()) as u32,
        payload_len: batch.payload.len() as u32,
        stored_len: stored.len() as u32,
        payload_crc: crc32c::crc32c(stored),
    }
}

fn append(header: &Header, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&fixed_part(header));
    out.extend_from_slice(header.id.as_bytes());
    for position in &header.rejected {
        out.extend_from_slice(&position.to_le_bytes());
    }
    if header.is_compressed() {
        out.extend_from_slice(&header.payload_len.to_le_bytes());
    }
    out.resize(start + header.header_len as usize, 0);
    let crc = header_crc(&out[start..]);
    out[start + 68..start + 72].copy_from_slice(&crc.to_le_bytes());
}

/// What every header has, without its checksum.
fn fixed_part(header: &Header) -> [u8; FIXED_LEN] {
    let mut fixed = [0; FIXED_LEN];
    let mut put = |at: usize, bytes: &[u8]| fixed[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &MAGIC);
    put(4, &[VERSION]);
    put(5, &[flags(header)]);
    put(6, &(header.id.as_bytes().len() as u16).to_le_bytes());
    put(8, &header.header_len.to_le_bytes());
    put(12, &header.stored_len.to_le_bytes());
    put(16, &header.events.to_le_bytes());
    put(20, &(header.rejected.len() as u32).to_le_bytes());
    put(24, &header.place.sequence.to_le_bytes());
    put(32, &header.place.durable_through.to_le_bytes());
    put(40, &header.place.events_before.to_le_bytes());
    put(48, &header.accepted_at.0.to_le_bytes());
    put(56, &header.payload_hash.to_le_bytes());
    put(64, &header.payload_crc.to_le_bytes());
    fixed
}

fn flags(header: &Header) -> u8 {
    let flag = |set: bool, flag| if set { flag } else { 0 };
    flag(header.own_metadata, FLAG_OWN_METADATA)
        | flag(header.is_compressed(), FLAG_COMPRESSED)
        | flag(header.foreign, FLAG_FOREIGN)
        | flag(header.timestamps != Timestamps::None, FLAG_A_TIMESTAMP)
        | flag(header.timestamps == Timestamps::All, FLAG_ALL_TIMESTAMPS)
        | flag(header.origin == Origin::Returned, FLAG_RETURNED)
        | flag(header.origin == Origin::Replayed, FLAG_REPLAYED)
}

/// Decodes the header at the beginning of `bytes`. Reads no more than the
/// header; believes no length before the checksum holds.
pub fn decode_header(bytes: &[u8]) -> Result<Header, DecodeError> {
    let (fixed, header) = checked_header(bytes)?;
    let id_len = usize::from(u16::from_le_bytes([fixed[6], fixed[7]]));
    let rejected = u32_at(fixed, 20) as usize;
    let compressed = fixed[5] & FLAG_COMPRESSED != 0;
    let used = FIXED_LEN + id_len + 4 * rejected.min(MAX_REJECTED) + 4 * usize::from(compressed);
    if !(1..=BatchId::MAX_LEN).contains(&id_len)
        || rejected > MAX_REJECTED
        || header.len() != used.next_multiple_of(8)
    {
        return Err(DecodeError::Damaged);
    }
    let (id, rest) = header[FIXED_LEN..].split_at(id_len);
    let (positions, rest) = rest.split_at(4 * rejected);
    let stored_len = u32_at(fixed, 12);
    Ok(Header {
        place: Place {
            sequence: u64_at(fixed, 24),
            durable_through: u64_at(fixed, 32),
            events_before: u64_at(fixed, 40),
        },
        id: BatchId::new(id).map_err(|_| DecodeError::Damaged)?,
        accepted_at: UnixMillis(u64_at(fixed, 48)),
        events: u32_at(fixed, 16),
        payload_hash: u64_at(fixed, 56),
        rejected: numbers(positions).collect(),
        own_metadata: fixed[5] & FLAG_OWN_METADATA != 0,
        foreign: fixed[5] & FLAG_FOREIGN != 0,
        timestamps: timestamps(fixed[5]),
        origin: origin(fixed[5]),
        header_len: header.len() as u32,
        payload_len: match compressed {
            true => expanded_len(rest, stored_len)?,
            false => stored_len,
        },
        stored_len,
        payload_crc: u32_at(fixed, 64),
    })
}

/// The length of the events' block, which `rest` begins with; `stored_len` is
/// what is left of it.
fn expanded_len(rest: &[u8], stored_len: u32) -> Result<u32, DecodeError> {
    let len = numbers(rest).next().ok_or(DecodeError::Damaged)?;
    let plausible = len > stored_len && len as usize <= MAX_PAYLOAD_LEN;
    plausible.then_some(len).ok_or(DecodeError::Damaged)
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let four = bytes.chunks_exact(4);
    four.map(|n| u32::from_le_bytes([n[0], n[1], n[2], n[3]]))
}

/// A whole header of this version whose checksum holds, and its fixed part.
fn checked_header(bytes: &[u8]) -> Result<(&[u8; FIXED_LEN], &[u8]), DecodeError> {
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        return Err(DecodeError::NoMagic);
    }
    let Some(fixed) = bytes.first_chunk::<FIXED_LEN>() else {
        return Err(DecodeError::Incomplete { needed: FIXED_LEN });
    };
    let needed = u32_at(fixed, 8) as usize;
    if !(FIXED_LEN..=MAX_HEADER_LEN).contains(&needed) {
        return Err(DecodeError::Damaged);
    }
    let header = bytes.get(..needed);
    let header = header.ok_or(DecodeError::Incomplete { needed })?;
    if header_crc(header) != u32_at(fixed, 68) {
        return Err(DecodeError::Damaged);
    }
    if fixed[4] != VERSION {
        return Err(DecodeError::Version(fixed[4]));
    }
    Ok((fixed, header))
}

fn timestamps(flags: u8) -> Timestamps {
    match (
        flags & FLAG_A_TIMESTAMP != 0,
        flags & FLAG_ALL_TIMESTAMPS != 0,
    ) {
        (false, _) => Timestamps::None,
        (true, false) => Timestamps::Some,
        (true, true) => Timestamps::All,
    }
}

fn origin(flags: u8) -> Origin {
    match (flags & FLAG_RETURNED != 0, flags & FLAG_REPLAYED != 0) {
        (_, true) => Origin::Replayed,
        (true, false) => Origin::Returned,
        (false, false) => Origin::Accepted,
    }
}

/// CRC-32C of a header without the field that holds it.
fn header_crc(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..68]), &header[72..])
}

fn u32_at(fixed: &[u8; FIXED_LEN], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&fixed[at..at + 4]);
    u32::from_le_bytes(bytes)
}

fn u64_at(fixed: &[u8; FIXED_LEN], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&fixed[at..at + 8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn batch() -> Batch {
        Batch {
            id: BatchId::new(b"order-7").expect("valid"),
            accepted_at: UnixMillis(1_795_294_380_120),
            events: 2,
            payload: Bytes::from_static(b"{\"a\":1}\n{\"a\":2}\n"),
            payload_hash: 0x0102_0304_0506_0708,
            rejected: [1, 3].into(),
            own_metadata: true,
            foreign: false,
            timestamps: crate::batch::Timestamps::None,
            origin: crate::batch::Origin::Accepted,
        }
    }

    const PLACE: Place = Place {
        sequence: 9,
        durable_through: 7,
        events_before: 40,
    };

    fn encoded() -> Vec<u8> {
        let mut out = vec![0xAA];
        encode_header(&batch(), PLACE, &mut out);
        out.split_off(1)
    }

    #[test]
    fn a_header_comes_back_as_it_was_written() {
        let header = decode_header(&encoded()).expect("decodes");
        let batch = batch();
        assert_eq!(header.place, PLACE);
        assert_eq!(header, encode_header(&batch, PLACE, &mut Vec::new()));
        assert_eq!(header.id, batch.id);
        assert_eq!(header.accepted_at, batch.accepted_at);
        assert_eq!(
            (header.events, header.payload_hash),
            (2, batch.payload_hash)
        );
        assert_eq!(header.rejected, batch.rejected);
        assert!(header.own_metadata && header.matches(&batch.payload));
        assert!(!header.matches(b"{\"a\":1}\n{\"a\":3}\n"));
        assert_eq!(header.header_len as usize, encoded().len());
    }

    #[test]
    fn a_header_tells_how_its_batch_came_into_the_queue() {
        for origin in [Origin::Accepted, Origin::Returned, Origin::Replayed] {
            let mut out = Vec::new();
            let batch = Batch { origin, ..batch() };
            encode_header(&batch, PLACE, &mut out);
            assert_eq!(decode_header(&out).expect("decodes").origin, origin);
            assert_eq!(out[5] >> 5, origin as u8);
        }
    }

    #[test]
    fn a_compressed_payload_is_told_by_both_lengths_and_the_checksum_of_what_is_stored() {
        let foreign = Batch {
            foreign: true,
            timestamps: crate::batch::Timestamps::None,
            ..batch()
        };
        let mut bytes = Vec::new();
        let written = encode_compressed_header(&foreign, b"short", &mut bytes);
        assert_eq!(bytes.len(), compressed_header_len(&foreign));
        let header = decode_header(&bytes).expect("decodes");
        assert_eq!(header, written);
        assert!(header.is_compressed() && header.foreign);
        assert_eq!((header.payload_len, header.stored_len), (16, 5));
        assert_eq!(header.record_len(), bytes.len() as u64 + 5);
        assert!(header.matches(b"short") && !header.matches(&foreign.payload));
    }

    #[test]
    fn a_block_no_longer_than_its_compressed_form_is_damage() {
        let mut bytes = Vec::new();
        encode_compressed_header(&batch(), b"short", &mut bytes);
        let at = FIXED_LEN + batch().id.as_bytes().len() + 8;
        for len in [0, 5, MAX_PAYLOAD_LEN as u32 + 1, u32::MAX] {
            bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
            let crc = header_crc(&bytes);
            bytes[68..72].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(decode_header(&bytes), Err(DecodeError::Damaged), "{len}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let mut compressed = Vec::new();
        encode_compressed_header(&batch(), b"short", &mut compressed);
        for header in [encoded(), compressed] {
            for at in 0..header.len() * 8 {
                let mut bytes = header.clone();
                bytes[at / 8] ^= 1 << (at % 8);
                assert!(decode_header(&bytes).is_err(), "bit {at}");
            }
        }
    }

    #[test]
    fn a_whole_record_of_another_version_is_not_taken_for_damage() {
        let mut bytes = encoded();
        bytes[4] = 2;
        assert_eq!(decode_header(&bytes), Err(DecodeError::Damaged));
        let crc = header_crc(&bytes);
        bytes[68..72].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(decode_header(&bytes), Err(DecodeError::Version(2)));
    }

    #[test]
    fn a_header_cut_anywhere_asks_for_more() {
        let bytes = encoded();
        for cut in 0..bytes.len() {
            let error = decode_header(&bytes[..cut]).expect_err("cut");
            assert!(
                matches!(error, DecodeError::Incomplete { needed } if needed > cut),
                "{cut}"
            );
        }
    }
}
