//! A disk whose syncs can be held up and made to fail, and that fills up.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::SystemTime;

use stashgate::spool::journal::files::{Entry, File, Files, OsFiles};

/// The operating system's disk until it is told otherwise.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    broken: bool,
    held: bool,
    waiting: bool,
    full: bool,
    /// Writes that found no room.
    refused: usize,
}

impl Disk {
    /// From now on every sync of a file fails.
    pub fn break_down(&self) {
        self.change(|state| state.broken = true);
    }

    /// Whether there is no room for anything more.
    pub fn set_full(&self, full: bool) {
        self.change(|state| state.full = full);
    }

    /// How many writes found no room.
    pub fn refused(&self) -> usize {
        self.0.0.lock().expect("no panic").refused
    }

    /// Every sync waits until what this gives is dropped.
    #[must_use]
    pub fn hold(&self) -> Held {
        self.change(|state| state.held = true);
        Held(self.clone())
    }

    /// Whether a sync waits.
    pub fn is_waited_for(&self) -> bool {
        self.0.0.lock().expect("no panic").waiting
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock().expect("no panic"));
        self.0.1.notify_all();
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.0.lock().expect("no panic");
        state.waiting = state.held;
        let state = self.0.1.wait_while(state, |state| state.held);
        let mut state = state.expect("no panic");
        state.waiting = false;
        if state.broken {
            return Err(io::Error::other("the disk broke down"));
        }
        Ok(())
    }

    fn file(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(DiskFile {
            file,
            disk: self.clone(),
        })
    }
}

/// Holds up syncs until it is dropped, also by a test that fails.
#[derive(Debug)]
pub struct Held(Disk);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.change(|state| state.held = false);
    }
}

impl Files for Disk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        OsFiles.create_dir(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.file(OsFiles.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(self.file(OsFiles.open(path)?))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        OsFiles.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsFiles.rename(from, to)
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        OsFiles.modified(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        OsFiles.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsFiles.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        OsFiles.free_bytes(dir)
    }
}

#[derive(Debug)]
struct DiskFile {
    file: Arc<dyn File>,
    disk: Disk,
}

impl File for DiskFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.0.0.lock().expect("no panic");
        if state.full {
            state.refused += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        drop(state);
        self.file.write_vectored_at(slices, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync()?;
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }
}
