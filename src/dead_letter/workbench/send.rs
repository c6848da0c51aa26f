//! Returns letters: puts their events into a queue again, with their old id and an
//! attempt mark.
//!
//! An event is durable in its queue before its letter is settled. A crash in between
//! sends it twice, which is harmless: both have the same id.

use std::collections::BTreeMap;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::change::bad;
use super::{Question, Report, Settings, WorkError, Workbench};
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

impl Workbench {
    /// Returns a chunk of letters, or counts them. Parked ones stay, unless the filter
    /// asks for them or for one by its name.
    pub async fn return_(&self, question: &Question) -> Result<Report, WorkError> {
        let settings = &self.settings;
        if let Some(to) = &question.to_queue {
            known(settings, to)?;
        }
        let (mut report, letters) = self.chunk(question).await?;
        let asked = question.filter.parked == Some(true) || question.filter.id.is_some();
        let mut outgoing = BTreeMap::<(QueueName, Fate), Vec<Outgoing>>::new();
        for letter in &letters {
            if self.is_parked(letter) && !asked {
                report.parked += 1;
                continue;
            }
            let own = &letter.letter.queue;
            let to = question.to_queue.as_ref().unwrap_or(own);
            let fate = match to == own {
                true => Fate::Returned,
                false => Fate::SentElsewhere,
            };
            match known(settings, to).and_then(|()| line(letter, settings)) {
                Err(WorkError::Bad(why) | WorkError::Unavailable(why)) => {
                    report.failed(letter, why);
                }
                Ok((line, dated)) => {
                    let batches = outgoing.entry((to.clone(), fate)).or_default();
                    room(batches, line.len(), settings).put(letter, &line, dated);
                    report.done += 1;
                }
            }
        }
        if question.apply {
            report.done = 0;
            for ((queue, fate), batches) in outgoing {
                for batch in batches {
                    report.done += self.send(&queue, fate, batch).await?;
                }
            }
        }
        Ok(report)
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
        Ok(self.store.settle(&outgoing.handles, fate).await?)
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
