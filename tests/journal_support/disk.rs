//! A disk that counts, fails, fills up, blocks and loses power. It keeps its
//! files in a real folder, and remembers beside them what would survive a power
//! cut: what was synced, under names that were synced.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::SystemTime;

use stashgate::spool::journal::files::{Entry, File, Files, OsFiles};

/// Cheap to clone: one disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    faults: Faults,
    counts: Counts,
    /// What was done, in order: `create 000.seg`, `sync cursor.new`, …
    done: Vec<String>,
    next_id: u64,
    /// Names as they are, and as a power cut would leave them.
    live: HashMap<PathBuf, Names>,
    durable: HashMap<PathBuf, Names>,
    /// Synced content.
    synced: HashMap<u64, Vec<u8>>,
    waiting_syncs: usize,
}

type Names = BTreeMap<String, u64>;

/// What goes wrong from now on.
#[derive(Debug, Clone)]
pub struct Faults {
    /// Writes fail so.
    pub write: Option<ErrorKind>,
    /// A write takes at most so many bytes.
    pub short: usize,
    /// Bytes that still fit on the disk; a file that is removed gives its own back.
    pub room: u64,
    /// How often a file or folder can still be opened before descriptors run out.
    pub opens: u64,
    /// Syncs of segments fail.
    pub sync: bool,
    /// Syncs of the cursor fail.
    pub sync_cursor: bool,
    /// Syncs of folders fail.
    pub sync_dir: bool,
    /// Reads fail.
    pub read: bool,
    /// Syncs of segments wait until this is taken away.
    pub block_sync: bool,
    /// Removals of segments wait until this is taken away.
    pub block_remove: bool,
    /// What `free_bytes` says.
    pub free: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            write: None,
            short: usize::MAX,
            room: u64::MAX,
            opens: u64::MAX,
            sync: false,
            sync_cursor: false,
            sync_dir: false,
            read: false,
            block_sync: false,
            block_remove: false,
            free: u64::MAX,
        }
    }
}

/// What was asked of the disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    pub writes: u64,
    pub segment_syncs: u64,
    pub read_bytes: u64,
    /// Looks at what is left.
    pub looks: u64,
}

/// How much of what was not synced survives a power cut.
#[derive(Debug, Clone, Copy)]
pub enum Survives {
    Nothing,
    /// Of each unsynced write some blocks of a few bytes, picked by this seed.
    Some(u64),
}

impl Disk {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.lock().faults);
        self.0.changed.notify_all();
    }

    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    pub fn reset_counts(&self) {
        let mut state = self.lock();
        state.counts = Counts::default();
        state.done.clear();
    }

    pub fn done(&self) -> Vec<String> {
        self.lock().done.clone()
    }

    /// Waits until a sync of a segment is blocked.
    pub fn wait_for_blocked_sync(&self) {
        let mut state = self.lock();
        while state.waiting_syncs == 0 {
            state = self.0.changed.wait(state).expect("no panic");
        }
    }

    /// Takes back what a power cut takes back. Nobody may use the disk.
    pub fn cut_power(&self, survives: Survives) {
        let mut state = self.lock();
        let mut random = match survives {
            Survives::Nothing => None,
            Survives::Some(seed) => Some(fastrand::Rng::with_seed(seed)),
        };
        let folders: Vec<PathBuf> = state.live.keys().cloned().collect();
        for dir in folders {
            let live = state.live.remove(&dir).unwrap_or_default();
            let durable = state.durable.get(&dir).cloned().unwrap_or_default();
            let mut contents = BTreeMap::new();
            for (name, id) in &durable {
                let synced = state.synced.get(id).cloned().unwrap_or_default();
                let now = live.iter().find(|(_, live)| *live == id);
                let now = now.and_then(|(name, _)| fs::read(dir.join(name)).ok());
                let content = match (&mut random, now) {
                    (Some(random), Some(now)) => mix(random, &synced, &now),
                    _ => synced,
                };
                contents.insert(name.clone(), (*id, content));
            }
            for name in live.keys() {
                let _ = fs::remove_file(dir.join(name));
            }
            for (name, (id, content)) in contents {
                fs::write(dir.join(&name), &content).expect("written");
                state.synced.insert(id, content);
            }
            state.live.insert(dir.clone(), durable);
        }
        state.faults = Faults::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no panic")
    }

    fn handle(&self, id: u64, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(DiskFile {
            disk: self.clone(),
            id,
            name: name(path),
            inner: OsFiles.open(path)?,
        }))
    }
}

/// Some of what was written since `synced` was synced.
fn mix(random: &mut fastrand::Rng, synced: &[u8], now: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 32;
    let len = if random.bool() {
        now.len()
    } else {
        synced.len()
    };
    let mut mixed = vec![0; len];
    for (at, block) in mixed.chunks_mut(BLOCK).enumerate() {
        let source = if random.u8(..4) > 0 { now } else { synced };
        for (i, byte) in block.iter_mut().enumerate() {
            *byte = source.get(at * BLOCK + i).copied().unwrap_or(0);
        }
    }
    mixed
}

fn name(path: &Path) -> String {
    path.file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned()
}

fn dir(path: &Path) -> PathBuf {
    path.parent().expect("a folder").to_owned()
}

impl State {
    /// Takes a descriptor.
    fn open(&mut self) -> io::Result<()> {
        let left = self.faults.opens.checked_sub(1);
        self.faults.opens = left.ok_or(rustix::io::Errno::MFILE)?;
        Ok(())
    }

    /// The file's number; a file that was there before the disk is durable.
    fn id(&mut self, path: &Path) -> u64 {
        let (dir, name) = (dir(path), name(path));
        if let Some(id) = self.live.entry(dir.clone()).or_default().get(&name) {
            return *id;
        }
        self.next_id += 1;
        let id = self.next_id;
        self.live
            .entry(dir.clone())
            .or_default()
            .insert(name.clone(), id);
        self.durable.entry(dir).or_default().insert(name, id);
        self.synced.insert(id, fs::read(path).unwrap_or_default());
        id
    }
}

impl Files for Disk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        OsFiles.create_dir(dir)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let mut state = self.lock();
        state.open()?;
        if state.faults.room == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        drop(OsFiles.create(path)?);
        state.done.push(format!("create {}", name(path)));
        state.next_id += 1;
        let id = state.next_id;
        state
            .live
            .entry(dir(path))
            .or_default()
            .insert(name(path), id);
        drop(state);
        self.handle(id, path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        fs::metadata(path)?;
        let mut state = self.lock();
        state.open()?;
        let id = state.id(path);
        drop(state);
        self.handle(id, path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        OsFiles.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let id = state.id(from);
        OsFiles.rename(from, to)?;
        state.done.push(format!("rename {}", name(to)));
        state.live.entry(dir(from)).or_default().remove(&name(from));
        state.live.entry(dir(to)).or_default().insert(name(to), id);
        Ok(())
    }

    fn modified(&self, path: &Path) -> io::Result<SystemTime> {
        OsFiles.modified(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        while state.faults.block_remove && name(path).ends_with(".seg") {
            state = self.0.changed.wait(state).expect("no panic");
        }
        let len = fs::metadata(path).map_or(0, |file| file.len());
        OsFiles.remove(path)?;
        state.faults.room = state.faults.room.saturating_add(len);
        state.done.push(format!("remove {}", name(path)));
        state.live.entry(dir(path)).or_default().remove(&name(path));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.open()?;
        if state.faults.sync_dir {
            return Err(io::Error::other("the folder cannot be synced"));
        }
        let live = state.live.get(dir).cloned().unwrap_or_default();
        state.durable.insert(dir.to_owned(), live);
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        let mut state = self.lock();
        state.counts.looks += 1;
        Ok(state.faults.free)
    }
}

struct DiskFile {
    disk: Disk,
    id: u64,
    name: String,
    inner: Arc<dyn File>,
}

impl fmt::Debug for DiskFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DiskFile").field(&self.name).finish()
    }
}

impl DiskFile {
    fn is_segment(&self) -> bool {
        self.name.ends_with(".seg")
    }
}

impl File for DiskFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn write_vectored_at(&self, slices: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        state.counts.writes += 1;
        if let Some(kind) = state.faults.write {
            return Err(kind.into());
        }
        let most = (state.faults.short as u64).min(state.faults.room) as usize;
        if most == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        let mut written = 0;
        for slice in slices {
            let part = &slice[..slice.len().min(most - written)];
            self.inner
                .write_vectored_at(&[IoSlice::new(part)], offset + written as u64)?;
            written += part.len();
            if written == most {
                break;
            }
        }
        if state.faults.room != u64::MAX {
            state.faults.room -= written as u64;
        }
        Ok(written)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.inner.read_at(buffer, offset)?;
        let mut state = self.disk.lock();
        if state.faults.read && self.is_segment() {
            return Err(io::Error::other("the sector cannot be read"));
        }
        if self.is_segment() {
            state.counts.read_bytes += read as u64;
        }
        Ok(read)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        if self.is_segment() {
            state.counts.segment_syncs += 1;
            state.waiting_syncs += 1;
            self.disk.0.changed.notify_all();
            while state.faults.block_sync {
                state = self.disk.0.changed.wait(state).expect("no panic");
            }
            state.waiting_syncs -= 1;
        }
        let fails = match self.is_segment() {
            true => state.faults.sync,
            false => state.faults.sync_cursor,
        };
        if fails {
            return Err(io::Error::other("the file cannot be synced"));
        }
        let mut content = vec![0; self.inner.size()? as usize];
        let read = self.inner.read_at(&mut content, 0)?;
        content.truncate(read);
        state.done.push(format!("sync {}", self.name));
        state.synced.insert(self.id, content);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        // What follows the records would be copied at each sync.
        Err(ErrorKind::Unsupported.into())
    }
}
