//! A queue as the rest of the journal sees it: its state behind a lock, the
//! writer's inbox, and who waits for a batch.

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use super::files::Files;
use super::layout::Position;
use super::lease::{Claim, Lease};
use super::quarantine::{self, Kind};
use super::reader::{ReadError, Reader, Step};
use super::state::{Next, State};
use crate::batch::{Batch, QueueName, UnixMillis};
use crate::spool::room::{Reserved, Room};
use crate::spool::{AppendError, Appended, LeaseError, QueueStats};

/// What a queue's writer is told.
#[derive(Debug)]
pub(super) enum Message {
    Append(Append),
    /// Write the cursor and look at retention now.
    Checkpoint(oneshot::Sender<()>),
    /// Finish what came before, write the cursor, end.
    Close,
    /// End as a crash would.
    Abandon,
}

/// A batch on its way to the disk.
#[derive(Debug)]
pub(super) struct Append {
    pub batch: Batch,
    pub answer: oneshot::Sender<Result<Appended, AppendError>>,
    /// How long it waits for room on a disk that filled up; `None`: for ever.
    pub until: Option<Instant>,
    /// Given back when the batch is answered.
    pub reserved: Reserved,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    pub name: QueueName,
    /// Its place in [`Room`].
    pub index: usize,
    /// Its folder.
    pub dir: PathBuf,
    pub files: Arc<dyn Files>,
    pub room: Arc<Room>,
    state: Mutex<State>,
    /// There may be something to lease.
    ready: Notify,
    inbox: Sender<Message>,
    ticked: Mutex<Instant>,
}

impl Queue {
    pub(super) fn new(
        (name, index, dir): (QueueName, usize, PathBuf),
        files: Arc<dyn Files>,
        room: Arc<Room>,
        state: State,
        inbox: Sender<Message>,
    ) -> Self {
        let queue = Self {
            name,
            index,
            dir,
            files,
            room,
            state: Mutex::new(state),
            ready: Notify::new(),
            inbox,
            ticked: Mutex::new(Instant::now()),
        };
        queue.change(|_| ());
        queue
    }

    /// Changes the state, and tells the room what the queue holds after it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        self.room.set_unsettled(self.index, state.unsettled_bytes());
        self.room.set_stored(self.index, state.segments().bytes());
        result
    }

    /// Looks at the state.
    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits for a batch.
    pub(super) fn wake(&self) {
        self.ready.notify_waiters();
    }

    /// Tells the writer. `false`: it has ended.
    pub(super) fn tell(&self, message: Message) -> bool {
        self.inbox.send(message).is_ok()
    }

    pub(super) async fn append(
        &self,
        reserved: Reserved,
        batch: Batch,
        until: Option<Instant>,
    ) -> Result<Appended, AppendError> {
        let (answer, answered) = oneshot::channel();
        let append = Append {
            batch,
            answer,
            until,
            reserved,
        };
        if !self.tell(Message::Append(append)) {
            return Err(AppendError::Closing);
        }
        answered.await.unwrap_or(Err(AppendError::Closing))
    }

    /// Waits until there is a batch, and leases it.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, LeaseError> {
        loop {
            let ready = self.ready.notified();
            tokio::pin!(ready);
            // Before the look, so that no change between the two is missed.
            ready.as_mut().enable();
            let (next, read) = self.change(|state| {
                let next = state.next();
                let goes_on = matches!(next, Next::Claimed(_) | Next::Nothing);
                (next, goes_on && state.start_reading())
            });
            if read {
                let queue = self.clone();
                tokio::task::spawn_blocking(move || queue.read_ahead());
            }
            match next {
                Next::Claimed(claimed) => {
                    let claim = Claim::new(self.clone(), *claimed);
                    if let Some(lease) = claim.into_lease().await? {
                        return Ok(lease);
                    }
                }
                Next::Nothing => ready.await,
                Next::Unreadable(error) => return Err(LeaseError::Unreadable(error)),
                Next::Closed => return Err(LeaseError::Closed),
            }
        }
    }

    /// Reads the next records at the head into memory; blocks.
    fn read_ahead(&self) {
        let result = self.read_records();
        if let Err(error) = result {
            self.change(|state| state.fail_reading(error.to_string()));
        }
        self.wake();
    }

    fn read_records(&self) -> Result<(), ReadError> {
        while let Some((from, len)) = self.change(State::read_from) {
            let reader = Reader::open(&*self.files, &self.dir, from.segment, len)?;
            match reader.step(from)? {
                Step::Records(records) => {
                    self.change(|state| state.finish_reading(records));
                    return Ok(());
                }
                Step::Bad { to } => {
                    let last = to.sequence.saturating_sub(1).max(from.sequence);
                    let range = from.offset..to.offset;
                    self.set_aside(&reader, range, (from.sequence, last));
                    self.change(|state| state.skip_reading(to));
                }
            }
        }
        Ok(())
    }

    /// Copies damaged bytes into the quarantine. If that fails they stay where
    /// they are as long as their segment does, and reading goes on.
    pub(super) fn set_aside(
        &self,
        reader: &Reader,
        range: std::ops::Range<u64>,
        sequences: (u64, u64),
    ) {
        let (offset, bytes) = (range.start, range.end - range.start);
        let segment = reader.path().display();
        let copied = quarantine::set_aside(
            &*self.files,
            &self.dir,
            reader,
            range,
            sequences,
            Kind::Damaged,
        );
        match copied {
            Ok(Some(_)) => {
                tracing::error!(queue = %self.name, %segment, offset, bytes, "the journal is damaged here; set aside");
            }
            // Nothing but zeros: if records were lost, the books will show it.
            Ok(None) => {}
            Err(error) => {
                tracing::error!(queue = %self.name, %segment, offset, bytes, %error, "the journal is damaged here; it could not be set aside");
            }
        }
    }

    /// When a segment's first record arrived; reads it once. Of replayed records that is
    /// not known: if the segment begins with many, there is no answer.
    pub(super) fn stored_since(&self, first: u64) -> Option<UnixMillis> {
        let segment = self.look(|state| state.segments().get(first).copied())?;
        if segment.is_known || segment.len == 0 {
            return segment.since;
        }
        let reader = Reader::open(&*self.files, &self.dir, first, segment.len).ok()?;
        let since = reader.first_arrival(Position::start_of(first)).ok()?;
        self.change(|state| state.set_since(first, since));
        since
    }

    pub(super) fn stats(&self) -> QueueStats {
        let mut stats = self.look(State::stats);
        stats.full = self.room.why_full(self.index);
        stats
    }

    /// The writer is alive.
    pub(super) fn tick(&self) {
        *self.ticked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When the writer was last known alive.
    pub(super) fn last_tick(&self) -> Instant {
        *self.ticked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
