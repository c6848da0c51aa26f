//! The cursor file: what is settled, and the books. One line of JSON and one
//! with its CRC-32C; written beside the old one and renamed over it, so that a
//! crash leaves the one or the other.

use std::io::{self, IoSlice};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{Files, read_up_to, write_all_at};
use super::layout::{Address, CURSOR, Position};
use super::options::OpenError;
use super::quarantine::remove_if_there;
use crate::batch::UnixMillis;
use crate::ledger::Ledger;

/// The version this release writes, and the only one it reads.
const VERSION: u64 = 1;
/// A cursor is a few hundred bytes and about 150 for each batch held for
/// sending: a longer file is none.
const MAX_LEN: u64 = 256 << 20;
const TEMPORARY: &str = "cursor.new";

/// One moment of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Of the format.
    pub version: u64,
    /// The first record that was never handed out.
    pub head: Position,
    /// Records before `head` that are not settled, ascending.
    pub unsettled: Vec<Unsettled>,
    /// The last known good end of the log: start-up reads from here.
    pub tail: Position,
    /// When the last record before `tail` arrived.
    pub last_accepted: UnixMillis,
    /// The books.
    pub ledger: Ledger,
    /// Records found damaged.
    pub quarantined_records: u64,
}

/// A record before the head that is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unsettled {
    pub sequence: u64,
    #[serde(flatten)]
    pub address: Address,
    pub events: u32,
    /// Length of the record.
    pub bytes: u64,
    /// Of a replayed one when it, or one shortly before it, arrived.
    pub accepted_at: UnixMillis,
}

/// What a queue's folder has for a cursor.
#[derive(Debug)]
pub(super) enum Found {
    Whole(Cursor),
    Missing,
    Damaged,
}

impl Cursor {
    pub(super) fn new(head: Position, tail: Position, ledger: Ledger) -> Self {
        Self {
            version: VERSION,
            head,
            unsettled: Vec::new(),
            tail,
            last_accepted: UnixMillis::default(),
            ledger,
            quarantined_records: 0,
        }
    }

    /// The lowest sequence that is not settled.
    pub(super) fn lowest_unsettled(&self) -> u64 {
        self.unsettled
            .first()
            .map_or(self.head.sequence, |first| first.sequence)
    }

    /// Events that wait, or were leased.
    pub(super) fn unsettled_events(&self) -> u64 {
        let held = self.unsettled.iter().map(|record| u64::from(record.events));
        self.tail.events.saturating_sub(self.head.events) + held.sum::<u64>()
    }

    /// Replaces the cursor file; durable when it returns.
    pub(super) fn write(&self, files: &dyn Files, queue_dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        let crc = crc32c::crc32c(&text);
        text.extend_from_slice(format!("\ncrc32c {crc:08x}\n").as_bytes());
        let temporary = queue_dir.join(TEMPORARY);
        remove_if_there(files, &temporary)?;
        let file = files.create(&temporary)?;
        write_all_at(&*file, &mut [IoSlice::new(&text)], 0)?;
        file.sync_data()?;
        files.rename(&temporary, &queue_dir.join(CURSOR))?;
        files.sync_dir(queue_dir)
    }

    /// Reads the cursor file. One of another version is an error, one whose
    /// checksum does not hold is not.
    pub(super) fn read(files: &dyn Files, queue_dir: &Path) -> Result<Found, OpenError> {
        let path = queue_dir.join(CURSOR);
        let file = match files.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            Err(error) => return Err(OpenError::io("open", &path)(error)),
        };
        let len = file.size().map_err(OpenError::io("read", &path))?;
        if len > MAX_LEN {
            return Ok(Found::Damaged);
        }
        let text = read_up_to(&*file, 0, len as usize).map_err(OpenError::io("read", &path))?;
        let Some(json) = checked(&text) else {
            return Ok(Found::Damaged);
        };
        match serde_json::from_slice::<Versioned>(json) {
            Ok(Versioned { version }) if version != VERSION => Err(OpenError::Version {
                path,
                version,
                known: VERSION,
            }),
            Ok(_) => Ok(serde_json::from_slice(json).map_or(Found::Damaged, Found::Whole)),
            Err(_) => Ok(Found::Damaged),
        }
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// The JSON of a cursor file, if its checksum holds.
fn checked(text: &[u8]) -> Option<&[u8]> {
    let (json, rest) = text.split_at(memchr::memchr(b'\n', text)?);
    let crc = rest.strip_prefix(b"\ncrc32c ")?.strip_suffix(b"\n")?;
    let expected = format!("{:08x}", crc32c::crc32c(json));
    (crc == expected.as_bytes()).then_some(json)
}
