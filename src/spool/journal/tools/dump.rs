//! `journal dump`: the records of a queue, one after the other.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Serialize;

use super::super::files::OsFiles;
use super::super::layout::segment_path;
use super::super::lock::Lock;
use super::super::reader::Loaded;
use super::super::recover::Survey;
use super::walk::{Found, Walk};
use super::{ToolError, open};
use crate::batch::{Origin, QueueName, UnixMillis};

/// Which records are wanted; `Default` wants all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// Accepted at this time or later.
    pub accepted_from: Option<UnixMillis>,
    /// Accepted at this time or earlier.
    pub accepted_to: Option<UnixMillis>,
    /// Only what is not settled.
    pub unsettled: bool,
}

impl Filter {
    fn wants(&self, record: &Dumped) -> bool {
        self.accepted_from
            .is_none_or(|from| record.accepted_at >= from)
            && self.accepted_to.is_none_or(|to| record.accepted_at <= to)
            && (!self.unsettled || !record.settled)
    }
}

/// A record, readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dumped {
    /// Position in the queue.
    pub sequence: u64,
    /// The file it is in.
    pub segment: PathBuf,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// The batch's id; bytes that are no printable ASCII are escaped.
    pub batch_id: String,
    /// When the gateway took it, in milliseconds since 1970 UTC.
    pub accepted_at: UnixMillis,
    /// How it came into the queue.
    pub origin: Origin,
    /// Number of events.
    pub events: u32,
    /// Length of the payload, in bytes.
    pub payload_bytes: u32,
    /// xxh3-64 of what the client sent, in hexadecimal digits.
    pub payload_hash: String,
    /// Positions of events that were rejected at the door.
    pub rejected: Vec<u32>,
    /// Whether an event has an `@metadata` of its own.
    pub own_metadata: bool,
    /// Events of all records before it.
    pub events_before: u64,
    /// Highest sequence that was synced when it was written.
    pub durable_through: u64,
    /// Whether it was confirmed or given up; as the last cursor knows.
    pub settled: bool,
    /// The events, one a line.
    #[serde(skip)]
    pub payload: Bytes,
}

/// The good records of `queue` that `filter` wants, oldest first. The iterator
/// blocks, holds about a mebibyte, and keeps the journal locked.
pub fn dump(dir: &Path, queue: &QueueName, filter: Filter) -> Result<Dump, ToolError> {
    let (lock, queues) = open(dir)?;
    let Some((_, queue_dir)) = queues.into_iter().find(|(name, _)| name == queue) else {
        return Err(ToolError::NoQueue(queue.clone()));
    };
    let survey = Survey::new(&OsFiles, &queue_dir)?;
    let cursor = survey.cursor(&OsFiles, &queue_dir)?;
    let unsettled = cursor.unsettled.iter().map(|record| record.sequence);
    Ok(Dump {
        walk: Walk::new(&queue_dir, &survey.stored),
        queue_dir,
        filter,
        head: cursor.head.sequence,
        unsettled: unsettled.collect(),
        loaded: VecDeque::new(),
        failed: false,
        _lock: lock,
    })
}

/// See [`dump`].
#[derive(Debug)]
pub struct Dump {
    walk: Walk,
    queue_dir: PathBuf,
    filter: Filter,
    /// The first sequence that was never leased.
    head: u64,
    /// Sequences before it that are not settled.
    unsettled: BTreeSet<u64>,
    loaded: VecDeque<Loaded>,
    failed: bool,
    _lock: Lock,
}

impl Dump {
    fn next_record(&mut self) -> Result<Option<Dumped>, ToolError> {
        loop {
            while let Some(record) = self.loaded.pop_front() {
                let record = self.dumped(record);
                if self.filter.wants(&record) {
                    return Ok(Some(record));
                }
            }
            match self.walk.next()? {
                Some(Found::Records(records)) => self.loaded.extend(records),
                Some(Found::Bad(_)) => {}
                None => return Ok(None),
            }
        }
    }

    fn dumped(&self, record: Loaded) -> Dumped {
        let header = record.header;
        let sequence = header.place.sequence;
        Dumped {
            sequence,
            segment: segment_path(&self.queue_dir, record.address.segment),
            offset: record.address.offset,
            batch_id: header.id.as_bytes().escape_ascii().to_string(),
            accepted_at: header.accepted_at,
            origin: header.origin,
            events: header.events,
            payload_bytes: header.payload_len,
            payload_hash: format!("{:016x}", header.payload_hash),
            rejected: header.rejected.to_vec(),
            own_metadata: header.own_metadata,
            events_before: header.place.events_before,
            durable_through: header.place.durable_through,
            settled: sequence < self.head && !self.unsettled.contains(&sequence),
            payload: record.payload.unwrap_or_default(),
        }
    }
}

impl Iterator for Dump {
    type Item = Result<Dumped, ToolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_record();
        self.failed = next.is_err();
        next.transpose()
    }
}
