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
/// About in the order of that time: exactly so between the places in which they are
/// kept, in a place as it has them. Holds a few mebibytes for each place. What is settled
/// after it was opened may be missing.
#[derive(Debug, Default)]
pub struct Archive {
    /// Those that are still to be read.
    places: Vec<Place>,
    /// What those that were read missed.
    missing: u64,
}

/// A place, and its next batch once that is read.
#[derive(Debug)]
struct Place {
    part: Part,
    next: Option<Record>,
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
        let mut at = 0;
        while let Some(place) = self.places.get_mut(at) {
            if place.next.is_none() {
                place.next = place.part.next().await?;
            }
            if place.next.is_some() {
                at += 1;
            } else {
                self.missing += place.part.missing();
                self.places.remove(at);
            }
        }
        let accepted_at = |place: &&mut Place| place.next.as_ref().map(|(h, _)| h.accepted_at);
        let oldest = self.places.iter_mut().min_by_key(accepted_at);
        Ok(oldest.and_then(|place| place.next.take()))
    }

    /// What could not be read so far because it was damaged, or went away meanwhile: in
    /// events in the journal, in elements of its lists in Redis.
    pub fn missing(&self) -> u64 {
        let reading = self.places.iter().map(|place| place.part.missing());
        self.missing + reading.sum::<u64>()
    }

    /// Reads a scan of a journal, too.
    pub(super) fn and_journal(self, scan: Option<Scan>) -> Self {
        let read = VecDeque::new();
        let scan = scan.map(Some);
        self.and(scan.map(|scan| Part::Journal(InJournal { scan, read })))
    }

    /// Reads Redis, too.
    pub(super) fn and_redis(self, reader: Option<Reader>) -> Self {
        self.and(reader.map(|reader| Part::Redis(Box::new(reader))))
    }

    fn and(mut self, part: Option<Part>) -> Self {
        let place = part.map(|part| Place { part, next: None });
        self.places.extend(place);
        self
    }
}

impl Part {
    async fn next(&mut self) -> Result<Option<Record>, ArchiveError> {
        match self {
            Self::Journal(journal) => journal.next().await,
            Self::Redis(reader) => {
                let next = reader.next().await?;
                Ok(next.map(|(header, block)| (Arc::new(header), block)))
            }
        }
    }

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
