//! A list as its workers see it: its state behind a lock, and who is to be woken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::archive::{ArchiveOptions, Archived};
use super::keys::Keys;
use super::nodes::{Fault, Nodes};
use super::queue::Queue;
use super::state::State;
use crate::log::SharedComplaints;

/// How long an answer waits for the books to have it.
const REFRESH_PATIENCE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) keys: Keys,
    pub(super) queue: Arc<Queue>,
    pub(super) nodes: Nodes,
    /// What an event of others may have.
    pub(super) max_event_bytes: usize,
    pub(super) archive: ArchiveOptions,
    /// What its archive held at the last look.
    archived: Mutex<Archived>,
    state: Mutex<State>,
    /// The lane has something to do.
    pub(super) work: Notify,
    /// There is more in the list since the lane last looked.
    pub(super) more: AtomicBool,
    /// Who waits for the books to be read.
    looking: Mutex<Vec<oneshot::Sender<()>>>,
    /// Events of appends whose answer was lost.
    pub(super) uncertain: AtomicU64,
}

/// What one worker of a list suffers, said not too often.
#[derive(Debug)]
pub(super) struct Trouble {
    shard: Arc<Shard>,
    doing: &'static str,
    complaints: SharedComplaints,
}

impl Shard {
    pub(super) fn new(
        list: &str,
        queue: Arc<Queue>,
        nodes: Nodes,
        max_event_bytes: usize,
        archive: ArchiveOptions,
    ) -> Arc<Self> {
        Arc::new(Self {
            keys: Keys::new(list),
            queue,
            nodes,
            max_event_bytes,
            archive,
            archived: Mutex::default(),
            state: Mutex::default(),
            work: Notify::new(),
            more: AtomicBool::new(false),
            looking: Mutex::default(),
            uncertain: AtomicU64::new(0),
        })
    }

    pub(super) fn list(&self) -> &str {
        &self.keys.list
    }

    /// Changes the state.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.lock())
    }

    /// Looks at the state.
    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn archived(&self) -> Archived {
        *self.archived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_archived(&self, archived: Archived) {
        *self.archived.lock().unwrap_or_else(PoisonError::into_inner) = archived;
    }

    pub(super) fn uncertain_events(&self) -> u64 {
        self.uncertain.load(Relaxed)
    }

    /// The list has more.
    pub(super) fn grew(&self) {
        self.more.store(true, Relaxed);
        self.work.notify_one();
    }

    /// Has the lane read the books. Returns when that is done, or after a while.
    pub(super) async fn refresh(&self) {
        let (done, looked) = oneshot::channel();
        let looking = self.looking.lock();
        looking.unwrap_or_else(PoisonError::into_inner).push(done);
        self.work.notify_one();
        let _ = tokio::time::timeout(REFRESH_PATIENCE, looked).await;
    }

    /// Those who wait for the books.
    pub(super) fn looking(&self) -> Vec<oneshot::Sender<()>> {
        let looking = self.looking.lock();
        std::mem::take(&mut *looking.unwrap_or_else(PoisonError::into_inner))
    }

    /// We are `holder` no longer.
    pub(super) fn retire(&self, holder: &str, why: &str) {
        let batches = self.change(|state| state.retire(holder));
        tracing::warn!(
            list = self.list(),
            batches,
            why,
            "a new holder is needed; batches in hand are sent again, by this gateway or another"
        );
        self.work.notify_one();
    }
}

impl Trouble {
    pub(super) fn new(shard: Arc<Shard>, doing: &'static str) -> Self {
        Self {
            shard,
            doing,
            complaints: SharedComplaints::default(),
        }
    }

    /// Something went wrong; the servers are asked anew for it.
    pub(super) fn said(&self, fault: &Fault) {
        self.shard.nodes.suspect(self.shard.list(), fault);
        if let Some(times) = self.complaints.failed() {
            let (list, doing) = (self.shard.list(), self.doing);
            tracing::warn!(list, doing, times, %fault, "the Redis spool has trouble");
        }
    }

    /// It works again.
    pub(super) fn is_over(&self) {
        if let Some(times) = self.complaints.recovered() {
            let (list, doing) = (self.shard.list(), self.doing);
            tracing::info!(list, doing, times, "the Redis spool works again");
        }
    }
}
