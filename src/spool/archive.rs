//! What is kept of the past of a queue, read as a stream.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::journal::Scan;
use super::redis::archive::Reader;
use super::redis::nodes::Fault;
use crate::record::Header;

/// Most records of the journal that are read at a time, and most bytes.
const RECORDS: usize = 64;
const BYTES: usize = 1 << 20;

/// Batches that were accepted in a range of time, as they were then: with their ids.
/// Holds a few mebibytes. What is settled after it was opened may be missing.
#[derive(Debug, Default)]
pub struct Archive {
    /// Those that are still to be read, or are being read.
    parts: VecDeque<Part>,
    /// What those that were read missed.
    missing: u64,
}

#[derive(Debug)]
enum Part {
    Journal(InJournal),
    Redis(Box<Reader>),
}

/// A scan blocks, so it is away while it reads. `None`: it did not come back.
#[derive(Debug)]
struct InJournal {
    scan: Option<Scan>,
    read: VecDeque<Record>,
}

type Record = (Arc<Header>, Bytes);

/// The archive could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the archive cannot be read: {0}")]
pub struct ArchiveError(String);

impl Archive {
    /// The next batch: header and events, as a block. `None`: that was all.
    pub async fn next(&mut self) -> Result<Option<Record>, ArchiveError> {
        while let Some(part) = self.parts.front_mut() {
            let next = match part {
                Part::Journal(journal) => journal.next().await?,
                Part::Redis(reader) => {
                    let next = reader.next().await?;
                    next.map(|(header, block)| (Arc::new(header), block))
                }
            };
            if next.is_some() {
                return Ok(next);
            }
            self.missing += part.missing();
            self.parts.pop_front();
        }
        Ok(None)
    }

    /// What could not be read so far because it was damaged, or went away meanwhile: in
    /// events in the journal, in elements of its lists in Redis.
    pub fn missing(&self) -> u64 {
        let reading = self.parts.front().map_or(0, Part::missing);
        self.missing + reading
    }

    /// Reads a scan of the journal after what is there.
    pub(super) fn and_journal(mut self, scan: Option<Scan>) -> Self {
        self.parts.extend(scan.map(|scan| {
            Part::Journal(InJournal {
                scan: Some(scan),
                read: VecDeque::new(),
            })
        }));
        self
    }

    /// Reads Redis after what is there.
    pub(super) fn and_redis(mut self, reader: Option<Reader>) -> Self {
        let part = reader.map(|reader| Part::Redis(Box::new(reader)));
        self.parts.extend(part);
        self
    }
}

impl Part {
    fn missing(&self) -> u64 {
        match self {
            Self::Journal(journal) => journal.scan.as_ref().map_or(0, Scan::missing_events),
            Self::Redis(reader) => reader.missing_elements() + reader.unreadable_elements(),
        }
    }
}

impl InJournal {
    async fn next(&mut self) -> Result<Option<Record>, ArchiveError> {
        if self.read.is_empty() {
            let scan = self.scan.take().ok_or_else(interrupted)?;
            let reading = tokio::task::spawn_blocking(|| some_of(scan));
            let (scan, records) = reading.await.map_err(|_| interrupted())?;
            self.scan = Some(scan);
            self.read = records?;
        }
        Ok(self.read.pop_front())
    }
}

fn interrupted() -> ArchiveError {
    ArchiveError("reading was interrupted".into())
}

fn some_of(mut scan: Scan) -> (Scan, Result<VecDeque<Record>, ArchiveError>) {
    let mut records = VecDeque::new();
    let mut bytes = 0;
    while records.len() < RECORDS && bytes < BYTES {
        match scan.next() {
            Some(Ok(record)) => {
                bytes += record.1.len();
                records.push_back(record);
            }
            Some(Err(error)) => return (scan, Err(ArchiveError(error.to_string()))),
            None => break,
        }
    }
    (scan, Ok(records))
}

impl From<Fault> for ArchiveError {
    fn from(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}
