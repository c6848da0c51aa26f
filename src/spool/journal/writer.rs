//! The thread of a queue: the only one that writes its segments and its cursor.
//!
//! It takes all batches that are queued, writes them as one, syncs once, and
//! only then shows and answers them. What comes meanwhile shares the next round.
//!
//! - A write or sync that fails poisons the queue: nobody knows what the disk
//!   has, so the round is answered as failed and nothing more is taken until a
//!   restart looks. A failed sync is not tried again: the kernel may have
//!   dropped the pages it could not write.
//! - A full disk is no failure: the round is undone and refused, and appends
//!   wait until there is room.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::files::is_full;
use super::log::{Log, StartError};
use super::options::{Options, Sync};
use super::queue::{Append, Message, Queue};
use super::remover::Remover;
use super::state::State;
use crate::batch::Batch;
use crate::metrics;
use crate::record;
use crate::spool::{AppendError, Appended, FullReason};

/// Most bytes of one round: bounds how long its first batch waits.
const ROUND_BYTES: u64 = 16 << 20;
/// How often the cursor is written, when it changed, and retention looked at.
const TICK: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    inbox: Receiver<Message>,
    pub(super) remover: Remover,
    /// Received, to be handled next.
    held_back: Option<Message>,
    sync: Sync,
    min_free_bytes: u64,
    pub(super) retention: Duration,
    /// What the metrics call the journal.
    store: &'static str,
    pub(super) log: Log,
    unsynced: bool,
    next_tick: Instant,
    /// State of the queue that the cursor file shows.
    written_changes: u64,
    /// The lowest unsettled sequence in the cursor file.
    pub(super) written_lowest: u64,
    cursor_failed: bool,
}

impl Writer {
    /// For a queue whose cursor file shows the state it has.
    pub(super) fn new(
        queue: Arc<Queue>,
        inbox: Receiver<Message>,
        remover: Remover,
        options: &Options,
    ) -> Self {
        let (tail, changes, lowest) = queue.look(|s| (s.tail(), s.changes(), s.lowest_unsettled()));
        let log = Log::new(
            queue.files.clone(),
            queue.dir.clone(),
            options.segment_bytes,
            tail,
        );
        Self {
            queue,
            inbox,
            remover,
            held_back: None,
            sync: options.sync,
            min_free_bytes: options.min_free_bytes,
            retention: options.retention,
            store: options.store,
            log,
            unsynced: false,
            next_tick: Instant::now(),
            written_changes: changes,
            written_lowest: lowest,
            cursor_failed: false,
        }
    }

    pub(super) fn run(mut self) {
        loop {
            if Instant::now() >= self.next_tick {
                self.tick();
            }
            match self.receive() {
                Some(Message::Append(append)) => self.round(append),
                Some(Message::Checkpoint(done)) => {
                    self.tick();
                    self.remover.answer(done);
                }
                Some(Message::Close) => return self.close(),
                Some(Message::Abandon) => return,
                None => {}
            }
        }
    }

    fn receive(&mut self) -> Option<Message> {
        if let Some(message) = self.held_back.take() {
            return Some(message);
        }
        let patience = self.next_tick.saturating_duration_since(Instant::now());
        match self.inbox.recv_timeout(patience) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Message::Abandon),
        }
    }

    /// Stores `first` and what is queued behind it.
    fn round(&mut self, first: Append) {
        if let Some(reason) = self.queue.look(|state| state.poisoned().cloned()) {
            return answer(vec![first], Err(AppendError::Poisoned(reason)));
        }
        if !self.log.has_room(record_len(&first.batch))
            && let Err(error) = self.start_segment()
        {
            return answer(vec![first], Err(error));
        }
        let round = self.collect(first);
        match self.commit(&round) {
            Ok(()) => {
                self.queue.wake();
                accept(round);
            }
            Err(error) => answer(round, Err(error)),
        }
    }

    /// `first` and what is queued behind it, as far as the segment takes it.
    fn collect(&mut self, first: Append) -> Vec<Append> {
        let mut bytes = record_len(&first.batch);
        let mut round = vec![first];
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                Message::Append(append) if self.joins(bytes, &append) => {
                    bytes += record_len(&append.batch);
                    round.push(append);
                }
                other => {
                    self.held_back = Some(other);
                    break;
                }
            }
        }
        round
    }

    fn joins(&self, bytes: u64, append: &Append) -> bool {
        let bytes = bytes + record_len(&append.batch);
        bytes <= ROUND_BYTES && self.log.fits(bytes)
    }

    fn commit(&mut self, round: &[Append]) -> Result<(), AppendError> {
        let batches = round.iter().map(|append| &append.batch);
        let records = self.log.write(batches).map_err(|error| {
            if is_full(&error) {
                self.disk_is_full(&error)
            } else {
                self.poison("write", &error)
            }
        })?;
        if self.sync == Sync::Batch {
            self.sync()?;
        }
        if let Some(last) = records.last() {
            self.log.accept(last.end());
        }
        match self.sync {
            Sync::Batch => self.log.set_synced(),
            Sync::Os => self.unsynced = true,
        }
        self.queue.change(|state| state.publish(records));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), AppendError> {
        let started = Instant::now();
        let synced = self.log.sync();
        metrics::sync_took(self.store, &self.queue.name, started.elapsed());
        synced.map_err(|error| self.poison("sync", &error))
    }

    fn start_segment(&mut self) -> Result<(), AppendError> {
        match self.log.start_segment() {
            Ok(first) => {
                self.unsynced = false;
                self.queue.change(|state| state.add_segment(first));
                Ok(())
            }
            Err(StartError::Create(error)) if is_full(&error) => Err(self.disk_is_full(&error)),
            Err(StartError::Create(error)) => Err(self.poison("create a segment", &error)),
            Err(StartError::Sync(error)) => Err(self.poison("sync", &error)),
        }
    }

    fn poison(&mut self, doing: &str, error: &io::Error) -> AppendError {
        let reason = format!("cannot {doing} in {}: {error}", self.queue.dir.display());
        tracing::error!(
            queue = %self.queue.name, %reason,
            "a disk operation failed; the queue takes no more batches until a restart, those stored are still sent"
        );
        self.queue.change(|state| state.poison(reason.clone()));
        let refusal = AppendError::Poisoned(reason);
        self.queue.room.refuse(self.queue.index, refusal.clone());
        refusal
    }

    /// Undoes the round and stops appends until a tick finds room.
    fn disk_is_full(&mut self, error: &io::Error) -> AppendError {
        if let Err(error) = self.log.undo() {
            return self.poison("cut a segment", &error);
        }
        if !self.queue.room.set_disk_full(true) {
            tracing::warn!(queue = %self.queue.name, %error, "the disk is full; appends wait");
        }
        AppendError::Full(FullReason::Disk)
    }

    fn tick(&mut self) {
        self.look_at_disk();
        self.write_cursor();
        self.retain();
        self.queue.tick();
        self.next_tick = Instant::now() + TICK;
    }

    fn look_at_disk(&self) {
        let Ok(free) = self.queue.files.free_bytes(&self.queue.dir) else {
            return;
        };
        let full = free < self.min_free_bytes;
        if self.queue.room.set_disk_full(full) != full {
            let min = self.min_free_bytes;
            if full {
                tracing::warn!(queue = %self.queue.name, free, min, "the disk has too little room left; appends wait");
            } else {
                tracing::info!(queue = %self.queue.name, free, min, "the disk has room again");
            }
        }
    }

    /// Writes the cursor if it changed. It never shows what is not synced.
    pub(super) fn write_cursor(&mut self) {
        let written = self.written_changes;
        let changed = self
            .queue
            .look(|state| (state.changes() != written).then(|| (state.cursor(), state.changes())));
        let Some((cursor, changes)) = changed.filter(|_| !self.cursor_failed) else {
            return;
        };
        if self.unsynced {
            if self.sync().is_err() {
                self.cursor_failed = true;
                return;
            }
            self.unsynced = false;
            self.log.set_synced();
        }
        match cursor.write(&*self.queue.files, &self.queue.dir) {
            Ok(()) => {
                self.written_changes = changes;
                self.written_lowest = cursor.lowest_unsettled();
            }
            Err(error) if is_full(&error) => {
                tracing::warn!(queue = %self.queue.name, %error, "the disk is too full for the cursor; a crash now would send more again");
            }
            Err(error) => {
                self.cursor_failed = true;
                self.poison("write the cursor", &error);
            }
        }
    }

    fn close(&mut self) {
        if let Err(error) = self.log.end_segment() {
            self.poison("sync", &error);
            return;
        }
        self.unsynced = false;
        self.write_cursor();
    }
}

/// However the thread ends, nobody waits for it any longer.
impl Drop for Writer {
    fn drop(&mut self) {
        let refusal = AppendError::Closing;
        self.queue.room.refuse(self.queue.index, refusal);
        self.queue.change(State::close);
        self.queue.wake();
    }
}

fn record_len(batch: &Batch) -> u64 {
    (record::header_len(batch) + batch.payload.len()) as u64
}

fn answer(round: Vec<Append>, result: Result<Appended, AppendError>) {
    for append in round {
        drop(append.reserved);
        // A caller that stopped waiting does not want to know.
        let _ = append.answer.send(result.clone());
    }
}

fn accept(round: Vec<Append>) {
    for append in round {
        let appended = Appended {
            id: append.batch.id,
            events: append.batch.events,
        };
        drop(append.reserved);
        let _ = append.answer.send(Ok(appended));
    }
}
