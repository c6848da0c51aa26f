//! Appends that the writer took in and has not stored, in their order.

use std::collections::VecDeque;
use std::time::Instant;

use super::queue::Append;
use crate::batch::Batch;
use crate::record;
use crate::spool::{AppendError, Appended};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Backlog(VecDeque<Append>);

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, append: Append) {
        self.0.push_back(append);
    }

    /// Length of the first record, in bytes.
    pub(super) fn first_len(&self) -> Option<u64> {
        self.0.front().map(|append| record_len(&append.batch))
    }

    /// The first, and what follows it as long as `fits` the bytes of all.
    pub(super) fn take_round(&mut self, fits: impl Fn(u64) -> bool) -> Vec<Append> {
        let mut bytes = 0;
        let joins = self.0.iter().enumerate().take_while(|(at, append)| {
            bytes += record_len(&append.batch);
            *at == 0 || fits(bytes)
        });
        let count = joins.count();
        self.0.drain(..count).collect()
    }

    /// A round that was not stored becomes the first again.
    pub(super) fn put_back(&mut self, round: Vec<Append>) {
        for append in round.into_iter().rev() {
            self.0.push_front(append);
        }
    }

    /// When the next caller's patience is over.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(|append| append.until).min()
    }

    /// Refuses those whose patience is over.
    pub(super) fn refuse_late(&mut self, now: Instant, why: &AppendError) {
        let is_late = |append: &Append| append.until.is_some_and(|until| until <= now);
        if !self.0.iter().any(is_late) {
            return;
        }
        let (late, rest) = std::mem::take(&mut self.0).into_iter().partition(is_late);
        self.0 = rest;
        refuse(late, why);
    }

    pub(super) fn refuse_all(&mut self, why: &AppendError) {
        refuse(std::mem::take(&mut self.0), why);
    }
}

pub(super) fn refuse(appends: impl IntoIterator<Item = Append>, why: &AppendError) {
    for append in appends {
        drop(append.reserved);
        // A caller that stopped waiting does not want to know.
        let _ = append.answer.send(Err(why.clone()));
    }
}

/// The batches of a round are durable.
pub(super) fn accept(round: Vec<Append>) {
    for append in round {
        let appended = Appended {
            id: append.batch.id,
            events: append.batch.events,
        };
        drop(append.reserved);
        let _ = append.answer.send(Ok(appended));
    }
}

fn record_len(batch: &Batch) -> u64 {
    (record::header_len(batch) + batch.payload.len()) as u64
}
