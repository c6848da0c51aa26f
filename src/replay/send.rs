//! Puts what was counted into the queue again.
//!
//! Batches are read some at a time, and put there together, so that they share a sync;
//! only when all of them are durable has the replay gone on. So what a crash has it do
//! twice was in the queue before, with the same ids.

use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::time::{Instant, sleep};

use super::filter::Filter;
use super::job::{Job, Sent};
use super::pace::{Pace, obstacle};
use super::pick::Picked;
use super::work::Progress;
use super::{Ended, Record};
use crate::batch::{Batch, QueueName};
use crate::metrics;
use crate::spool::{AppendError, Appended, Archive, ArchiveMark, Spool};

/// About so many bytes of events are put into the queue at a time, and most batches.
const TOGETHER_BYTES: usize = 128 << 10;
const TOGETHER: usize = 64;
/// How often it is looked whether live traffic leaves the queue to the replay.
const LOOK: Duration = Duration::from_millis(5);
/// What takes longer is told, and looked at less often.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_SELDOM: Duration = Duration::from_millis(100);
/// How long a store that takes nothing, or gives nothing, is left alone.
const REST: Duration = Duration::from_secs(1);

/// Sends what `job` asks for, from `mark` on. Returns when all is in the queue.
pub(super) async fn send(
    spool: &Spool,
    job: &Job,
    mut mark: ArchiveMark,
    filter: Option<&Filter>,
    progress: &Progress<'_>,
) -> Result<(), Ended> {
    let mut sender = Sender {
        spool,
        queue: job.wanted.target(),
        filter,
        progress,
        pace: Pace::new(job.wanted.rate),
        sent: job.sent.clone(),
    };
    let range = super::range(&job.wanted);
    loop {
        let opened = spool.archive_from(&job.wanted.queue, range.clone(), &mark);
        let read = match opened.await {
            Ok(archive) => sender.all(archive, &mut mark).await,
            Err(error) => Err(error.into()),
        };
        match read {
            Err(Ended::NotNow(why)) => sender.rest(why).await?,
            ended => return ended,
        }
    }
}

struct Sender<'s> {
    spool: &'s Spool,
    queue: &'s QueueName,
    filter: Option<&'s Filter>,
    progress: &'s Progress<'s>,
    pace: Pace,
    sent: Sent,
}

/// What is put into the queue at a time, and what it adds to what is done.
#[derive(Default)]
struct Share {
    batches: Vec<Batch>,
    adds: Sent,
}

impl Sender<'_> {
    /// Sends what is left in `archive`; `mark` tells how far it came.
    async fn all(&mut self, mut archive: Archive, mark: &mut ArchiveMark) -> Result<(), Ended> {
        let progress = self.progress;
        loop {
            let records = progress.unless_stopped(self.read(&mut archive)).await??;
            if records.is_empty() {
                return Ok(());
            }
            let Share { batches, adds } = progress.unless_stopped(self.pick(records)).await??;
            let bytes = batches.iter().map(|batch| batch.payload.len() as u64).sum();
            progress.unless_stopped(self.wait(bytes)).await?;
            self.append(batches).await?;
            *mark = archive.mark();
            self.sent.add(&adds);
            self.pace.went(adds.read_events, adds.events);
            metrics::replayed(self.queue, adds.batches, adds.events);
            let speed = self.pace.events_per_second();
            progress.went(&self.sent, mark.clone(), speed).await;
        }
    }

    /// The next batches; none: that was all.
    async fn read(&self, archive: &mut Archive) -> Result<Vec<Record>, Ended> {
        let (mut records, mut bytes, mut events) = (Vec::new(), 0, 0);
        let most_events = self.pace.most_events();
        while records.len() < TOGETHER && bytes < TOGETHER_BYTES && events < most_events {
            let Some((header, block)) = archive.next().await? else {
                break;
            };
            bytes += block.len();
            events += u64::from(header.events);
            records.push((header, block));
        }
        Ok(records)
    }

    /// What is to be sent of `records`.
    async fn pick(&self, records: Vec<Record>) -> Result<Share, Ended> {
        let mut share = Share::default();
        share.adds.read_events = records.iter().map(|(h, _)| u64::from(h.events)).sum();
        let picked = match self.filter {
            Some(filter) => filter.pick(records).await?,
            None => records.into_iter().map(Picked::all).collect(),
        };
        picked.into_iter().for_each(|picked| share.take(picked));
        Ok(share)
    }

    /// Waits until `bytes` may go.
    async fn wait(&mut self, bytes: u64) {
        self.pace.turn().await;
        let begun = Instant::now();
        while let Some(why) = obstacle(self.spool, self.queue, bytes) {
            if begun.elapsed() < PATIENCE {
                sleep(LOOK).await;
            } else {
                self.waits(why);
                sleep(LOOK_SELDOM).await;
            }
        }
    }

    /// Returns when all of `batches` are durable, in their order as long as nothing goes
    /// wrong. What was begun is not left alone for a stop: it would not be counted.
    async fn append(&mut self, mut batches: Vec<Batch>) -> Result<(), Ended> {
        loop {
            let begun = Instant::now();
            let (refused, why) = self.append_together(batches).await;
            self.pace.rest(begun.elapsed());
            match why {
                None => return Ok(()),
                Some(why) => self.rest(waited_for(why)?).await?,
            }
            batches = refused;
        }
    }

    /// Gives back those that were refused, and a reason.
    async fn append_together(&self, batches: Vec<Batch>) -> (Vec<Batch>, Option<AppendError>) {
        let appends = batches.into_iter().map(|batch| self.append_one(batch));
        let (mut refused, mut why) = (Vec::new(), None);
        for (batch, appended) in join_all(appends).await {
            if let Err(error) = appended {
                refused.push(batch);
                why = Some(error);
            }
        }
        (refused, why)
    }

    /// Boxed, as what is behind it is too deep a future for the compiler.
    fn append_one(&self, batch: Batch) -> BoxFuture<'_, (Batch, Result<Appended, AppendError>)> {
        Box::pin(async move {
            let bytes = batch.payload.len();
            let permit = self.spool.permit(self.queue, bytes, Some(PATIENCE));
            let appended = match self.progress.unless_stopped(permit).await {
                Ok(Ok(permit)) => permit.append(batch.clone()).await,
                Ok(Err(error)) => Err(error),
                Err(_) => Err(AppendError::Closing),
            };
            (batch, appended)
        })
    }

    /// Leaves alone for a moment what cannot do it now.
    async fn rest(&mut self, why: String) -> Result<(), Ended> {
        self.waits(why);
        self.progress.unless_stopped(sleep(REST)).await
    }

    fn waits(&mut self, why: String) {
        self.pace.waited();
        self.progress.waits(why);
    }
}

impl Share {
    fn take(&mut self, picked: Picked) {
        self.adds.left_out += picked.left_out;
        self.adds.failed += picked.failed;
        if let Some(batch) = picked.batch {
            self.adds.batches += 1;
            self.adds.events += u64::from(batch.events);
            self.batches.push(batch);
        }
    }
}

impl Sent {
    fn add(&mut self, more: &Self) {
        self.read_events += more.read_events;
        self.batches += more.batches;
        self.events += more.events;
        self.left_out += more.left_out;
        self.failed += more.failed;
    }
}

/// The reason, if it is one to wait for.
fn waited_for(refusal: AppendError) -> Result<String, Ended> {
    match refusal {
        AppendError::Full(_) | AppendError::Unavailable(_) => Ok(refusal.to_string()),
        AppendError::Closing => Err(Ended::Stopped),
        AppendError::UnknownQueue(_) | AppendError::Poisoned(_) => {
            Err(Ended::Failed(refusal.to_string()))
        }
    }
}
