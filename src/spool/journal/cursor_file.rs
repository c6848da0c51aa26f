//! The cursor file of a running queue, and room that is kept for it.
//!
//! A segment may only go when the cursor file no longer asks for it. So on a
//! disk without a free block nothing could ever go if the cursor could not be
//! written. A small file keeps that room: it is removed when the cursor finds
//! none, and made again as soon as there is some. Without it the queue takes no
//! batches, which would use up what was freed.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cursor::{Cursor, Found};
use super::files::{Files, is_full, write_all_at};
use super::layout::CURSOR_RESERVE;
use super::options::OpenError;
use super::quarantine::remove_if_there;

/// A cursor with some 400 batches held for sending.
const RESERVE: usize = 64 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct CursorFile {
    files: Arc<dyn Files>,
    queue_dir: PathBuf,
    /// The lowest unsettled sequence in the file; 0 if there is no file.
    lowest: u64,
    is_current: bool,
    is_reserved: bool,
}

impl CursorFile {
    /// Writes `cursor` and makes the reserve. On a full disk it does without
    /// what finds no room.
    pub(super) fn open(
        files: Arc<dyn Files>,
        queue_dir: PathBuf,
        cursor: &Cursor,
    ) -> Result<Self, OpenError> {
        let mut file = Self {
            is_reserved: has_reserve(&*files, &queue_dir),
            files,
            queue_dir,
            lowest: 0,
            is_current: false,
        };
        let dir = file.queue_dir.clone();
        match file.write(cursor) {
            Err(error) if is_full(&error) => {
                tracing::warn!(dir = %dir.display(), %error, "the disk is too full for the cursor; appends wait until it is written");
                file.lowest = lowest_on_disk(&*file.files, &dir)?;
            }
            written => written.map_err(OpenError::io("write the cursor in", &dir))?,
        }
        match file.reserve() {
            Err(error) if is_full(&error) => {}
            reserved => reserved.map_err(OpenError::io("reserve room in", &dir))?,
        }
        Ok(file)
    }

    /// The lowest unsettled sequence in the file.
    pub(super) fn lowest(&self) -> u64 {
        self.lowest
    }

    /// Whether the last cursor that was to be written was.
    pub(super) fn is_current(&self) -> bool {
        self.is_current
    }

    /// Whether there is room for the next cursor whatever else is written.
    pub(super) fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    /// Replaces the file; uses the reserve if there is no other room.
    pub(super) fn write(&mut self, cursor: &Cursor) -> io::Result<()> {
        self.is_current = false;
        let mut written = cursor.write(&*self.files, &self.queue_dir);
        if written.as_ref().is_err_and(is_full) && self.is_reserved {
            self.is_reserved = false;
            remove_if_there(&*self.files, &self.path())?;
            written = cursor.write(&*self.files, &self.queue_dir);
        }
        written?;
        self.is_current = true;
        self.lowest = cursor.lowest_unsettled();
        Ok(())
    }

    /// Makes the reserve if it is not there.
    pub(super) fn reserve(&mut self) -> io::Result<()> {
        if self.is_reserved {
            return Ok(());
        }
        let made = self.make_reserve();
        if made.is_err() {
            // What it got would be missing elsewhere, for a cursor above all.
            let _ = remove_if_there(&*self.files, &self.path());
        }
        self.is_reserved = made.is_ok();
        made
    }

    fn make_reserve(&self) -> io::Result<()> {
        remove_if_there(&*self.files, &self.path())?;
        let file = self.files.create(&self.path())?;
        write_all_at(&*file, &mut [IoSlice::new(&[0; RESERVE])], 0)?;
        // Some file systems find out only now that there is no room.
        file.sync_data()
    }

    fn path(&self) -> PathBuf {
        self.queue_dir.join(CURSOR_RESERVE)
    }
}

/// Whether a whole reserve is there. One that cannot be looked at is made again.
fn has_reserve(files: &dyn Files, queue_dir: &Path) -> bool {
    let file = files.open(&queue_dir.join(CURSOR_RESERVE));
    file.and_then(|file| file.size())
        .is_ok_and(|len| len == RESERVE as u64)
}

fn lowest_on_disk(files: &dyn Files, queue_dir: &Path) -> Result<u64, OpenError> {
    match Cursor::read(files, queue_dir)? {
        Found::Whole(cursor) => Ok(cursor.lowest_unsettled()),
        Found::Missing | Found::Damaged => Ok(0),
    }
}
