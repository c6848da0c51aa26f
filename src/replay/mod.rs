//! Replays: what the archive keeps of a range of time is put into a queue again, as it was.
//!
//! ```text
//! archive  ->  (where)  ->  behind live traffic  ->  queue
//! ```
//!
//! - A replay belongs to the gateway that was asked for it, and outlives its process: it
//!   stands in `<data_dir>/replays.json`, with how far it has come.
//! - It counts first; what was counted is what is sent: the end is fixed when it begins.
//! - Batches keep their id, hash and positions, so their events keep their ids, and
//!   acceptance time. The archive does not take them a second time.
//! - It puts something into the queue only while little waits there. So live traffic
//!   overtakes it, and an output that is away holds it up.
//! - One runs at a time, others wait for it.
//!
//! | failure | what happens |
//! | --- | --- |
//! | a crash | it goes on at the next start; what it did in the last second comes twice, with the same ids, and counts once |
//! | the archive cannot be read, Redis takes nothing, a queue is full, no process can be had for the expression | it waits, and says for what |
//! | the queue was poisoned by the disk, or is gone from the settings; the expression cannot be used | it has failed, and says why; `resume` tries again |
//! | what was counted goes away before it is sent | the rest is sent, and it is told how many events are missing |
//! | its file cannot be written | nothing new is begun; what runs goes on, and a crash has it do more again |
//!
//! `job` is the form, `jobs` the list and its file, `count` and `send` do the work,
//! `pace` says when, `speed` tells how fast that is, `filter` and `pick` which events.

mod count;
mod filter;
mod job;
mod jobs;
mod pace;
mod pick;
mod send;
mod speed;
mod work;

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use job::{Counted, Day, Job, Sent, State, Wanted};
pub use jobs::Command;

use crate::batch::UnixMillis;
use crate::jq::{JqError, Runner};
use crate::log::SharedComplaints;
use crate::record::Header;
use crate::spool::{ArchiveError, Spool};
use jobs::Jobs;

type Record = (Arc<Header>, Bytes);

/// The replays of a gateway: the one who changes them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Replays(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spool: Spool,
    runner: Runner,
    folder: PathBuf,
    jobs: Mutex<Jobs>,
    /// Changes, and what is kept of them, go one by one.
    keeping: tokio::sync::Mutex<()>,
    /// Something waits for its turn.
    wake: Notify,
    /// Ends what is being done, of the replay with this number.
    current: Mutex<Option<(u64, CancellationToken)>>,
    complaints: SharedComplaints,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such replay.
    #[error("there is no replay {0}")]
    Unknown(u64),
    /// It makes no sense now.
    #[error("replay {0} is {state}: that cannot be done with it", state = .1.as_str())]
    Now(u64, State),
    /// There is no such queue.
    #[error("there is no queue `{name}`; there are: {}", known.join(", "))]
    Queue {
        /// The name.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// What is wanted cannot be: in words.
    #[error("{0}")]
    Wrong(String),
    /// Too many wait already.
    #[error("{0} replays are not over; cancel some first")]
    TooMany(usize),
    /// It could not be kept over a restart, so it does not count.
    #[error("it cannot be kept over a restart, so nothing has changed: {0}")]
    NotKept(String),
    /// The expression could not be tried.
    #[error("{0}")]
    Jq(String),
}

/// Why work on a replay ended before its end.
#[derive(Debug)]
enum Ended {
    /// It is to stop, or the gateway is.
    Stopped,
    /// The archive gives nothing, or the expression cannot be asked: now, not for ever.
    NotNow(String),
    /// It cannot go on.
    Failed(String),
}

impl Replays {
    /// The replays that are kept in `folder`. To be [`run`](Replays::run).
    ///
    /// # Errors
    ///
    /// The file cannot be read, or put aside if it makes no sense.
    pub fn open(folder: &Path, spool: Spool, runner: Runner) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            spool,
            runner,
            folder: folder.to_owned(),
            jobs: Mutex::new(Jobs::read(folder)?),
            keeping: tokio::sync::Mutex::default(),
            wake: Notify::new(),
            current: Mutex::default(),
            complaints: SharedComplaints::default(),
        })))
    }

    /// Does what was asked for, one after the other, until `closing`.
    pub async fn run(self, closing: CancellationToken) {
        while !closing.is_cancelled() {
            let next = self.0.lock().begin_next();
            match next {
                Some(entry) => work::work(&self.0, entry, &closing).await,
                None => drop(closing.run_until_cancelled(self.0.wake.notified()).await),
            }
        }
    }

    /// All of them, in the order in which they were asked for.
    pub fn all(&self) -> Vec<Job> {
        self.0.lock().all()
    }

    /// The one with this number.
    pub fn get(&self, id: u64) -> Option<Job> {
        self.0.lock().get(id).cloned()
    }

    /// Begins one, as soon as those before it are over. Kept over a restart when it
    /// returns.
    pub async fn start(&self, mut wanted: Wanted) -> Result<Job, Refused> {
        self.0.check(&wanted).await?;
        let now = UnixMillis::now();
        wanted.to = Some(wanted.to.map_or(now, |to| to.min(now)));
        let job = self.0.change(|jobs| jobs.add(wanted.clone())).await?;
        tracing::info!(id = job.id, queue = %job.wanted.queue, "a replay was asked for");
        self.0.wake.notify_one();
        Ok(job)
    }

    /// Pauses, resumes or cancels one. Kept over a restart when it returns.
    pub async fn command(&self, id: u64, command: Command) -> Result<Job, Refused> {
        let job = self.0.change(|jobs| jobs.command(id, command)).await?;
        tracing::info!(
            id,
            ?command,
            state = job.state.as_str(),
            "a replay was changed"
        );
        if job.state.rests() {
            self.0.stop(id);
        }
        self.0.wake.notify_one();
        Ok(job)
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn check(&self, wanted: &Wanted) -> Result<(), Refused> {
        self.known(wanted)?;
        let wrong = |why: &str| Err(Refused::Wrong(why.to_owned()));
        if wanted.rate == Some(0) {
            return wrong("the rate has to be one event a second or more");
        }
        let now = UnixMillis::now();
        let end = wanted.to.map_or(now, |to| to.min(now));
        if wanted.from.is_some_and(|from| from >= end) {
            return wrong(
                "the range of time is empty: `from` has to be before `to`, and before now",
            );
        }
        let Some(expression) = &wanted.filter else {
            return Ok(());
        };
        // Asked about no event, it is only compiled, and as it will be then.
        match self.runner.keep(expression, &[]).await {
            Ok(_) => Ok(()),
            Err(JqError::Expression(why)) => Err(Refused::Wrong(why)),
            Err(other) => Err(Refused::Jq(other.to_string())),
        }
    }

    /// Whether there are the queues that it is about.
    fn known(&self, wanted: &Wanted) -> Result<(), Refused> {
        let mut both = [&wanted.queue, wanted.target()].into_iter();
        let Some(unknown) = both.find(|queue| self.spool.stats_of(queue).is_none()) else {
            return Ok(());
        };
        let stats = self.spool.stats().into_iter();
        Err(Refused::Queue {
            name: unknown.to_string(),
            known: stats.map(|stats| stats.queue.to_string()).collect(),
        })
    }

    /// Changes the list, and the file before it.
    async fn change(
        &self,
        change: impl Fn(&mut Jobs) -> Result<Job, Refused>,
    ) -> Result<Job, Refused> {
        let _keeping = self.keeping.lock().await;
        let mut after = self.lock().clone();
        change(&mut after)?;
        let kept = self.write(after).await;
        kept.map_err(|error| Refused::NotKept(error.to_string()))?;
        change(&mut self.lock())
    }

    /// Keeps the list as it is now. A failure is told, and no more: what is lost with it
    /// is only done again.
    async fn keep(&self) {
        let _keeping = self.keeping.lock().await;
        let now = self.lock().clone();
        match self.write(now).await {
            Ok(()) => drop(self.complaints.recovered()),
            Err(error) => {
                if let Some(times) = self.complaints.failed() {
                    tracing::warn!(times, %error, "how far replays are cannot be kept; a crash now would send more again");
                }
            }
        }
    }

    async fn write(&self, jobs: Jobs) -> io::Result<()> {
        let folder = self.folder.clone();
        let writing = tokio::task::spawn_blocking(move || jobs.write(&folder));
        writing.await.map_err(io::Error::other)?
    }

    /// Ends what is being done of replay `id`.
    fn stop(&self, id: u64) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, stop)) = current.as_ref().filter(|(current, _)| *current == id) {
            stop.cancel();
        }
    }
}

/// What is to be read of the archive.
fn range(wanted: &Wanted) -> RangeInclusive<UnixMillis> {
    let to = wanted.to.unwrap_or_else(UnixMillis::now);
    wanted.from.unwrap_or_default()..=UnixMillis(to.0.saturating_sub(1))
}

impl From<ArchiveError> for Ended {
    fn from(error: ArchiveError) -> Self {
        Self::NotNow(error.to_string())
    }
}
