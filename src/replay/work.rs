//! Works on one replay until it comes to its end, or is stopped.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::count::count;
use super::filter::Filter;
use super::job::{Counted, Job, Sent, State};
use super::jobs::Entry;
use super::send::send;
use super::{Ended, Inner};
use crate::spool::ArchiveMark;

/// How often it is written down how far a replay has come.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How long an archive that cannot be read is left alone.
const REST: Duration = Duration::from_secs(1);

/// See the module.
pub(super) async fn work(inner: &Inner, entry: Entry, closing: &CancellationToken) {
    let stop = closing.child_token();
    let id = entry.job.id;
    inner.set_current(Some((id, stop.clone())));
    let progress = Progress {
        inner,
        id,
        stop,
        kept: Mutex::new(Instant::now()),
    };
    // Stopped between the two lines above, nobody would know.
    if inner.lock().get(id).is_some_and(|job| !job.state.rests()) {
        let ended = progress.go(entry).await;
        progress.ended(ended);
    }
    inner.set_current(None);
    inner.keep().await;
}

/// A replay that is being worked on.
pub(super) struct Progress<'i> {
    inner: &'i Inner,
    id: u64,
    stop: CancellationToken,
    /// When it was last written down.
    kept: Mutex<Instant>,
}

impl Progress<'_> {
    /// Counts, if that was not done, and sends.
    async fn go(&self, entry: Entry) -> Result<State, Ended> {
        let Entry { job, mark } = entry;
        // The settings may have changed since it was asked for.
        let known = self.inner.known(&job.wanted);
        known.map_err(|refused| Ended::Failed(refused.to_string()))?;
        let filter = job.wanted.filter.as_deref();
        let filter = filter.map(|expression| Filter::new(&self.inner.runner, expression));
        let mark = match mark {
            Some(mark) => mark,
            None => {
                let counting = self.count(&job, filter.as_ref());
                self.unless_stopped(counting).await??
            }
        };
        // Whoever stopped it after the count, or a crash then, has not asked for more.
        if job.wanted.dry_run {
            return Ok(State::Counted);
        }
        self.change(|job| job.enter(State::Running));
        self.inner.keep().await;
        send(&self.inner.spool, &job, mark, filter.as_ref(), self).await?;
        Ok(State::Done)
    }

    async fn count(&self, job: &Job, filter: Option<&Filter>) -> Result<ArchiveMark, Ended> {
        loop {
            let told = |counted: &Counted| self.change(|job| job.counted = counted.clone());
            match count(&self.inner.spool, job, filter, told).await {
                Ok((counted, mark)) => {
                    self.counted(counted, mark.clone());
                    return Ok(mark);
                }
                Err(Ended::NotNow(why)) => {
                    self.waits(why);
                    sleep(REST).await;
                }
                Err(ended) => return Err(ended),
            }
        }
    }

    fn counted(&self, counted: Counted, mark: ArchiveMark) {
        let stats = self.inner.spool.stats().into_iter();
        let mut jobs = self.inner.lock();
        let Some(entry) = jobs.get_mut(self.id) else {
            return;
        };
        let queue = &entry.job.wanted.queue;
        let stored = stats.filter(|stats| stats.queue == *queue);
        let stored = stored.filter_map(|stats| stats.stored_since);
        let since = stored.chain(counted.oldest).min();
        let from = entry.job.wanted.from.unwrap_or_default();
        entry.job.kept_since = since.filter(|since| *since > from);
        entry.job.counted = counted;
        entry.job.reason = None;
        entry.mark = Some(mark);
    }

    /// Changes what is shown of it, unless somebody stopped it.
    fn change(&self, change: impl FnOnce(&mut Job)) {
        let mut jobs = self.inner.lock();
        let entry = jobs.get_mut(self.id);
        if let Some(entry) = entry.filter(|entry| !entry.job.state.rests()) {
            change(&mut entry.job);
        }
    }

    fn ended(&self, ended: Result<State, Ended>) {
        let id = self.id;
        match ended {
            Ok(state) => self.change(|job| {
                job.enter(state);
                if state == State::Done {
                    job.settle();
                }
                tracing::info!(
                    id,
                    state = state.as_str(),
                    events = job.sent.events,
                    missing = job.missing_events,
                    "a replay has come to its end"
                );
            }),
            // Whoever stopped it has said so; or the gateway stops, and it goes on later.
            Err(Ended::Stopped) => {}
            Err(Ended::Failed(why) | Ended::NotNow(why)) => self.change(|job| {
                tracing::warn!(id, %why, "a replay has failed");
                job.enter(State::Failed);
                job.reason = Some(why);
            }),
        }
    }

    /// It has gone through so much, up to `mark`, at so many events a second.
    pub(super) async fn went(&self, sent: &Sent, mark: ArchiveMark, speed: Option<f64>) {
        if let Some(entry) = self.inner.lock().get_mut(self.id) {
            entry.mark = Some(mark);
            let job = &mut entry.job;
            job.sent = sent.clone();
            if job.state == State::Running {
                job.reason = None;
                job.set_speed(speed);
            }
        }
        if self.is_due() {
            self.inner.keep().await;
        }
    }

    /// What it waits for, until it goes on.
    pub(super) fn waits(&self, reason: String) {
        self.change(|job| {
            job.reason = Some(reason);
            job.set_speed(None);
        });
    }

    /// What `work` gives, unless the replay is to stop first.
    pub(super) async fn unless_stopped<F: Future>(&self, work: F) -> Result<F::Output, Ended> {
        let done = self.stop.run_until_cancelled(work).await;
        done.ok_or(Ended::Stopped)
    }

    fn is_due(&self) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = kept.elapsed() >= KEEP_EVERY;
        if is_due {
            *kept = Instant::now();
        }
        is_due
    }
}

impl Job {
    /// So fast it goes; `None`: nobody can tell.
    fn set_speed(&mut self, events_per_second: Option<f64>) {
        let speed = events_per_second.unwrap_or_default();
        self.events_per_second = speed;
        let left = self.remaining_events() as f64;
        self.seconds_left = (speed > 0.0).then(|| left / speed);
    }

    /// All that is there was sent: what is missing is gone.
    fn settle(&mut self) {
        self.missing_events = self.counted.events.saturating_sub(self.sent.read_events);
        self.reason = (self.missing_events > 0).then(|| {
            format!(
                "{} of the events that were counted were gone when they were to be sent",
                self.missing_events
            )
        });
    }
}

impl Inner {
    fn set_current(&self, current: Option<(u64, CancellationToken)>) {
        let mut now = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *now = current;
    }
}
