//! The file: opened, and opened again after a failure; one change at a time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytesize::ByteSize;
use redb::{Database, DatabaseError, Error, ReadTransaction, ReadableDatabase, StorageError};

use super::change::{Change, Finished};
use super::schema::{self, FORMAT, NUMBERS};
use crate::dead_letter::store::{Options, StoreError};
use crate::spool::journal::files::{Files, OsFiles};

/// Memory for pages of the file. Lists and changes go over few of them at a time.
const CACHE_BYTES: usize = 16 << 20;

/// The file, on whatever thread calls.
#[derive(Debug)]
pub(super) struct Engine {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// At first, and after a failure: whoever needs the file opens it.
    Closed,
    Open(Arc<Database>),
    /// A person has to do something, and then start the gateway again: it is not read
    /// from end to end a second time.
    Damaged(StoreError),
}

/// Why the file does not open.
enum Refusal {
    /// The same may work later.
    ForNow(StoreError),
    /// It will not.
    Damaged(StoreError),
}

impl Engine {
    /// The file at `path`, which the first who needs it opens, or makes.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            state: Mutex::new(State::Closed),
        }
    }

    /// Reads with `read`, which sees the file as of one moment.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let database = self.database()?;
        let done = begin_read(&database).and_then(|txn| read(&txn));
        done.map_err(|error| self.failed(error))
    }

    /// Changes the file with `change`; it is durable then.
    pub(super) fn change<T>(
        &self,
        options: Options,
        change: impl FnOnce(&mut Change<'_>) -> Result<T, Error>,
    ) -> Result<(T, Finished), StoreError> {
        let database = self.database()?;
        let done = write(&database, options, change);
        done.map_err(|error| self.failed(error))
    }

    /// Whether the disk has room for more.
    pub(super) fn check_room(&self, least: u64) -> Result<(), StoreError> {
        let folder = folder(&self.path);
        let free = OsFiles
            .free_bytes(folder)
            .map_err(|error| StoreError(format!("the room on the disk cannot be told: {error}")))?;
        if free >= least {
            return Ok(());
        }
        Err(StoreError(format!(
            "the disk has {} left, and nothing is stored below spool.journal.min_free_bytes = {}",
            ByteSize(free),
            ByteSize(least)
        )))
    }

    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let mut state = self.lock();
        match &*state {
            State::Open(database) => return Ok(database.clone()),
            State::Damaged(error) => return Err(error.clone()),
            State::Closed => {}
        }
        match open(&self.path) {
            Ok(database) => {
                let database = Arc::new(database);
                *state = State::Open(database.clone());
                Ok(database)
            }
            Err(Refusal::ForNow(error)) => Err(error),
            Err(Refusal::Damaged(error)) => {
                *state = State::Damaged(error.clone());
                Err(error)
            }
        }
    }

    /// After a failure of the disk the file takes nothing until it is opened again.
    fn failed(&self, error: Error) -> StoreError {
        let again = matches!(
            error,
            Error::Io(_) | Error::PreviousIo | Error::DatabaseClosed | Error::LockPoisoned(_)
        );
        if again {
            *self.lock() = State::Closed;
        }
        StoreError(format!("{}: {error}", self.path.display()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begin_read(database: &Database) -> Result<ReadTransaction, Error> {
    Ok(database.begin_read()?)
}

fn write<T>(
    database: &Database,
    options: Options,
    change: impl FnOnce(&mut Change<'_>) -> Result<T, Error>,
) -> Result<(T, Finished), Error> {
    let mut txn = database.begin_write()?;
    // Letters are what strangers sent: no content may pass for a commit.
    txn.set_two_phase_commit(true);
    let mut tables = Change::open(&txn, options)?;
    let done = change(&mut tables)?;
    let finished = tables.finish()?;
    match finished.changed {
        true => txn.commit()?,
        false => txn.abort()?,
    }
    Ok((done, finished))
}

fn open(path: &Path) -> Result<Database, Refusal> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    // Without this a page that rotted is met later, and most likely by an assertion, which
    // ends the process: good events would stand still for the dead ones. It reads the file.
    builder.set_check_integrity_on_open(true);
    let is_new = !path.exists();
    let database = builder.create(path).map_err(|error| refuse(path, &error))?;
    let made = make_tables(&database).and_then(|()| match is_new {
        true => Ok(OsFiles.sync_dir(folder(path)).map_err(StorageError::Io)?),
        false => Ok(()),
    });
    made.map_err(|error| match error {
        Error::Io(_) => Refusal::ForNow(StoreError(format!("{}: {error}", path.display()))),
        _ => damaged(path, &error.to_string()),
    })?;
    Ok(database)
}

/// Makes the tables that are missing, so that readers find them.
fn make_tables(database: &Database) -> Result<(), Error> {
    let format = begin_read(database)?;
    if let Ok(numbers) = format.open_table(NUMBERS) {
        return match numbers.get("format")?.map(|format| format.value()) {
            Some(FORMAT) => Ok(()),
            other => Err(Error::Corrupted(format!(
                "its format is {other:?}, and this release reads {FORMAT}"
            ))),
        };
    }
    drop(format);
    let txn = database.begin_write()?;
    schema::make(&txn)?;
    txn.commit()?;
    Ok(())
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn refuse(path: &Path, error: &DatabaseError) -> Refusal {
    match error {
        DatabaseError::DatabaseAlreadyOpen => Refusal::ForNow(StoreError(format!(
            "{} is in use by another process: only one gateway can have a data_dir",
            path.display()
        ))),
        DatabaseError::Storage(StorageError::Io(io))
            if io.kind() != std::io::ErrorKind::InvalidData =>
        {
            Refusal::ForNow(StoreError(format!("{}: {io}", path.display())))
        }
        other => damaged(path, &other.to_string()),
    }
}

fn damaged(path: &Path, error: &str) -> Refusal {
    let path = path.display();
    Refusal::Damaged(StoreError(format!(
        "{path} is damaged, or of another release ({error}). Put back a copy of it; or move it \
         away and start again, which loses the dead letters that are listed in it and nothing else"
    )))
}
