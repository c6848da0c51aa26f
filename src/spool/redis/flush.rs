//! One flush: many appends in one transaction.
//!
//! ```text
//!     MULTI
//!     HINCRBY {L}:ledger appends 1
//!     RPUSH L e1 .. en
//!     HINCRBY {L}:ledger accepted (returned, replayed), waiting_events, waiting_batches,
//!                        waiting_bytes
//!     HSET {L}:appender:ID SLOT NUMBER, EXPIRE
//!     EXEC
//!     WAIT replicas timeout        (with `min_replicas`)
//! ```
//!
//! No script: the payload would be copied through Lua. A Redis that is out of memory
//! refuses the transaction as a whole. Flushes under way at a time have slots of their
//! own in the appender's hash, so that it tells of each whether it was stored, also
//! where one was refused and the next was not.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use deadpool_redis::redis::{Cmd, Pipeline, cmd};

use super::keys::Keys;
use super::nodes::{Conn, Fault};
use super::queue::Append;
use crate::ledger::Ledger;
use crate::metrics;

/// How long it is remembered which flushes were stored, in seconds.
const REMEMBERED: u64 = 86_400;

/// See the module.
#[derive(Debug)]
pub(super) struct Flush {
    pub(super) number: u64,
    pub(super) appends: Vec<Append>,
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// How its events came.
    pub(super) came: Ledger,
}

/// A flush was stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    /// The count of flushes of the list with it.
    pub(super) at: u64,
    /// How many replicas have it, if that was asked.
    pub(super) replicas: u32,
}

/// A flush under way.
pub(super) type Flight = Pin<Box<dyn Future<Output = Result<Stored, Fault>> + Send>>;

/// How flushes are written.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) appender: String,
    pub(super) slots: u64,
    pub(super) min_replicas: u32,
    pub(super) replica_patience: Duration,
}

impl Form {
    /// Waits until so many replicas as are needed have what was written; the answer is
    /// how many have. `None`: none are needed.
    pub(super) fn wait(&self) -> Option<Cmd> {
        let mut wait = cmd("WAIT");
        let patience = self.replica_patience.as_millis() as u64;
        wait.arg(self.min_replicas).arg(patience);
        (self.min_replicas > 0).then_some(wait)
    }

    /// What is wrong if only `replicas` have it.
    pub(super) fn too_few(&self, replicas: u32) -> Option<Fault> {
        let needed = self.min_replicas;
        let words = || format!("{replicas} of {needed} replicas have what it has");
        (replicas < needed).then(|| Fault::NotNow(words()))
    }
}

impl Flush {
    pub(super) fn new(number: u64, appends: Vec<Append>) -> Self {
        let mut came = Ledger::default();
        for append in &appends {
            came.came(append.origin, u64::from(append.events));
        }
        let bytes = appends.iter().map(|append| append.element.len() as u64);
        Self {
            number,
            events: came.arrived(),
            bytes: bytes.sum(),
            came,
            appends,
        }
    }

    fn transaction(&self, keys: &Keys, form: &Form) -> Pipeline {
        let mut flush = Pipeline::with_capacity(8);
        flush.atomic();
        flush.cmd("HINCRBY").arg(&keys.ledger).arg("appends").arg(1);
        let push = flush.cmd("RPUSH").arg(&keys.list);
        for append in &self.appends {
            push.arg(&append.element);
        }
        let counts = [
            ("accepted", self.came.accepted),
            ("returned", self.came.returned),
            ("replayed", self.came.replayed),
            ("waiting_events", self.events),
            ("waiting_batches", self.appends.len() as u64),
            ("waiting_bytes", self.bytes),
        ];
        for (field, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            let book = flush.cmd("HINCRBY").arg(&keys.ledger);
            book.arg(field).arg(count).ignore();
        }
        let (slot, number) = (self.number % form.slots, self.number);
        let appender = flush.cmd("HSET").arg(&form.appender);
        appender.arg(slot).arg(number).ignore();
        let expire = flush.cmd("EXPIRE").arg(&form.appender);
        expire.arg(REMEMBERED).ignore();
        flush
    }

    /// Puts it on its way: it is sent behind what was sent before.
    pub(super) fn start(&self, conn: &Conn, keys: &Keys, form: &Form) -> Flight {
        let flush = self.transaction(keys, form);
        let wait = form.wait();
        let (mut conn, mut second) = (conn.clone(), conn.clone());
        let mut flight: Flight = Box::pin(async move {
            let begun = Instant::now();
            let stored = conn.run::<(u64, u64)>(&flush);
            let replicas = async {
                match wait {
                    Some(wait) => second.call::<u32>(&wait).await,
                    None => Ok(0),
                }
            };
            let (stored, replicas) = futures_util::join!(stored, replicas);
            metrics::redis_took("append", begun.elapsed());
            let (at, _) = stored?;
            Ok(Stored {
                at,
                replicas: replicas.unwrap_or(0),
            })
        });
        first_poll(&mut flight);
        flight
    }
}

/// Commands are sent in the order in which their futures are first polled. Nothing is
/// answered by then.
fn first_poll(flight: &mut Flight) {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    // Ready at once only if the connection is gone, which the next poll must not ask.
    if let Poll::Ready(answer) = flight.as_mut().poll(&mut context) {
        *flight = Box::pin(std::future::ready(answer));
    }
}
