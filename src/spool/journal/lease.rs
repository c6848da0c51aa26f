//! A batch held for sending, and room for one that comes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::held::Held;
use super::layout::Position;
use super::quarantine::{self, Kind};
use super::queue::Queue;
use super::reader::{Loaded, ReadError, Reader, Step};
use super::state::{Claimed, Outcome};
use crate::batch::Batch;
use crate::record::Header;
use crate::spool::room::Reserved;
use crate::spool::{AppendError, Appended, LeaseError, SettleError};

/// Room for one append.
#[derive(Debug)]
pub(in crate::spool) struct Permit {
    pub(super) queue: Arc<Queue>,
    pub(super) reserved: Reserved,
    /// When the caller's patience is over, if ever.
    pub(super) until: Option<Instant>,
}

impl Permit {
    pub(in crate::spool) async fn append(self, batch: Batch) -> Result<Appended, AppendError> {
        let Self {
            queue,
            reserved,
            until,
        } = self;
        queue.append(reserved, batch, until).await
    }
}

/// A record that is marked as leased. Dropped unsettled, it goes back; once it
/// was handed out nobody knows what became of it.
#[derive(Debug)]
pub(super) struct Claim {
    queue: Arc<Queue>,
    sequence: u64,
    held: Held,
    record: Option<Loaded>,
    handed_out: bool,
    settled: bool,
}

impl Claim {
    pub(super) fn new(queue: Arc<Queue>, claimed: Claimed) -> Self {
        Self {
            queue,
            sequence: claimed.sequence,
            held: claimed.held,
            record: claimed.record,
            handed_out: false,
            settled: false,
        }
    }

    /// Reads the header if it is not in memory. `None`: the record is damaged,
    /// and was set aside.
    pub(super) async fn into_lease(mut self) -> Result<Option<Lease>, LeaseError> {
        if let Some(record) = self.record.take() {
            return Ok(Some(Lease::new(self, record)));
        }
        if let Some(header) = self.held.header.clone() {
            let record = Loaded {
                address: self.held.address,
                header,
                payload: None,
            };
            return Ok(Some(Lease::new(self, record)));
        }
        let (queue, held, sequence) = (self.queue.clone(), self.held.clone(), self.sequence);
        let loaded = blocking(move || load(&queue, &held, sequence)).await;
        match loaded {
            Ok(Some(record)) => {
                self.queue
                    .change(|state| state.set_header(self.sequence, &record));
                Ok(Some(Lease::new(self, record)))
            }
            Ok(None) => {
                let sequence = self.sequence;
                self.queue.change(|state| state.mark_damaged(sequence));
                self.settle(Outcome::Returned);
                Ok(None)
            }
            Err(error) => {
                self.settle(Outcome::Returned);
                Err(error)
            }
        }
    }

    fn settle(&mut self, outcome: Outcome) -> bool {
        self.settled = true;
        let settled = self
            .queue
            .change(|state| state.settle(self.sequence, outcome));
        self.queue.wake();
        settled
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(if self.handed_out {
                Outcome::Unknown
            } else {
                Outcome::Returned
            });
        }
    }
}

/// A batch held for sending.
#[derive(Debug)]
pub(in crate::spool) struct Lease {
    claim: Claim,
    header: Arc<Header>,
    /// Handed out once and then forgotten: what is sent is not kept.
    payload: Mutex<Option<Bytes>>,
}

impl Lease {
    fn new(mut claim: Claim, record: Loaded) -> Self {
        claim.handed_out = true;
        Self {
            claim,
            header: record.header,
            payload: Mutex::new(record.payload),
        }
    }

    pub(in crate::spool) fn header(&self) -> &Header {
        &self.header
    }

    pub(in crate::spool) async fn payload(&self) -> Result<Bytes, LeaseError> {
        let in_memory = self
            .payload
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(payload) = in_memory {
            return Ok(payload);
        }
        let (queue, header) = (self.claim.queue.clone(), self.header.clone());
        let (held, sequence) = (self.claim.held.clone(), self.claim.sequence);
        let payload = blocking(move || {
            let reader = open(&queue, &held)?;
            let payload = reader.payload(held.address, &header)?;
            if payload.is_none() {
                set_aside(&queue, &reader, &held, sequence);
                queue.change(|state| state.mark_damaged(sequence));
            }
            Ok(payload)
        });
        payload.await?.ok_or(LeaseError::Damaged)
    }

    pub(in crate::spool) fn attempts(&self) -> u32 {
        self.claim.held.attempts
    }

    pub(in crate::spool) fn ack(mut self, dead_letters: u32) -> Result<(), SettleError> {
        self.settle(Outcome::Settled {
            dead_letters,
            quarantined: 0,
        })
    }

    pub(in crate::spool) async fn ack_without(
        mut self,
        events: u32,
        bytes: Bytes,
    ) -> Result<(), SettleError> {
        let (queue, sequence) = (self.claim.queue.clone(), self.claim.sequence);
        let write = move || {
            let (files, at) = (&*queue.files, (sequence, sequence));
            quarantine::write(files, &queue.dir, at, Kind::Unreadable, [Ok(bytes)])
        };
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.map_err(|error| SettleError(error.to_string()))?;
        written.map_err(|error| SettleError(error.to_string()))?;
        self.settle(Outcome::Settled {
            dead_letters: 0,
            quarantined: events,
        })
    }

    pub(in crate::spool) fn requeue(mut self, unknown_outcome: bool) -> Result<(), SettleError> {
        self.settle(if unknown_outcome {
            Outcome::Unknown
        } else {
            Outcome::Returned
        })
    }

    fn settle(&mut self, outcome: Outcome) -> Result<(), SettleError> {
        if self.claim.settle(outcome) {
            Ok(())
        } else {
            Err(SettleError("the journal was closed".into()))
        }
    }
}

/// The record of a batch that was unsettled at the last stop. `None`: it is
/// damaged, and was set aside.
fn load(queue: &Queue, held: &Held, sequence: u64) -> Result<Option<Loaded>, ReadError> {
    let reader = open(queue, held)?;
    let at = Position {
        segment: held.address.segment,
        offset: held.address.offset,
        sequence,
        events: 0,
    };
    if let Step::Records(records) = reader.step(at)?
        && let Some(record) = records.into_iter().next()
        && record.header.place.sequence == sequence
    {
        return Ok(Some(record));
    }
    set_aside(queue, &reader, held, sequence);
    Ok(None)
}

/// The segment of a held record, up to the record's end.
fn open(queue: &Queue, held: &Held) -> Result<Reader, ReadError> {
    let end = held.address.offset + held.bytes;
    Reader::open(&*queue.files, &queue.dir, held.address.segment, end)
}

fn set_aside(queue: &Queue, reader: &Reader, held: &Held, sequence: u64) {
    let range = held.address.offset..held.address.offset + held.bytes;
    queue.set_aside(reader, range, (sequence, sequence));
}

/// Reads away from the runtime's own threads.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, LeaseError> {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read.map_err(|error| LeaseError::Unreadable(error.to_string())),
        Err(_) => Err(LeaseError::Closed),
    }
}
