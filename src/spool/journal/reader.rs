//! Reads segments: whole records, checked, a chunk at a time; and finds the way
//! on where bytes are bad.
//!
//! A record is good when the checksums of header and payload hold, it lies
//! within its segment, and its sequence and `events_before` do not fall back.
//! Nothing else is ever handed out. What the disk refuses to read is an error,
//! never damage.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::files::{File, Files, read_up_to};
use super::layout::{Address, Position, segment_path};
use crate::batch::UnixMillis;
use crate::record::{self, DecodeError, FIXED_LEN, Header, MAGIC};

/// How much is read at once; more only for a record that is longer.
const CHUNK: usize = 1 << 20;

/// A record, and its payload while that is in memory.
#[derive(Clone)]
pub(super) struct Loaded {
    pub address: Address,
    pub header: Arc<Header>,
    pub payload: Option<Bytes>,
}

/// Without the payload, which would fill the log.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("address", &self.address)
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

impl Loaded {
    pub(super) fn start(&self) -> Position {
        Position {
            segment: self.address.segment,
            offset: self.address.offset,
            sequence: self.header.place.sequence,
            events: self.header.place.events_before,
        }
    }

    pub(super) fn end(&self) -> Position {
        after(self.start(), &self.header)
    }
}

/// The position after the record with `header` that begins at `start`.
fn after(start: Position, header: &Header) -> Position {
    Position {
        offset: start.offset + header.record_len(),
        sequence: header.place.sequence + 1,
        events: header.place.events_before + u64::from(header.events),
        ..start
    }
}

/// What a segment holds at a position.
#[derive(Debug)]
pub(super) enum Step {
    /// Good records, at least one, without a gap between their bytes.
    Records(Vec<Loaded>),
    /// Bytes that are no good record, up to here. `to.sequence` and `to.events`
    /// are lower bounds where the next record is in another segment.
    Bad {
        /// Where reading goes on.
        to: Position,
    },
}

/// Why a segment could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("cannot read {}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "{} holds a record of version {version}, this release reads version {}",
        .path.display(), record::VERSION
    )]
    Version { path: PathBuf, version: u8 },
}

/// A segment that is being read.
#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    /// `None`: the file is gone, and with it all of its records.
    file: Option<Arc<dyn File>>,
    /// Bytes of records, as far as they may be read.
    len: u64,
}

impl Reader {
    /// Opens the segment `first`, to be read up to `len`.
    pub(super) fn open(
        files: &dyn Files,
        queue_dir: &Path,
        first: u64,
        len: u64,
    ) -> Result<Self, ReadError> {
        let path = segment_path(queue_dir, first);
        let file = match files.open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(ReadError::Io { path, source }),
        };
        Ok(Self { path, file, len })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads on at `from`, which is before the end.
    pub(super) fn step(&self, from: Position) -> Result<Step, ReadError> {
        let mut want = CHUNK;
        loop {
            let bytes = Bytes::from(self.read(from.offset, want)?);
            let (records, stop) = parse(&bytes, from);
            if !records.is_empty() {
                return Ok(Step::Records(records));
            }
            match stop {
                Stop::NeedsMore(needed) if needed > want && self.holds(from.offset, needed) => {
                    want = needed;
                }
                Stop::Version(version) => return Err(self.version(version)),
                Stop::BadPayload(to) => return Ok(Step::Bad { to }),
                Stop::NeedsMore(_) | Stop::Bad => {
                    let to = self.next_record(from)?;
                    return Ok(Step::Bad { to });
                }
            }
        }
    }

    /// The record with `header`, read again, if it is still what it was.
    pub(super) fn payload(&self, at: Address, header: &Header) -> Result<Option<Bytes>, ReadError> {
        let offset = at.offset + u64::from(header.header_len);
        let payload = self.read(offset, header.payload_len as usize)?;
        Ok(header.matches(&payload).then(|| payload.into()))
    }

    /// Bytes of the segment, as far as it has them; for setting them aside.
    pub(super) fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, ReadError> {
        let Some(file) = &self.file else {
            return Ok(Vec::new());
        };
        let len = len.min(usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX));
        read_up_to(&**file, offset, len).map_err(|source| ReadError::Io {
            path: self.path.clone(),
            source,
        })
    }

    /// The bytes of `range` in chunks that fit into memory.
    pub(super) fn chunks(
        &self,
        range: Range<u64>,
    ) -> impl Iterator<Item = Result<Vec<u8>, ReadError>> + '_ {
        let end = range.end.min(self.len);
        (range.start..end).step_by(CHUNK).map(move |offset| {
            let len = (end - offset).min(CHUNK as u64) as usize;
            self.read(offset, len)
        })
    }

    fn holds(&self, offset: u64, len: usize) -> bool {
        offset + len as u64 <= self.len
    }

    fn version(&self, version: u8) -> ReadError {
        ReadError::Version {
            path: self.path.clone(),
            version,
        }
    }

    /// Where the next header after `from` begins that is whole and in sequence;
    /// else the segment's end.
    fn next_record(&self, from: Position) -> Result<Position, ReadError> {
        let mut offset = from.offset + 1;
        while offset < self.len {
            let block = self.read(offset, CHUNK)?;
            for at in memchr::memmem::find_iter(&block, &MAGIC) {
                let start = Position {
                    offset: offset + at as u64,
                    ..from
                };
                if let Some(header) = self.header(start)? {
                    return Ok(Position {
                        sequence: header.place.sequence,
                        events: header.place.events_before,
                        ..start
                    });
                }
            }
            if block.len() < CHUNK {
                break;
            }
            // The magic may lie across two blocks.
            offset += (CHUNK - MAGIC.len() + 1) as u64;
        }
        Ok(Position {
            offset: self.len,
            ..from
        })
    }

    /// The first good header at or after `from`, which is before the end.
    pub(super) fn first_header(&self, from: Position) -> Result<Option<Header>, ReadError> {
        match self.header(from)? {
            Some(header) => Ok(Some(header)),
            None => self.header(self.next_record(from)?),
        }
    }

    /// When the first record at or after `from`, which is before the end, arrived. Looks
    /// past replayed ones, but not far.
    pub(super) fn first_arrival(&self, from: Position) -> Result<Option<UnixMillis>, ReadError> {
        let Some(header) = self.first_header(from)? else {
            return Ok(None);
        };
        if let Some(at) = header.arrived_at() {
            return Ok(Some(at));
        }
        match self.step(from)? {
            Step::Records(records) => Ok(records.iter().find_map(|r| r.header.arrived_at())),
            Step::Bad { .. } => Ok(None),
        }
    }

    /// The header at `from`, if a whole one in sequence is there.
    fn header(&self, from: Position) -> Result<Option<Header>, ReadError> {
        let mut want = FIXED_LEN;
        loop {
            let bytes = self.read(from.offset, want)?;
            match record::decode_header(&bytes) {
                Ok(header) if follows(&header, from) => return Ok(Some(header)),
                Err(DecodeError::Incomplete { needed })
                    if needed > want && self.holds(from.offset, needed) =>
                {
                    want = needed;
                }
                Err(DecodeError::Version(version)) => return Err(self.version(version)),
                Ok(_) | Err(_) => return Ok(None),
            }
        }
    }
}

/// Why parsing stopped.
enum Stop {
    /// The record is longer than the bytes: at least this long.
    NeedsMore(usize),
    /// A good header, but not its payload; the record ends here.
    BadPayload(Position),
    Bad,
    Version(u8),
}

/// The good records at the beginning of `bytes`, which were read at `from`.
fn parse(bytes: &Bytes, from: Position) -> (Vec<Loaded>, Stop) {
    let mut records = Vec::new();
    let mut at = from;
    loop {
        let start = (at.offset - from.offset) as usize;
        let rest = &bytes[start..];
        let header = match record::decode_header(rest) {
            Ok(header) if follows(&header, at) => header,
            Ok(_) | Err(DecodeError::NoMagic | DecodeError::Damaged) => {
                return (records, Stop::Bad);
            }
            Err(DecodeError::Version(version)) => return (records, Stop::Version(version)),
            Err(DecodeError::Incomplete { needed }) => return (records, Stop::NeedsMore(needed)),
        };
        let len = header.record_len() as usize;
        if rest.len() < len {
            return (records, Stop::NeedsMore(len));
        }
        let payload = bytes.slice(start + header.header_len as usize..start + len);
        let end = after(at, &header);
        if !header.matches(&payload) {
            return (records, Stop::BadPayload(end));
        }
        records.push(Loaded {
            address: Address {
                segment: at.segment,
                offset: at.offset,
            },
            header: Arc::new(header),
            payload: Some(payload),
        });
        at = end;
    }
}

/// Whether a record may come at `at`: what is missing between was lost, but
/// nothing comes twice. The journal compresses nothing.
fn follows(header: &Header, at: Position) -> bool {
    !header.is_compressed()
        && header.place.sequence >= at.sequence
        && header.place.events_before >= at.events
}
