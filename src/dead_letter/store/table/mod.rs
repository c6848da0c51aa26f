//! The store in an embedded table (redb), in one file.
//!
//! Whatever touches the file runs on threads for blocking work: one for changes, which
//! are made one after another, and a few for reading, which sees the file as it was when
//! it began. After an error of the disk the file is opened again by whoever needs it next.

mod change;
mod clock;
mod engine;
mod groups;
mod look;
mod placing;
mod rows;
mod schema;
mod tallies;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use redb::{Error, ReadTransaction};
use tokio::sync::Semaphore;

use super::{
    Aged, Fate, Filed, Group, Handle, Letter, Options, Order, Selection, Span, StoreError, Summary,
};
use crate::batch::QueueName;
use crate::dead_letter::{DeadLetter, Place};
use change::Change;
use engine::Engine;

/// A file of this length is read before anybody can ask, so that a start does not warn of
/// what is over in a moment.
const SHORT_BYTES: u64 = 16 << 20;

/// Most threads that read at a time.
const READERS: usize = 4;

/// An embedded table. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Table {
    shared: Arc<Shared>,
    writer: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared {
    engine: Engine,
    options: Options,
    summary: ArcSwap<Summary>,
}

impl Table {
    /// Opens or makes the table at `path`. Blocks while it reads. Errors if it is in use,
    /// damaged, or of another release.
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        let table = Self::closed(path, options);
        table.shared.look(BTreeSet::new())?;
        Ok(table)
    }

    /// Has the table at `path` opened by a thread: a long file takes seconds, for it is
    /// read from end to end, and is not waited for. Who asks meanwhile waits; one that does
    /// not open is told as trouble, and to whoever asks.
    pub async fn opening(path: &Path, options: Options) -> Self {
        let table = Self::closed(path, options);
        let trouble = "letters.redb is being read, which takes some seconds after a start";
        table.shared.set_trouble(trouble);
        let shared = table.shared.clone();
        let read = tokio::task::spawn_blocking(move || {
            if let Err(StoreError(trouble)) = shared.look(BTreeSet::new()) {
                tracing::error!("the dead letters cannot be listed: {trouble}");
                shared.set_trouble(&trouble);
            }
        });
        if std::fs::metadata(path).map_or(0, |file| file.len()) <= SHORT_BYTES {
            // What went wrong is told as trouble.
            let _ = read.await;
        }
        table
    }

    fn closed(path: &Path, options: Options) -> Self {
        Self {
            shared: Arc::new(Shared {
                engine: Engine::new(path),
                options,
                summary: ArcSwap::default(),
            }),
            writer: Arc::new(Semaphore::new(1)),
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    pub(super) async fn file(&self, letters: Vec<DeadLetter>) -> Result<Vec<Filed>, StoreError> {
        let file = |change: &mut Change<'_>| letters.into_iter().map(|l| change.file(l)).collect();
        self.grow(file).await
    }

    pub(super) async fn restore(&self, letters: Vec<Letter>) -> Result<Vec<Filed>, StoreError> {
        let restore =
            |change: &mut Change<'_>| letters.into_iter().map(|l| change.restore(l)).collect();
        self.grow(restore).await
    }

    pub(super) async fn rewrite(&self, events: Vec<(Handle, Bytes)>) -> Result<u64, StoreError> {
        let rewrite = |change: &mut Change<'_>| {
            let mut rewritten = 0;
            for (handle, event) in events {
                if let Some(row) = change.unchanged(handle)? {
                    change.rewrite(row, event)?;
                    rewritten += 1;
                }
            }
            Ok(rewritten)
        };
        self.grow(rewrite).await
    }

    pub(super) async fn settle(&self, letters: &[Handle], fate: Fate) -> Result<u64, StoreError> {
        let letters = letters.to_vec();
        let settle = move |change: &mut Change<'_>| {
            let mut settled = 0;
            for handle in letters {
                if let Some(row) = change.unchanged(handle)? {
                    change.settle(&row, fate)?;
                    settled += 1;
                }
            }
            Ok(settled)
        };
        self.write(|shared| shared.change(settle)).await
    }

    pub(super) async fn expire(&self, limit: usize) -> Result<Aged, StoreError> {
        self.write(move |shared| shared.expire(limit)).await
    }

    pub(super) async fn groups(&self) -> Result<Vec<Group>, StoreError> {
        self.read_with(look::groups).await
    }

    pub(super) async fn numbers(
        &self,
        selection: &Selection,
        span: Span,
        order: Order,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        let selection = selection.clone();
        self.read_with(move |txn| look::numbers(txn, &selection, span, order, limit))
            .await
    }

    pub(super) async fn read(&self, numbers: &[u64]) -> Result<Vec<Letter>, StoreError> {
        let numbers = numbers.to_vec();
        self.read_with(move |txn| look::read(txn, &numbers)).await
    }

    pub(super) async fn find(
        &self,
        queue: &QueueName,
        name: &str,
    ) -> Result<Option<u64>, StoreError> {
        let (queue, name) = (queue.clone(), name.to_owned());
        self.read_with(move |txn| look::find(txn, &queue, &name))
            .await
    }

    pub(super) fn summary(&self) -> Summary {
        Summary::clone(&self.shared.summary.load())
    }

    /// A change that needs room on the disk.
    async fn grow<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Change<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write(|shared| {
            shared.engine.check_room(shared.options.min_free_bytes)?;
            shared.change(change)
        })
        .await
    }

    async fn write<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        let work = move || {
            let done = write(&shared);
            if let Err(StoreError(trouble)) = &done {
                shared.set_trouble(trouble);
            }
            done
        };
        run(&self.writer, work).await
    }

    async fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        run(&self.readers, move || shared.engine.read(read)).await
    }
}

/// Runs `work` on a thread when there is a place for it. The place is given back when
/// the work is done, also if nobody waits for it any more.
async fn run<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let place = places.clone().acquire_owned().await;
    let place = place.expect("invariant: the places are never closed");
    let work = move || {
        let done = work();
        drop(place);
        done
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(StoreError(error.to_string())))
}

impl Shared {
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Change<'_>) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let (done, finished) = self.engine.change(self.options, change)?;
        let mut full = self.summary.load().full.clone();
        full.retain(|place| !finished.room.contains(place));
        full.extend(&finished.full);
        if let Err(StoreError(trouble)) = self.look(full) {
            self.set_trouble(&trouble);
        }
        Ok(done)
    }

    fn expire(&self, limit: usize) -> Result<Aged, StoreError> {
        let options = &self.options;
        let (mut gone, mut more) = (0, false);
        match self.engine.read(|txn| look::has_to_age(txn, options))? {
            true => (gone, more) = self.change(|change| change.expire(limit))?,
            false => self.look(self.summary.load().full.clone())?,
        }
        if let Err(StoreError(trouble)) = self.engine.check_room(options.min_free_bytes) {
            self.set_trouble(&trouble);
        }
        let aged = self.engine.read(|txn| look::aged(txn, options))?;
        Ok(Aged { gone, more, ..aged })
    }

    /// Takes a look for the summary.
    fn look(&self, full: BTreeSet<Place>) -> Result<(), StoreError> {
        let look = |txn: &ReadTransaction| look::summary(txn, &self.options, full);
        self.summary.store(Arc::new(self.engine.read(look)?));
        Ok(())
    }

    fn set_trouble(&self, trouble: &str) {
        let mut summary = Summary::clone(&self.summary.load());
        summary.trouble = Some(trouble.to_owned());
        self.summary.store(Arc::new(summary));
    }
}
