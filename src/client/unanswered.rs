//! The batches that were sent and have no outcome yet. No I/O and no clock:
//! the owner tells it what happened and when.
//!
//! A batch either *waits* or is *on the stream* under an ordinal. A stream that
//! ends puts all that were on it back among the waiting ones, in their old
//! order. After a failure nothing goes out before `pause_until`, and then one
//! batch at a time until the oldest is through (`probe_until`): a gateway that
//! is full is not asked with the whole window, and a batch that makes the
//! gateway end the stream is found out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;
use tonic::Status;

use super::backoff::Backoff;
use super::outcome::{Reply, Report};
use super::verdict::{self, Verdict};
use super::window::Place;
use super::{Batch, Failed, Outcome, Receipt, SendError};
use crate::proto::{AppendRequest, AppendResponse};

/// Position in the order of sending, over the client's whole life.
type Sequence = u64;

#[derive(Debug)]
struct Entry {
    batch: Batch,
    reply: Reply,
    give_up_at: Option<Instant>,
    sent_before: bool,
    /// Held until the batch has its outcome.
    _place: Place,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Unanswered {
    queue: String,
    patience: Option<Duration>,
    entries: BTreeMap<Sequence, Entry>,
    waiting: BTreeSet<Sequence>,
    on_stream: HashMap<u64, Sequence>,
    next_sequence: Sequence,
    next_ordinal: u64,
    backoff: Backoff,
    pause_until: Option<Instant>,
    probe_until: Option<Sequence>,
    last_error: String,
    report: Report,
}

impl Unanswered {
    pub(super) fn new(queue: String, patience: Option<Duration>) -> Self {
        Self {
            queue,
            patience,
            entries: BTreeMap::new(),
            waiting: BTreeSet::new(),
            on_stream: HashMap::new(),
            next_sequence: 0,
            next_ordinal: 0,
            backoff: Backoff::default(),
            pause_until: None,
            probe_until: None,
            last_error: "the gateway has not answered yet".to_owned(),
            report: Report::default(),
        }
    }

    pub(super) fn add(&mut self, batch: Batch, place: Place, reply: Reply, now: Instant) {
        let entry = Entry {
            batch,
            reply,
            give_up_at: self.patience.map(|patience| now + patience),
            sent_before: false,
            _place: place,
        };
        self.entries.insert(self.next_sequence, entry);
        self.waiting.insert(self.next_sequence);
        self.next_sequence += 1;
    }

    /// Whether a batch may go out now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let paused = self.pause_until.is_some_and(|until| now < until);
        let probing = self.is_probing() && !self.on_stream.is_empty();
        !self.waiting.is_empty() && !paused && !probing
    }

    /// The next batch for the stream that is open now.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<AppendRequest> {
        if !self.is_due(now) {
            return None;
        }
        let sequence = self.waiting.pop_first()?;
        let entry = self.entries.get_mut(&sequence)?;
        self.report.resent += u64::from(entry.sent_before);
        entry.sent_before = true;
        self.on_stream.insert(self.next_ordinal, sequence);
        self.next_ordinal += 1;
        Some(AppendRequest {
            queue: self.queue.clone(),
            batch_id: entry.batch.id().clone(),
            ndjson: entry.batch.ndjson().clone(),
            ..AppendRequest::default()
        })
    }

    /// Takes an answer. An ordinal without a batch belongs to one that was
    /// given up.
    pub(super) fn answered(&mut self, answer: AppendResponse, now: Instant) {
        let Some(sequence) = self.on_stream.remove(&answer.ordinal) else {
            return;
        };
        let Some(error) = &answer.error else {
            self.backoff.succeeded();
            return self.settle(sequence, |batch| Ok(receipt(batch, answer)));
        };
        match verdict::of_answer(error) {
            Verdict::Retry(asked) => {
                if self.entries.contains_key(&sequence) {
                    self.waiting.insert(sequence);
                }
                self.pause(asked, error.message.clone(), now);
                self.probe_until = self.probe_until.max(self.oldest());
            }
            Verdict::Refused | Verdict::AllRefused => {
                self.backoff.succeeded();
                let refused = refused(error.code.into(), &error.message);
                self.fail(sequence, refused);
            }
        }
    }

    /// The stream has ended: whatever was on it has lost its answer.
    pub(super) fn stream_ended(&mut self, status: &Status, now: Instant) {
        let lost: BTreeSet<Sequence> = self
            .on_stream
            .drain()
            .map(|(_, sequence)| sequence)
            .filter(|sequence| self.entries.contains_key(sequence))
            .collect();
        self.next_ordinal = 0;
        self.waiting.extend(&lost);
        if self.waiting.is_empty() {
            // An idle stream was ended: nobody has lost anything by it.
            return;
        }
        let error = || refused(status.code(), status.message());
        let (mut asked, mut probe_until) = (None, self.oldest());
        match verdict::of_stream(status) {
            Verdict::Retry(after) => asked = after,
            Verdict::AllRefused => {
                for sequence in std::mem::take(&mut self.waiting) {
                    self.fail(sequence, error());
                }
            }
            // Alone on the stream: it is the guilty one. Else one of these is.
            Verdict::Refused if lost.len() == 1 => lost
                .into_iter()
                .for_each(|sequence| self.fail(sequence, error())),
            Verdict::Refused => probe_until = lost.last().copied(),
        }
        self.pause(asked, status.message().to_owned(), now);
        self.probe_until = self.probe_until.max(probe_until);
    }

    /// Gives back what has waited too long.
    pub(super) fn give_up(&mut self, now: Instant) {
        while let Some(patience) = self.patience
            && let Some((&sequence, entry)) = self.entries.first_key_value()
            && entry.give_up_at.is_some_and(|at| at <= now)
        {
            let last = self.last_error.clone();
            self.fail(sequence, SendError::GaveUp { patience, last });
        }
    }

    /// When the owner has to look again without anything having happened.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        let resume = self
            .pause_until
            .filter(|until| now < *until && !self.waiting.is_empty());
        // All have the same patience, so the oldest is the first to be given up.
        let give_up = self
            .entries
            .first_key_value()
            .and_then(|(_, entry)| entry.give_up_at);
        [resume, give_up].into_iter().flatten().min()
    }

    /// The oldest batch without an outcome.
    pub(super) fn oldest(&self) -> Option<Sequence> {
        self.entries
            .first_key_value()
            .map(|(sequence, _)| *sequence)
    }

    /// The sequence that the next batch will get.
    pub(super) fn next_sequence(&self) -> Sequence {
        self.next_sequence
    }

    pub(super) fn report(&self) -> Report {
        self.report
    }

    /// What went wrong last.
    pub(super) fn last_error(&self) -> &str {
        &self.last_error
    }

    /// Whether nothing goes out because of a failure.
    pub(super) fn is_failing(&self) -> bool {
        self.backoff.is_failing()
    }

    fn is_probing(&self) -> bool {
        match (self.probe_until, self.oldest()) {
            (Some(until), Some(oldest)) => oldest <= until,
            _ => false,
        }
    }

    /// A second failure within a pause is the same failure.
    fn pause(&mut self, asked: Option<Duration>, reason: String, now: Instant) {
        self.last_error = reason;
        let until = match self.pause_until.filter(|until| now < *until) {
            Some(until) => until.max(now + asked.unwrap_or_default()),
            None => now + self.backoff.failed(asked),
        };
        self.pause_until = Some(until);
    }

    fn fail(&mut self, sequence: Sequence, error: SendError) {
        self.settle(sequence, |batch| Err(Failed { batch, error }));
    }

    fn settle(&mut self, sequence: Sequence, outcome: impl FnOnce(Batch) -> Outcome) {
        self.waiting.remove(&sequence);
        if let Some(entry) = self.entries.remove(&sequence) {
            let outcome = outcome(entry.batch);
            self.report.count(&outcome);
            entry.reply.settle(outcome);
        }
    }
}

fn receipt(batch: Batch, answer: AppendResponse) -> Receipt {
    Receipt {
        batch,
        accepted: answer.accepted,
        rejected: answer.rejected.into_iter().map(Into::into).collect(),
    }
}

fn refused(code: tonic::Code, message: &str) -> SendError {
    SendError::Refused {
        code,
        message: message.to_owned(),
    }
}
