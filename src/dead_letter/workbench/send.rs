//! Returns letters: puts their events into a queue again, with their old id and an
//! attempt mark.
//!
//! An event is durable in its queue before its letter is settled. A crash in between
//! sends it twice, which is harmless: both have the same id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use xxhash_rust::xxh3::xxh3_64;

use super::change::bad;
use super::walk::Found;
use super::{Cursor, Question, Report, Settings, WorkError, Workbench};
use crate::batch::{Batch, BatchId, Origin, QueueName, Timestamps, UnixMillis};
use crate::dead_letter::store::{Fate, Handle, Letter};
use crate::event::{Marks, returned};
use crate::spool::AppendError;

/// How long a batch waits for room.
const PATIENCE: Duration = Duration::from_secs(5);

/// Letters on their way into a queue.
#[derive(Debug, Default)]
struct Outgoing {
    block: Vec<u8>,
    handles: Vec<Handle>,
    dated: u32,
}

/// Batches by where they go.
type Batches = BTreeMap<(QueueName, Fate), Vec<Outgoing>>;

/// Letters of a chunk.
#[derive(Debug, Default)]
struct Sorted<'l> {
    outgoing: Batches,
    parked: Vec<&'l Letter>,
    /// Those that cannot be sent, and why not.
    failed: Vec<(&'l Letter, String)>,
}

/// What became of the letters that were to be sent.
#[derive(Debug, Default)]
struct Sent {
    /// Letters that were settled.
    done: u64,
    /// The numbers of those that are in their queues.
    sent: BTreeSet<u64>,
    /// The numbers of those that no queue took.
    unsent: BTreeSet<u64>,
    /// Why not.
    why: Option<WorkError>,
}

impl Workbench {
    /// Returns a chunk of letters, or counts them. Parked ones stay, unless the filter
    /// asks for them or for one by its name.
    ///
    /// What a queue does not take ends the chunk before its first letter: the report says
    /// what was done, and the next call begins there. Where nothing could be done, it is an
    /// error.
    pub async fn return_(&self, question: &Question) -> Result<Report, WorkError> {
        if let Some(to) = &question.to_queue {
            known(&self.settings, to)?;
        }
        let found = self.chunk(question).await?;
        let Sorted {
            outgoing,
            parked,
            failed,
        } = self.sorted(question, &found.letters);
        let sent = match question.apply {
            true => self.send_all(outgoing).await?,
            false => Sent::imagined(&outgoing),
        };
        let rest = sent.unsent.first().copied();
        // What lies behind a letter that was not sent is looked at again.
        let is_through =
            |number: &u64| rest.is_none_or(|rest| *number < rest) || sent.sent.contains(number);
        let through = |letter: &&Letter| is_through(&letter.number);
        let mut report = Report {
            examined: found.examined.iter().filter(|n| is_through(n)).count() as u64,
            matched: found.letters.iter().filter(through).count() as u64,
            done: sent.done,
            parked: parked.into_iter().filter(through).count() as u64,
            next: match rest {
                Some(rest) => Some(found.before(rest)),
                None => found.next,
            },
            ..Report::default()
        };
        let failed = failed.into_iter().filter(|(letter, _)| through(letter));
        failed.for_each(|(letter, why)| report.failed(letter, why));
        Ok(report)
    }

    /// Which letters go where, and which stay.
    fn sorted<'l>(&self, question: &Question, letters: &'l [Letter]) -> Sorted<'l> {
        let settings = &self.settings;
        let asked = question.filter.parked == Some(true) || question.filter.id.is_some();
        let mut sorted = Sorted::default();
        for letter in letters {
            if self.is_parked(letter) && !asked {
                sorted.parked.push(letter);
                continue;
            }
            let own = &letter.letter.queue;
            let to = question.to_queue.as_ref().unwrap_or(own);
            let fate = match to == own {
                true => Fate::Returned,
                false => Fate::SentElsewhere,
            };
            match known(settings, to).and_then(|()| line(letter, settings)) {
                Err(why) => sorted.failed.push((letter, why.to_string())),
                Ok((line, dated)) => {
                    let batches = sorted.outgoing.entry((to.clone(), fate)).or_default();
                    room(batches, line.len(), settings).put(letter, &line, dated);
                }
            }
        }
        sorted
    }

    /// Sends to all queues at once: one that does not take a batch holds up no other. An
    /// error if nothing was sent, or nobody knows what.
    async fn send_all(&self, outgoing: Batches) -> Result<Sent, WorkError> {
        let queues = outgoing
            .into_iter()
            .map(|((queue, fate), batches)| self.send_to(queue, fate, batches));
        let mut all = Sent::default();
        for sent in join_all(queues).await {
            all.add(sent?);
        }
        match all.why.take() {
            Some(why) if all.sent.is_empty() => Err(why),
            _ => Ok(all),
        }
    }

    /// Sends batch after batch to a queue, until it does not take one. An error if nobody
    /// knows what was sent.
    async fn send_to(
        &self,
        queue: QueueName,
        fate: Fate,
        batches: Vec<Outgoing>,
    ) -> Result<Sent, WorkError> {
        let mut sent = Sent::default();
        for batch in batches {
            let numbers = batch.handles.iter().map(|handle| handle.number);
            let numbers: Vec<_> = numbers.collect();
            if sent.why.is_some() {
                sent.unsent.extend(numbers);
                continue;
            }
            match self.send(&queue, fate, batch).await {
                Ok(settled) => {
                    sent.done += settled;
                    sent.sent.extend(numbers);
                }
                Err(why @ WorkError::Unknown(_)) => return Err(why),
                Err(why) => {
                    sent.unsent.extend(numbers);
                    sent.why = Some(why);
                }
            }
        }
        Ok(sent)
    }

    /// Appends a batch, then settles its letters; how many there were.
    async fn send(
        &self,
        queue: &QueueName,
        fate: Fate,
        outgoing: Outgoing,
    ) -> Result<u64, WorkError> {
        let permit = self
            .spool
            .permit(queue, outgoing.block.len(), Some(PATIENCE));
        let permit = permit.await.map_err(not_sent)?;
        let events = outgoing.handles.len() as u32;
        let batch = Batch {
            id: BatchId::generate(),
            accepted_at: UnixMillis::now(),
            events,
            payload_hash: xxh3_64(&outgoing.block),
            payload: outgoing.block.into(),
            rejected: Box::default(),
            own_metadata: true,
            foreign: false,
            timestamps: Timestamps::of(outgoing.dated, events),
            origin: Origin::Returned,
        };
        permit.append(batch).await.map_err(not_sent)?;
        self.settle(&outgoing.handles, fate).await
    }
}

impl Sent {
    /// What would become of them.
    fn imagined(outgoing: &Batches) -> Self {
        let batches = outgoing.values().flatten();
        Self {
            done: batches.map(|batch| batch.handles.len() as u64).sum(),
            ..Self::default()
        }
    }

    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.sent.extend(other.sent);
        self.unsent.extend(other.unsent);
        self.why = self.why.take().or(other.why);
    }
}

impl Found {
    /// Where to go on so that the letter with this number comes next.
    fn before(&self, number: u64) -> Cursor {
        // All there were have been looked at if there is no next.
        let end = self.examined.iter().max().copied().unwrap_or(number);
        Cursor {
            last: number.saturating_sub(1),
            bound: self.next.map_or(end, |next| next.bound),
        }
    }
}

impl Outgoing {
    fn put(&mut self, letter: &Letter, line: &[u8], dated: bool) {
        self.block.extend_from_slice(line);
        self.handles.push(letter.handle());
        self.dated += u32::from(dated);
    }
}

/// The batch that takes `len` bytes more.
fn room<'a>(batches: &'a mut Vec<Outgoing>, len: usize, settings: &Settings) -> &'a mut Outgoing {
    let limits = &settings.limits;
    let is_full = batches.last().is_none_or(|last| {
        last.handles.len() >= limits.max_batch_events
            || last.block.len() + len > limits.max_batch_bytes
    });
    if is_full {
        batches.push(Outgoing::default());
    }
    let last = batches.last_mut();
    last.expect("invariant: one was pushed if there was none")
}

/// The event as it is sent, and whether it has an `@timestamp`.
fn line(letter: &Letter, settings: &Settings) -> Result<(Vec<u8>, bool), WorkError> {
    let dead = &letter.letter;
    // If it came back as the same attempt it would be taken for a late copy, and be gone.
    let attempt = dead.attempt.checked_add(1).ok_or_else(|| {
        bad("no `attempt` is higher than its own: take it out into a file and import it with a lower one")
    })?;
    let marks = Marks {
        id: dead.id.as_deref().unwrap_or(&letter.name),
        attempt,
        accepted_at: letter.first_at,
    };
    returned(&dead.event, &marks, &settings.limits).map_err(|reject| {
        bad(&format!(
            "it would be rejected again ({}: {}); repair it first",
            reject.reason, reject.detail
        ))
    })
}

fn known(settings: &Settings, queue: &QueueName) -> Result<(), WorkError> {
    if settings.queues.contains(queue) {
        return Ok(());
    }
    let names: Vec<_> = settings.queues.iter().map(QueueName::as_str).collect();
    Err(bad(&format!(
        "there is no queue {queue}; there are: {}",
        names.join(", ")
    )))
}

fn not_sent(error: AppendError) -> WorkError {
    WorkError::Unavailable(error.to_string())
}
