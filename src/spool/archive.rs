//! What is kept of the past of a queue, read as a stream.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::Spool;
use super::journal::{Journal, Scan, ScanMark};
use super::redis::Redis;
use super::redis::archive::{ListMark, Reader};
use super::redis::nodes::Fault;
use crate::batch::{QueueName, UnixMillis};
use crate::record::Header;

/// Most records of the journal that are read at a time, and most bytes.
const RECORDS: usize = 64;
const BYTES: usize = 1 << 20;

/// Batches that were accepted in a range of time, as they were then: with their ids.
/// About in the order of that time: exactly so between the places in which they are
/// kept, in a place as it has them. Holds a few mebibytes for each place. What is settled
/// after it was opened may be missing; what was replayed is not in it a second time.
#[derive(Debug, Default)]
pub struct Archive {
    /// Those that are still to be read.
    places: Vec<Place>,
    /// What those that were read missed.
    missing: u64,
}

/// How far an archive was read, and how far it reaches: another one of the same queue and
/// range goes on there, after a restart too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArchiveMark {
    journals: BTreeMap<Kept, ScanMark>,
    lists: Vec<ListMark>,
}

/// Which journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    /// That of the spool, or beside a Redis what that did not take.
    Spool,
    /// What Redis settled.
    Archive,
}

/// A place, and its next batch once that is read.
#[derive(Debug)]
struct Place {
    part: Part,
    next: Option<Record>,
}

#[derive(Debug)]
enum Part {
    Journal(Box<InJournal>),
    Redis(Box<Reader>),
}

/// A scan blocks, so it is away while it reads. `None`: it did not come back.
#[derive(Debug)]
struct InJournal {
    kept: Kept,
    scan: Option<Scan>,
    /// What was read, each with where it ends.
    read: VecDeque<(Record, ScanMark)>,
    /// After the last that was handed out.
    mark: ScanMark,
}

type Record = (Arc<Header>, Bytes);

/// The archive could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the archive cannot be read: {0}")]
pub struct ArchiveError(String);

impl Archive {
    /// What `spool` keeps; from `mark` on if there is one.
    pub(super) async fn open(
        spool: &Spool,
        queue: &QueueName,
        accepted: RangeInclusive<UnixMillis>,
        mark: Option<&ArchiveMark>,
    ) -> Result<Self, ArchiveError> {
        let question = Question {
            queue,
            accepted,
            mark,
        };
        let mut archive = Self::default();
        match spool {
            Spool::Journal(journal) => archive.add_journal(&question, Kept::Spool, journal),
            Spool::Redis(redis) => archive.add_redis(&question, redis).await?,
            Spool::Spill(spill) => {
                let (redis, journal) = spill.parts();
                archive.add_redis(&question, redis).await?;
                if let Some(journal) = journal {
                    archive.add_journal(&question, Kept::Spool, journal);
                }
            }
        }
        Ok(archive)
    }

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
        Ok(oldest.and_then(|place| {
            place.part.handed_out();
            place.next.take()
        }))
    }

    /// What could not be read so far because it was damaged, or went away meanwhile: in
    /// events in the journal, in elements of its lists in Redis.
    pub fn missing(&self) -> u64 {
        let reading = self.places.iter().map(|place| place.part.missing());
        self.missing + reading.sum::<u64>()
    }

    /// How far it was read: after the batch that was handed out last.
    pub fn mark(&self) -> ArchiveMark {
        let mut mark = ArchiveMark::default();
        for place in &self.places {
            match &place.part {
                Part::Journal(journal) => drop(mark.journals.insert(journal.kept, journal.mark)),
                Part::Redis(reader) => mark.lists = reader.mark(),
            }
        }
        mark
    }

    fn add_journal(&mut self, question: &Question<'_>, kept: Kept, journal: &Journal) {
        let scan = match question.mark {
            None => journal.scan(question.queue, question.accepted.clone()),
            Some(mark) => mark.journals.get(&kept).and_then(|mark| {
                journal.scan_from(question.queue, question.accepted.clone(), *mark)
            }),
        };
        self.add(scan.map(|scan| {
            Part::Journal(Box::new(InJournal {
                kept,
                mark: scan.mark(),
                scan: Some(scan),
                read: VecDeque::new(),
            }))
        }));
    }

    async fn add_redis(
        &mut self,
        question: &Question<'_>,
        redis: &Redis,
    ) -> Result<(), ArchiveError> {
        let lists = question.mark.map(|mark| &mark.lists[..]);
        let accepted = question.accepted.clone();
        // Boxed, as what is behind it is too deep a future for the compiler.
        let opening: BoxFuture<'_, _> = Box::pin(redis.archive(question.queue, accepted, lists));
        let reader = opening.await?;
        self.add(reader.map(|reader| Part::Redis(Box::new(reader))));
        if let Some(local) = redis.local_archive() {
            self.add_journal(question, Kept::Archive, local.journal());
        }
        Ok(())
    }

    fn add(&mut self, part: Option<Part>) {
        let place = part.map(|part| Place { part, next: None });
        self.places.extend(place);
    }
}

/// What is to be read.
struct Question<'q> {
    queue: &'q QueueName,
    accepted: RangeInclusive<UnixMillis>,
    mark: Option<&'q ArchiveMark>,
}

impl Part {
    async fn next(&mut self) -> Result<Option<Record>, ArchiveError> {
        match self {
            Self::Journal(journal) => journal.next().await,
            Self::Redis(reader) => {
                let next = reader.peek().await?;
                Ok(next.map(|(header, block)| (Arc::new(header), block)))
            }
        }
    }

    /// What [`Part::next`] gave last was handed out.
    fn handed_out(&mut self) {
        match self {
            Self::Journal(journal) => journal.handed_out(),
            Self::Redis(reader) => reader.handed_out(),
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
        Ok(self.read.front().map(|(record, _)| record.clone()))
    }

    fn handed_out(&mut self) {
        if let Some((_, mark)) = self.read.pop_front() {
            self.mark = mark;
        }
    }
}

fn interrupted() -> ArchiveError {
    ArchiveError("reading was interrupted".into())
}

fn some_of(mut scan: Scan) -> (Scan, Result<VecDeque<(Record, ScanMark)>, ArchiveError>) {
    let mut records = VecDeque::new();
    let mut bytes = 0;
    while records.len() < RECORDS && bytes < BYTES {
        match scan.next() {
            Some(Ok(record)) => {
                bytes += record.1.len();
                records.push_back((record, scan.mark()));
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
