//! The end of a queue's log: writes rounds of records, one vectored write each,
//! and starts segments.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{File, Files, is_scarce, write_all_at};
use super::layout::{Address, Position, segment_path};
use super::reader::Loaded;
use crate::batch::Batch;
use crate::record::{self, Place};

/// A segment is allocated in steps, so that an idle queue does not take a whole
/// one from the disk.
const ALLOCATION: u64 = 16 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Log {
    files: Arc<dyn Files>,
    queue_dir: PathBuf,
    segment_bytes: u64,
    active: Option<Active>,
    /// Where the next record goes; all before it is written whole.
    tail: Position,
    /// Highest sequence that is synced.
    synced_through: u64,
    /// A sync failed: what was written before it may never be durable.
    sync_failed: bool,
    headers: Vec<u8>,
}

/// The segment that is written.
#[derive(Debug)]
struct Active {
    file: Arc<dyn File>,
    first: u64,
    allocated: u64,
}

/// Why a segment could not be started.
#[derive(Debug)]
pub(super) enum StartError {
    /// Nothing happened; it may go later.
    Create(io::Error),
    /// Nobody knows what is durable now.
    Sync(io::Error),
}

impl Log {
    /// For the log that ends, synced, at `tail`.
    pub(super) fn new(
        files: Arc<dyn Files>,
        queue_dir: PathBuf,
        segment_bytes: u64,
        tail: Position,
    ) -> Self {
        Self {
            files,
            queue_dir,
            segment_bytes,
            active: None,
            tail,
            synced_through: tail.sequence - 1,
            sync_failed: false,
            headers: Vec::new(),
        }
    }

    /// Whether there is a segment that takes a record of `bytes`. One that is
    /// longer than a segment gets one of its own.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.active.is_some() && (self.tail.offset == 0 || self.fits(bytes))
    }

    /// Whether `bytes` more keep the segment within its length.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        self.tail.offset.saturating_add(bytes) <= self.segment_bytes
    }

    /// The segment that is written, by its first sequence.
    pub(super) fn active(&self) -> Option<u64> {
        self.active.as_ref().map(|active| active.first)
    }

    /// Ends the segment and starts the next one, durable with its folder.
    /// Returns its first sequence.
    pub(super) fn start_segment(&mut self) -> Result<u64, StartError> {
        self.end_segment().map_err(StartError::Sync)?;
        let first = self.tail.sequence;
        let path = segment_path(&self.queue_dir, first);
        let file = self.files.create(&path).map_err(StartError::Create)?;
        if let Err(error) = self.files.sync_dir(&self.queue_dir) {
            return Err(self.give_up(&path, error));
        }
        self.active = Some(Active {
            file,
            first,
            allocated: 0,
        });
        self.tail.segment = first;
        self.tail.offset = 0;
        Ok(first)
    }

    /// Takes back a segment whose folder could not be synced. If the folder could
    /// not even be opened, the next attempt may work.
    fn give_up(&self, path: &Path, error: io::Error) -> StartError {
        if !is_scarce(&error) {
            return StartError::Sync(error);
        }
        match self.files.remove(path) {
            Ok(()) => StartError::Create(error),
            Err(error) => StartError::Sync(error),
        }
    }

    /// Ends the segment: cuts what is allocated beyond its records, and syncs.
    pub(super) fn end_segment(&mut self) -> io::Result<()> {
        if let Some(active) = &self.active {
            active.file.set_len(self.tail.offset)?;
            self.sync()?;
            self.active = None;
        }
        self.set_synced();
        Ok(())
    }

    /// Lets go of the segment, which is about to be removed.
    pub(super) fn forget_segment(&mut self) {
        self.active = None;
    }

    /// Writes `batches` as one. They are not part of the log before
    /// [`Log::accept`]. There must be a segment.
    pub(super) fn write<'a>(
        &mut self,
        batches: impl ExactSizeIterator<Item = &'a Batch> + Clone,
    ) -> io::Result<Vec<Loaded>> {
        let records = self.encode(batches.clone());
        let mut slices = Vec::with_capacity(2 * batches.len());
        let mut headers = self.headers.as_slice();
        for (record, batch) in records.iter().zip(batches) {
            let (header, rest) = headers.split_at(record.header.header_len as usize);
            headers = rest;
            slices.push(IoSlice::new(header));
            slices.push(IoSlice::new(&batch.payload));
        }
        let Some(active) = &mut self.active else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let end = records.last().map_or(self.tail, Loaded::end).offset;
        active.allocate(end, self.segment_bytes);
        write_all_at(&*active.file, &mut slices, self.tail.offset)?;
        Ok(records)
    }

    fn encode<'a>(&mut self, batches: impl ExactSizeIterator<Item = &'a Batch>) -> Vec<Loaded> {
        self.headers.clear();
        let mut records: Vec<Loaded> = Vec::with_capacity(batches.len());
        for batch in batches {
            let at = records.last().map_or(self.tail, Loaded::end);
            let place = Place {
                sequence: at.sequence,
                durable_through: self.synced_through,
                events_before: at.events,
            };
            let header = record::encode_header(batch, place, &mut self.headers);
            records.push(Loaded {
                address: Address {
                    segment: at.segment,
                    offset: at.offset,
                },
                header: Arc::new(header),
                payload: Some(batch.payload.clone()),
            });
        }
        records
    }

    /// Makes all that was written durable. Once that failed it never succeeds.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.sync_failed {
            return Err(io::Error::other("an earlier sync failed"));
        }
        let synced = match &self.active {
            Some(active) => active.file.sync_data(),
            None => Ok(()),
        };
        self.sync_failed = synced.is_err();
        synced
    }

    /// The log goes on after `end`.
    pub(super) fn accept(&mut self, end: Position) {
        self.tail = end;
    }

    /// All of the log is synced.
    pub(super) fn set_synced(&mut self) {
        self.synced_through = self.tail.sequence - 1;
    }

    /// Cuts what was written after the log's end, and makes that durable: it
    /// must not come back with a power cut.
    pub(super) fn undo(&mut self) -> io::Result<()> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        active.file.set_len(self.tail.offset)?;
        active.allocated = self.tail.offset;
        self.sync()?;
        self.set_synced();
        Ok(())
    }
}

impl Active {
    /// Takes room up to `end` and some more. Only for speed: what fails here,
    /// the write says.
    fn allocate(&mut self, end: u64, segment_bytes: u64) {
        if end > self.allocated {
            let until = (self.allocated + ALLOCATION).min(segment_bytes).max(end);
            let _ = self.file.allocate(self.allocated, until - self.allocated);
            self.allocated = until;
        }
    }
}
