//! The thread of a queue: the only one that writes its segments and its cursor.
//!
//! It takes all batches that are queued, writes them as one, syncs once, and
//! only then shows and answers them. What comes meanwhile shares the next round.
//!
//! - A write or sync that fails poisons the queue: nobody knows what the disk
//!   has, so the round is answered as failed and nothing more is taken until a
//!   restart looks. A failed sync is not tried again: the kernel may have
//!   dropped the pages it could not write.
//! - A full disk is no failure, nor is a file that cannot be opened for want of
//!   descriptors or memory: the round is undone and stays the first, and
//!   all wait until there is room. A batch is refused when its caller's patience
//!   is over, so that one that cannot be refused is not lost, and what one
//!   caller appends stays in order.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::backlog::{Backlog, accept, refuse};
use super::cursor_file::CursorFile;
use super::files::{is_full, is_scarce};
use super::log::{Log, StartError};
use super::options::{Options, Sync};
use super::queue::{Append, Message, Queue};
use super::remover::Remover;
use super::seldom::Seldom;
use super::state::State;
use crate::metrics;
use crate::spool::{AppendError, FullReason};

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
    /// Received, to be handled after the backlog.
    held_back: Option<Message>,
    backlog: Backlog,
    /// Why there was no room for the first of the backlog, or none for the cursor.
    no_room: Option<FullReason>,
    sync: Sync,
    min_free_bytes: u64,
    pub(super) retention: Duration,
    /// What the metrics call the journal.
    store: &'static str,
    pub(super) log: Log,
    unsynced: bool,
    next_tick: Instant,
    pub(super) cursor_file: CursorFile,
    /// State of the queue that the cursor file shows, if it is one of this run.
    written_changes: Option<u64>,
    cursor_failed: bool,
    says_full: Seldom,
    says_room: Seldom,
    says_cursor: Seldom,
    says_reserve: Seldom,
}

/// Why a round was not stored.
#[derive(Debug)]
enum Failure {
    /// Nothing of it is left on the disk; it may go later.
    NoRoom(FullReason),
    Poisoned(AppendError),
}

impl Writer {
    /// For a queue that was just recovered.
    pub(super) fn new(
        queue: Arc<Queue>,
        inbox: Receiver<Message>,
        remover: Remover,
        cursor_file: CursorFile,
        options: &Options,
    ) -> Self {
        let (tail, changes) = queue.look(|s| (s.tail(), s.changes()));
        let log = Log::new(
            queue.files.clone(),
            queue.dir.clone(),
            options.segment_bytes,
            tail,
        );
        let mut writer = Self {
            queue,
            inbox,
            remover,
            held_back: None,
            backlog: Backlog::default(),
            no_room: None,
            sync: options.sync,
            min_free_bytes: options.min_free_bytes,
            retention: options.retention,
            store: options.store,
            log,
            unsynced: false,
            next_tick: Instant::now(),
            written_changes: cursor_file.is_current().then_some(changes),
            cursor_file,
            cursor_failed: false,
            says_full: Seldom::default(),
            says_room: Seldom::default(),
            says_cursor: Seldom::default(),
            says_reserve: Seldom::default(),
        };
        writer.wait_for_reserve();
        writer
    }

    pub(super) fn run(mut self) {
        loop {
            if Instant::now() >= self.next_tick {
                self.tick();
            }
            if let Some(why) = self.no_room {
                let why = AppendError::Full(why);
                self.backlog.refuse_late(Instant::now(), &why);
            } else if !self.backlog.is_empty() {
                self.round();
                continue;
            }
            match self.receive() {
                Some(Message::Append(append)) => self.backlog.push(append),
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
        let deadline = self.backlog.next_deadline();
        let until = deadline.map_or(self.next_tick, |d| d.min(self.next_tick));
        let patience = until.saturating_duration_since(Instant::now());
        match self.inbox.recv_timeout(patience) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Message::Abandon),
        }
    }

    /// Stores the first batches of the backlog. If the disk has no room they
    /// stay the first.
    fn round(&mut self) {
        self.collect();
        if let Some(reason) = self.queue.look(|state| state.poisoned().cloned()) {
            return self.backlog.refuse_all(&AppendError::Poisoned(reason));
        }
        let Some(first_len) = self.backlog.first_len() else {
            return;
        };
        if !self.log.has_room(first_len)
            && let Err(failure) = self.start_segment()
        {
            let round = self.backlog.take_round(|_| false);
            return self.fail(round, failure);
        }
        let fits = |bytes| bytes <= ROUND_BYTES && self.log.fits(bytes);
        let round = self.backlog.take_round(fits);
        match self.commit(&round) {
            Ok(()) => {
                self.queue.wake();
                accept(round);
            }
            Err(failure) => self.fail(round, failure),
        }
    }

    /// Takes in all appends that came before any other message.
    fn collect(&mut self) {
        while self.held_back.is_none()
            && let Ok(message) = self.inbox.try_recv()
        {
            match message {
                Message::Append(append) => self.backlog.push(append),
                other => self.held_back = Some(other),
            }
        }
    }

    fn fail(&mut self, round: Vec<Append>, failure: Failure) {
        match failure {
            Failure::NoRoom(why) => {
                self.backlog.put_back(round);
                self.set_no_room(Some(why));
            }
            Failure::Poisoned(error) => refuse(round, &error),
        }
    }

    fn commit(&mut self, round: &[Append]) -> Result<(), Failure> {
        let batches = round.iter().map(|append| &append.batch);
        let records = self.log.write(batches).map_err(|error| {
            if is_full(&error) {
                self.undo(&error, FullReason::Disk)
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

    fn sync(&mut self) -> Result<(), Failure> {
        let started = Instant::now();
        let synced = self.log.sync();
        metrics::sync_took(self.store, &self.queue.name, started.elapsed());
        synced.map_err(|error| self.poison("sync", &error))
    }

    fn start_segment(&mut self) -> Result<(), Failure> {
        match self.log.start_segment() {
            Ok(first) => {
                self.unsynced = false;
                self.queue.change(|state| state.add_segment(first));
                Ok(())
            }
            Err(StartError::Create(error)) if is_full(&error) => {
                Err(self.undo(&error, FullReason::Disk))
            }
            Err(StartError::Create(error)) if is_scarce(&error) => {
                Err(self.undo(&error, FullReason::Resources))
            }
            Err(StartError::Create(error)) => Err(self.poison("create a segment", &error)),
            Err(StartError::Sync(error)) => Err(self.poison("sync", &error)),
        }
    }

    fn poison(&mut self, doing: &str, error: &io::Error) -> Failure {
        let reason = format!("cannot {doing} in {}: {error}", self.queue.dir.display());
        tracing::error!(
            queue = %self.queue.name, %reason,
            "a disk operation failed; the queue takes no more batches until a restart, those stored are still sent"
        );
        self.queue.change(|state| state.poison(reason.clone()));
        let refusal = AppendError::Poisoned(reason);
        self.queue.room.refuse(self.queue.index, refusal.clone());
        Failure::Poisoned(refusal)
    }

    /// Undoes a round that there was no room for.
    fn undo(&mut self, error: &io::Error, why: FullReason) -> Failure {
        if let Err(error) = self.log.undo() {
            return self.poison("cut a segment", &error);
        }
        if self.no_room.is_none() && self.says_full.is_due() {
            tracing::warn!(queue = %self.queue.name, %error, "appends wait: {why}");
        }
        Failure::NoRoom(why)
    }

    fn tick(&mut self) {
        // Before the look at the disk: what is still being removed would not show.
        let turn = self.remover.turn();
        self.look_at_disk();
        self.reserve();
        self.resume();
        self.write_cursor();
        self.retain(turn);
        self.queue.tick();
        self.next_tick = Instant::now() + TICK;
    }

    fn look_at_disk(&mut self) {
        let Ok(free) = self.queue.files.free_bytes(&self.queue.dir) else {
            return;
        };
        let low = free < self.min_free_bytes;
        if self.queue.room.set_disk_low(low) == low {
            return;
        }
        let min = self.min_free_bytes;
        if low && self.says_full.is_due() {
            tracing::warn!(queue = %self.queue.name, free, min, "the disk has too little room left; appends wait");
        } else if !low && self.says_room.is_due() {
            tracing::info!(queue = %self.queue.name, free, min, "the disk has room again");
        }
    }

    /// Tries again to store what the disk had no room for. What waits here is
    /// the only probe: a disk that says it has room and takes nothing, for a
    /// quota, is not asked by every caller.
    fn resume(&mut self) {
        let Some(why) = self.no_room else {
            return;
        };
        if self.queue.room.is_disk_low() || !self.cursor_file.is_reserved() {
            return;
        }
        let why = AppendError::Full(why);
        self.backlog.refuse_late(Instant::now(), &why);
        self.round_again();
    }

    fn round_again(&mut self) {
        let was_empty = self.backlog.is_empty();
        self.set_no_room(None);
        self.round();
        if self.no_room.is_none() && !was_empty && self.says_room.is_due() {
            tracing::info!(queue = %self.queue.name, "the disk takes batches again");
        }
    }

    fn set_no_room(&mut self, why: Option<FullReason>) {
        self.no_room = why;
        self.queue.room.set_refuses(self.queue.index, why);
    }

    /// Makes room for the cursor again, if it was used.
    fn reserve(&mut self) {
        if let Err(error) = self.cursor_file.reserve()
            && self.says_reserve.is_due()
        {
            tracing::warn!(queue = %self.queue.name, %error, "no room can be kept for the cursor; appends wait");
        }
    }

    fn wait_for_reserve(&mut self) {
        if !self.cursor_file.is_reserved() && self.no_room.is_none() {
            self.set_no_room(Some(FullReason::Disk));
        }
    }

    /// Writes the cursor if it changed. It never shows what is not synced.
    pub(super) fn write_cursor(&mut self) {
        let written = self.written_changes;
        let changed = self.queue.look(|state| {
            (Some(state.changes()) != written).then(|| (state.cursor(), state.changes()))
        });
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
        let written = self.cursor_file.write(&cursor);
        self.wait_for_reserve();
        match written {
            Ok(()) => self.written_changes = Some(changes),
            Err(error) if is_full(&error) || is_scarce(&error) => {
                if self.says_cursor.is_due() {
                    tracing::warn!(queue = %self.queue.name, %error, "the cursor cannot be written yet; a crash now would send more again");
                }
            }
            Err(error) => {
                self.cursor_failed = true;
                self.poison("write the cursor", &error);
            }
        }
    }

    fn close(&mut self) {
        self.set_no_room(None);
        while !self.backlog.is_empty() && self.no_room.is_none() {
            self.round();
        }
        let why = self.no_room.unwrap_or(FullReason::Disk);
        self.backlog.refuse_all(&AppendError::Full(why));
        match self.log.end_segment() {
            Ok(()) => self.unsynced = false,
            Err(error) => {
                self.poison("sync", &error);
            }
        }
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
