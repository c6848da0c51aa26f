//! The embedded spool: append-only segments on the local disk, one log a queue
//! that is queue and archive at once.
//!
//! Limits: a record is at most 4 MiB of header and 1 GiB of payload. Memory is
//! bounded by `max_in_flight_bytes`, what is leased, and 1 to 8 MiB a queue of
//! records kept at hand for leasing; nothing is kept for a record that waits.
//! Start-up reads what came after the last written cursor, not what waits.
//!
//! Layout: see `docs/journal-format.md`.
//!
//! What each failure does:
//!
//! | failure | what happens |
//! | --- | --- |
//! | crash, power cut | the log is scanned from the cursor's last known good end, a torn tail is cut; batches settled since the cursor was written are sent again |
//! | a write or sync fails | the queue takes nothing more until a restart ([`AppendError::Poisoned`]); leases go on |
//! | the disk is full | the write is undone and tried again until there is room; its batches wait as long as their callers have patience ([`AppendError::Full`]); the cursor has room of its own, so that settled segments can go |
//! | file descriptors or memory run out | as a full disk, but no segment goes for it |
//! | a record is damaged | it is set aside in `quarantine/` and counted, reading goes on at the next good record |
//! | reading fails | the lease fails and may be tried again; never taken for damage |
//! | the cursor is lost | it is rebuilt from the segments; all that is stored is sent again |
//!
//! The parts: `writer` is the thread of a queue, the only one that writes, with
//! `log` and `retain`; `state` is what waits and what is leased, `ahead` the
//! records at hand; `lease` is what callers hold; `room` is the backpressure;
//! `reader`, `recover`, `quarantine` and `cursor` deal with what is on disk;
//! [`files`] is the file system, replaceable in tests.

mod ahead;
mod backlog;
mod cursor;
mod cursor_file;
pub mod files;
mod held;
mod layout;
mod lease;
mod lock;
mod log;
mod options;
mod quarantine;
mod queue;
mod reader;
mod recover;
mod remover;
mod retain;
mod scan;
mod seldom;
mod state;
pub mod tools;
mod writer;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub(super) use lease::{Lease, Permit};
pub use options::{OpenError, Options, Sync};
pub use scan::{Scan, ScanError, ScanMark};

use tokio::sync::oneshot;

use super::room::Room;
use super::{AppendError, LeaseError, QueueStats};
use crate::batch::{QueueName, UnixMillis};
use cursor_file::CursorFile;
use files::{Files, OsFiles};
use lock::Lock;
use queue::{Message, Queue};
use remover::Remover;
use state::State;
use writer::Writer;

/// Memory for records at hand, shared out among the queues: 1 MiB each at least,
/// so that more than 32 queues have more together, and 8 MiB at most.
const AHEAD_BYTES: usize = 32 << 20;

/// The embedded spool. Cheap to clone. `Spool::close` ends it in good
/// order; dropped without that, it leaves what a crash leaves.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queues: BTreeMap<QueueName, Arc<Queue>>,
    running: Mutex<Running>,
}

/// What ends when the journal is closed.
#[derive(Debug)]
struct Running {
    threads: Vec<JoinHandle<()>>,
    lock: Option<Lock>,
}

impl Journal {
    /// Opens or makes the journal in `options.dir`, repairing what a crash left;
    /// blocks while it reads.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        Self::open_with(options, Arc::new(OsFiles))
    }

    /// [`Journal::open`] on another file system; for tests. The lock file is
    /// always the operating system's.
    pub fn open_with(options: Options, files: Arc<dyn Files>) -> Result<Self, OpenError> {
        let dir = &options.dir;
        files
            .create_dir(dir)
            .map_err(OpenError::io("create", dir))?;
        let lock = Lock::take(dir)?;
        let limits: Vec<u64> = options.queues.iter().map(|(_, max)| *max).collect();
        let room = Room::new(&limits, options.max_bytes, options.max_in_flight_bytes);
        let mut queues = BTreeMap::new();
        let mut writers = Vec::new();
        let (remover, remove) = Remover::new(files.clone());
        for (index, (name, _)) in options.queues.iter().enumerate() {
            let writer = open_queue(&options, index, name, (&files, &room, &remover))?;
            queues.insert(name.clone(), writer.queue.clone());
            writers.push(writer);
        }
        refuse_to_strand(&options, &*files)?;
        sync_folders(&*files, dir)?;
        let mut running = Running {
            threads: Vec::new(),
            lock: Some(lock),
        };
        for writer in writers {
            let name = format!("journal-{}", writer.queue.name);
            running.threads.push(start(dir, name, || writer.run())?);
        }
        // Last, as it ends after the writers.
        running
            .threads
            .push(start(dir, "journal-remover".into(), remove)?);
        Ok(Self(Arc::new(Inner {
            queues,
            running: Mutex::new(running),
        })))
    }

    pub(super) async fn permit(
        &self,
        queue: &QueueName,
        bytes: usize,
        patience: Option<Duration>,
    ) -> Result<super::Permit, AppendError> {
        let Some(queue) = self.0.queues.get(queue) else {
            return Err(AppendError::UnknownQueue(queue.clone()));
        };
        let until = patience.and_then(|patience| Instant::now().checked_add(patience));
        let reserved = queue.room.reserve(queue.index, bytes, patience).await?;
        let permit = Permit {
            queue: queue.clone(),
            reserved,
            until,
        };
        Ok(permit.into())
    }

    /// A permit if there is room now, else why not. What is left until `until` the
    /// append may wait.
    pub(super) fn try_permit(
        &self,
        queue: &QueueName,
        bytes: usize,
        until: Option<Instant>,
    ) -> Result<Permit, AppendError> {
        let Some(queue) = self.0.queues.get(queue) else {
            return Err(AppendError::UnknownQueue(queue.clone()));
        };
        let reserved = queue.room.try_now(queue.index, bytes)?;
        Ok(Permit {
            queue: queue.clone(),
            reserved,
            until,
        })
    }

    /// What the queue holds that is not settled, in bytes.
    pub(super) fn unsettled_bytes(&self, queue: &QueueName) -> u64 {
        let queue = self.0.queues.get(queue);
        queue.map_or(0, |queue| queue.room.unsettled(queue.index))
    }

    pub(super) async fn lease(&self, queue: &QueueName) -> Result<super::Lease, LeaseError> {
        match self.0.queues.get(queue) {
            Some(queue) => Ok(queue.lease().await?.into()),
            None => Err(LeaseError::UnknownQueue(queue.clone())),
        }
    }

    pub(super) fn stats(&self) -> Vec<QueueStats> {
        self.0.queues.values().map(|queue| queue.stats()).collect()
    }

    pub(super) fn stats_of(&self, queue: &QueueName) -> Option<QueueStats> {
        self.0.queues.get(queue).map(|queue| queue.stats())
    }

    /// How long ago the slowest queue's writer was last known alive. Usually
    /// below a second; it grows while a disk operation hangs, and for ever when
    /// the journal is closed.
    pub fn since_last_tick(&self) -> Duration {
        let ages = self.0.queues.values().map(|q| q.last_tick().elapsed());
        ages.max().unwrap_or_default()
    }

    /// All that is stored of a queue, settled or not, with an acceptance time in
    /// `accepted`, without what was replayed. `None`: there is no such queue.
    pub fn scan(&self, queue: &QueueName, accepted: RangeInclusive<UnixMillis>) -> Option<Scan> {
        let queue = self.0.queues.get(queue)?;
        Some(Scan::new(queue.clone(), accepted))
    }

    /// A scan that goes on where one of the same queue and range had come.
    pub(super) fn scan_from(
        &self,
        queue: &QueueName,
        accepted: RangeInclusive<UnixMillis>,
        mark: ScanMark,
    ) -> Option<Scan> {
        let queue = self.0.queues.get(queue)?;
        Some(Scan::resume(queue.clone(), accepted, mark))
    }

    /// Writes the cursors and looks at retention and the disk now; all of it
    /// happens twice a second anyway.
    pub async fn checkpoint(&self) {
        for queue in self.0.queues.values() {
            let (done, waiting) = oneshot::channel();
            queue.tell(Message::Checkpoint(done));
            // Fails when the writer has ended: then its cursor is written.
            let _ = waiting.await;
        }
    }

    pub(super) fn lift_limits(&self) {
        // All queues share one room.
        if let Some(queue) = self.0.queues.values().next() {
            queue.room.lift_limits();
        }
    }

    pub(super) async fn close(&self) {
        let (threads, lock) = self.0.end(|| Message::Close);
        let ended = tokio::task::spawn_blocking(move || {
            join(threads);
            drop(lock);
        });
        // Fails only if the runtime is being shut down.
        let _ = ended.await;
    }
}

impl Inner {
    /// Tells all writers to end; what has to be waited for.
    fn end(&self, message: impl Fn() -> Message) -> (Vec<JoinHandle<()>>, Option<Lock>) {
        for queue in self.queues.values() {
            queue.room.refuse(queue.index, AppendError::Closing);
            queue.tell(message());
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut running.threads), running.lock.take())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let (threads, _lock) = self.end(|| Message::Abandon);
        join(threads);
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a journal thread panicked");
        }
    }
}

/// Recovers a queue and writes down where it stands.
fn open_queue(
    options: &Options,
    index: usize,
    name: &QueueName,
    (files, room, remover): (&Arc<dyn Files>, &Arc<Room>, &Remover),
) -> Result<Writer, OpenError> {
    let dir = options.dir.join(name.as_str());
    files
        .create_dir(&dir)
        .map_err(OpenError::io("create", &dir))?;
    let found = recover::recover(&**files, &dir)?;
    let cursor_file = CursorFile::open(files.clone(), dir.clone(), &found.cursor)?;
    let budget = (AHEAD_BYTES / options.queues.len()).clamp(1 << 20, 8 << 20);
    let state = State::new(name.clone(), found, budget);
    let (sender, inbox) = channel();
    let place = (name.clone(), index, dir);
    let queue = Arc::new(Queue::new(
        place,
        files.clone(),
        room.clone(),
        state,
        sender,
    ));
    Ok(Writer::new(
        queue,
        inbox,
        remover.clone(),
        cursor_file,
        options,
    ))
}

/// Batches must not wait where no queue is configured: nobody would send them.
fn refuse_to_strand(options: &Options, files: &dyn Files) -> Result<(), OpenError> {
    let entries = files
        .list(&options.dir)
        .map_err(OpenError::io("list", &options.dir))?;
    for entry in entries.into_iter().filter(|entry| entry.is_dir) {
        let Ok(queue) = entry.name.parse::<QueueName>() else {
            continue;
        };
        if options.queues.iter().any(|(name, _)| *name == queue) {
            continue;
        }
        let dir = options.dir.join(queue.as_str());
        let found = recover::recover(files, &dir)?;
        let events = found.cursor.unsettled_events();
        if events > 0 {
            return Err(OpenError::Stranded { queue, dir, events });
        }
        if found.segments.bytes() > 0 {
            tracing::warn!(%queue, dir = %dir.display(), "there is no such queue; its settled batches are kept, and nobody removes them");
        }
    }
    Ok(())
}

/// Makes the journal's folder and those of its queues survive a power cut.
fn sync_folders(files: &dyn Files, dir: &Path) -> Result<(), OpenError> {
    files.sync_dir(dir).map_err(OpenError::io("sync", dir))?;
    let above = dir.canonicalize().map_err(OpenError::io("find", dir))?;
    match above.parent() {
        Some(above) => files.sync_dir(above).map_err(OpenError::io("sync", above)),
        None => Ok(()),
    }
}

fn start(
    dir: &Path,
    name: String,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, OpenError> {
    let thread = thread::Builder::new().name(name);
    thread
        .spawn(run)
        .map_err(OpenError::io("start a thread for", dir))
}
