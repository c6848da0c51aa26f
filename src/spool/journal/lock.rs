//! The lock file: one process at a time.

use std::fs::File;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::layout::LOCK;
use super::options::OpenError;

/// Held as long as the journal is open; the operating system lets go of it when
/// the process ends, however that happens.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for what its drop does")] File);

impl Lock {
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(OpenError::io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(Errno::WOULDBLOCK) => Err(OpenError::Locked {
                dir: dir.to_owned(),
            }),
            Err(error) => Err(OpenError::io("lock", &path)(error.into())),
        }
    }
}

/// Whether a process has the journal in `dir` open. Makes no file, and holds the
/// lock for no longer than it takes to ask.
pub(super) fn is_held(dir: &Path) -> bool {
    let Ok(file) = File::open(dir.join(LOCK)) else {
        return false;
    };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}
