//! Puts what was counted into the queue again.
//!
//! Batches are read some at a time, and put there together, so that they share a sync;
//! only when all of them are durable has the replay gone on. So what a crash has it do
//! twice was in the queue before, with the same ids.

use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, timeout};

use super::filter::Filter;
use super::job::{Job, Sent};
use super::pace::{Pace, room};
use super::pick::whole;
use super::work::Progress;
use super::{Ended, Record};
use crate::batch::{Batch, QueueName};
use crate::metrics;
use crate::spool::{AppendError, Archive, ArchiveMark, Spool};

/// About so many bytes of events are put into the queue at a time, and most batches.
const TOGETHER_BYTES: usize = 128 << 10;
const TOGETHER: usize = 64;
/// How long a store that takes nothing, or gives nothing, is left alone.
const REST: Duration = Duration::from_secs(1);
/// What takes longer is told.
const PATIENCE: Duration = Duration::from_secs(2);

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
            Err(Ended::Unreadable(why)) => {
                progress.waits(Some(why));
                sender.unless_stopped(sleep(REST)).await?;
            }
            ended => return ended,
        }
    }
}

type Outcome = Result<(), AppendError>;

struct Sender<'s> {
    spool: &'s Spool,
    queue: &'s QueueName,
    filter: Option<&'s Filter>,
    progress: &'s Progress<'s>,
    pace: Pace,
    sent: Sent,
}

impl Sender<'_> {
    /// Sends what is left in `archive`; `mark` tells how far it came.
    async fn all(&mut self, mut archive: Archive, mark: &mut ArchiveMark) -> Result<(), Ended> {
        loop {
            let records = self.unless_stopped(self.read(&mut archive)).await??;
            if records.is_empty() {
                return Ok(());
            }
            let read: u64 = records.iter().map(|(h, _)| u64::from(h.events)).sum();
            let (batches, left_out, failed) = self.unless_stopped(self.pick(records)).await??;
            let events = batches.iter().map(|batch| u64::from(batch.events)).sum();
            let number = batches.len() as u64;
            let bytes = batches.iter().map(|batch| batch.payload.len() as u64).sum();
            self.unless_stopped(self.wait(bytes)).await?;
            let begun = Instant::now();
            self.append(batches).await?;
            self.pace.rest(begun.elapsed());
            *mark = archive.mark();
            self.sent.read_events += read;
            self.sent.batches += number;
            self.sent.events += events;
            self.sent.left_out += left_out;
            self.sent.failed += failed;
            self.pace.went(read, events);
            metrics::replayed(self.queue, number, events);
            let speed = self.pace.events_per_second();
            self.progress.went(&self.sent, mark.clone(), speed).await;
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

    /// Waits until `bytes` may go.
    async fn wait(&self, bytes: u64) {
        self.pace.turn().await;
        let mut waiting = pin!(room(self.spool, self.queue, bytes));
        if timeout(PATIENCE, &mut waiting).await.is_err() {
            let queue = self.queue;
            let reason = format!("other batches wait in queue {queue}, which go first");
            self.progress.waits(Some(reason));
            waiting.await;
        }
    }

    /// What is to be sent of `records`; how many events are left out, and how many the
    /// expression failed on.
    async fn pick(&self, records: Vec<Record>) -> Result<(Vec<Batch>, u64, u64), Ended> {
        let Some(filter) = self.filter else {
            let batches = records.into_iter().map(|(h, block)| whole(&h, block));
            return Ok((batches.collect(), 0, 0));
        };
        let picked = filter.pick(records).await?;
        let left_out = picked.iter().map(|picked| picked.left_out).sum();
        let failed = picked.iter().map(|picked| picked.failed).sum();
        let batches = picked.into_iter().filter_map(|picked| picked.batch);
        Ok((batches.collect(), left_out, failed))
    }

    /// Returns when all of `batches` are durable, in their order as long as nothing goes
    /// wrong. What was begun is not left alone for a stop: it would not be counted.
    async fn append(&self, mut batches: Vec<Batch>) -> Result<(), Ended> {
        loop {
            let mut refused = Vec::new();
            for (batch, appended) in self.append_together(batches).await {
                if let Err(error) = appended {
                    refused.push(batch);
                    self.refused(error)?;
                }
            }
            if refused.is_empty() {
                self.progress.waits(None);
                return Ok(());
            }
            self.unless_stopped(sleep(REST)).await?;
            batches = refused;
        }
    }

    async fn append_together(&self, batches: Vec<Batch>) -> Vec<(Batch, Outcome)> {
        let mut appends = FuturesUnordered::new();
        let mut ended = Vec::new();
        for batch in batches {
            let permit = self
                .spool
                .permit(self.queue, batch.payload.len(), Some(PATIENCE));
            let permit = self.unless_stopped(permit);
            let mut permit: BoxFuture<'_, _> = Box::pin(permit);
            // Room may come only when what is on its way has arrived.
            let permit = loop {
                tokio::select! {
                    biased;
                    permit = &mut permit => break permit,
                    Some(append) = appends.next() => ended.push(append),
                }
            };
            match permit {
                Ok(Ok(permit)) => {
                    let append: BoxFuture<'_, _> = Box::pin(async move {
                        let appended = permit.append(batch.clone()).await;
                        (batch, appended.map(drop))
                    });
                    appends.push(append);
                }
                Ok(Err(error)) => ended.push((batch, Err(error))),
                Err(_) => ended.push((batch, Err(AppendError::Closing))),
            }
        }
        ended.extend(appends.collect::<Vec<_>>().await);
        ended
    }

    /// What `work` gives, unless the replay is to stop first.
    async fn unless_stopped<F: Future>(&self, work: F) -> Result<F::Output, Ended> {
        let done = self.progress.stop().run_until_cancelled(work).await;
        done.ok_or(Ended::Stopped)
    }

    /// Whether a refusal is one to wait for.
    fn refused(&self, error: AppendError) -> Result<(), Ended> {
        match error {
            AppendError::Full(_) | AppendError::Unavailable(_) => {
                self.progress.waits(Some(error.to_string()));
                Ok(())
            }
            AppendError::Closing => Err(Ended::Stopped),
            AppendError::UnknownQueue(_) | AppendError::Poisoned(_) => {
                Err(Ended::Failed(error.to_string()))
            }
        }
    }
}
