//! A batch held for sending, and room for one that comes.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use deadpool_redis::redis::{Value, cmd};
use tokio::sync::oneshot;

use super::element::{self, Compression, Damage};
use super::held::{Content, Held, Part, Sorted};
use super::nodes::Fault;
use super::queue::{Append, Queue};
use super::shard::Shard;
use super::state::Outcome;
use crate::batch::Batch;
use crate::event::Reject;
use crate::record::Header;
use crate::spool::room::Reserved;
use crate::spool::{AppendError, Appended, LeaseError, SettleError};

/// Room for one append.
#[derive(Debug)]
pub(in crate::spool) struct Permit {
    pub(super) queue: Arc<Queue>,
    pub(super) reserved: Reserved,
    pub(super) compression: Compression,
    /// When the caller's patience is over, if ever.
    pub(super) until: Option<Instant>,
}

impl Permit {
    /// The batch is on its way when this is first polled. Encoded here, in the
    /// caller's task: many callers do that at once.
    pub(in crate::spool) async fn append(self, batch: Batch) -> Result<Appended, AppendError> {
        let (answer, answered) = oneshot::channel();
        self.queue.push(Append {
            id: batch.id,
            origin: batch.origin,
            events: batch.events,
            element: element::encode(&batch, self.compression),
            answer,
            until: self.until,
            reserved: self.reserved,
        });
        drop(batch);
        answered.await.unwrap_or(Err(AppendError::Closing))
    }
}

/// A batch held for sending. Dropped unsettled, it goes back with an unknown
/// outcome.
#[derive(Debug)]
pub(in crate::spool) struct Lease {
    shard: Arc<Shard>,
    number: u64,
    parts: Arc<[Part]>,
    header: Arc<Header>,
    attempts: u32,
    rejects: Arc<[Reject]>,
    /// Handed out once and then forgotten: what is sent is not kept.
    content: Mutex<Option<Content>>,
    settled: bool,
    /// Its record turned out to be damaged: it is in the quarantine, or on its way.
    set_aside: AtomicBool,
}

impl Lease {
    pub(super) fn new(shard: Arc<Shard>, held: Held) -> Self {
        Self {
            shard,
            number: held.number(),
            parts: held.parts,
            header: held.header,
            attempts: held.attempts,
            rejects: held.rejects,
            content: Mutex::new(held.content),
            settled: false,
            set_aside: AtomicBool::new(false),
        }
    }

    pub(in crate::spool) fn header(&self) -> &Header {
        &self.header
    }

    pub(in crate::spool) async fn payload(&self) -> Result<Bytes, LeaseError> {
        let here = self
            .content
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let content = match here {
            Some(content) => content,
            None => self.read_again().await?,
        };
        let block = content.block();
        block.map_err(|damage| {
            self.set_aside(damage);
            LeaseError::Unreadable(damage.to_string())
        })
    }

    /// The record's checksums hold, so what is wrong with it stays wrong: given back,
    /// it would stop the list for ever.
    fn set_aside(&self, damage: Damage) {
        let (list, lease) = (self.shard.list(), self.number);
        if !self
            .shard
            .change(|state| state.settle(lease, Outcome::Damaged))
        {
            return;
        }
        self.set_aside.store(true, Relaxed);
        self.shard.work.notify_one();
        let events = self.header.events;
        tracing::error!(list, lease, events, %damage, "an element cannot be sent; it is set aside in the list's quarantine");
    }

    /// Reads the leased elements from Redis.
    async fn read_again(&self) -> Result<Content, LeaseError> {
        let holder = self.shard.look(|state| {
            let holder = state.holder().cloned();
            holder.filter(|_| state.is_out(self.number))
        });
        let Some(holder) = holder else {
            let why = "the batch is no longer ours: it went back to the list";
            return Err(LeaseError::Unreadable(why.into()));
        };
        let mut question = cmd("HMGET");
        question.arg(self.shard.keys.leases(&holder));
        for part in self.parts.iter() {
            question.arg(part.number);
        }
        let unreadable = |fault: Fault| LeaseError::Unreadable(fault.to_string());
        let connected = self.shard.nodes.connect(self.shard.list()).await;
        let mut conn = connected.map_err(unreadable)?;
        let elements: Vec<Value> = conn.call(&question).await.map_err(unreadable)?;
        let numbers = self.parts.iter().map(|part| part.number);
        let sorted = Sorted::read(numbers, elements, self.shard.max_event_bytes);
        let found = sorted.batches.into_iter().next();
        let whole = found.filter(|held| held.parts == self.parts);
        let content = whole.and_then(|held| held.content);
        content.ok_or_else(|| {
            LeaseError::Unreadable("the batch is no longer in Redis as it was leased".into())
        })
    }

    pub(in crate::spool) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(in crate::spool) fn rejects(&self) -> &[Reject] {
        &self.rejects
    }

    pub(in crate::spool) fn rejects_kept(&mut self) {
        self.rejects = Arc::default();
        let number = self.number;
        self.shard.change(|state| state.rejects_kept(number));
    }

    pub(in crate::spool) fn ack(mut self, dead_letters: u32) -> Result<(), SettleError> {
        self.settle(Outcome::Settled { dead_letters })
    }

    pub(in crate::spool) fn requeue(mut self, unknown_outcome: bool) -> Result<(), SettleError> {
        self.settle(if unknown_outcome {
            Outcome::Unknown
        } else {
            Outcome::Returned
        })
    }

    fn settle(&mut self, outcome: Outcome) -> Result<(), SettleError> {
        self.settled = true;
        if self.set_aside.load(Relaxed) {
            return match outcome {
                Outcome::Settled { .. } => Err(SettleError("the batch was set aside".into())),
                // There is nothing left to give back.
                _ => Ok(()),
            };
        }
        let number = self.number;
        let settled = self.shard.change(|state| state.settle(number, outcome));
        match outcome {
            Outcome::Settled { .. } | Outcome::Damaged => self.shard.work.notify_one(),
            Outcome::Returned | Outcome::Unknown => self.shard.queue.wake(),
        }
        if settled {
            return Ok(());
        }
        Err(SettleError(
            "the batch was taken back, or the spool was closed".into(),
        ))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.settled {
            // Refused only if it was taken back already.
            let _ = self.settle(Outcome::Unknown);
        }
    }
}
