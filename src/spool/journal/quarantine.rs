//! Sets bytes aside that are no good record, where a person can look at them.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::files::{Files, write_all_at};
use super::layout::{QUARANTINE, quarantine_name, quarantine_range};
use super::reader::{ReadError, Reader};

/// Why bytes were set aside; the suffix of their file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Records that were durable once.
    Damaged,
    /// The end of a log that was cut: never answered as durable.
    Torn,
    /// Events of a good record that whoever leased it cannot make sense of.
    Unreadable,
}

impl Kind {
    fn suffix(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Torn => "torn",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Bytes could not be copied.
#[derive(Debug, thiserror::Error)]
pub(super) enum AsideError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("cannot write {}: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Copies `range` of a segment, which held the sequences `from` to `to`, into
/// the quarantine, durable; trailing zeros are left out. `None`: all were zeros.
pub(super) fn set_aside(
    files: &dyn Files,
    queue_dir: &Path,
    reader: &Reader,
    range: Range<u64>,
    sequences: (u64, u64),
    kind: Kind,
) -> Result<Option<PathBuf>, AsideError> {
    let Some(end) = end_of_content(reader, range.clone())? else {
        return Ok(None);
    };
    let chunks = reader.chunks(range.start..end);
    write(files, queue_dir, sequences, kind, chunks).map(Some)
}

/// Writes `chunks` into the quarantine, durable.
pub(super) fn write(
    files: &dyn Files,
    queue_dir: &Path,
    (from, to): (u64, u64),
    kind: Kind,
    chunks: impl IntoIterator<Item = Result<impl AsRef<[u8]>, ReadError>>,
) -> Result<PathBuf, AsideError> {
    let dir = queue_dir.join(QUARANTINE);
    let path = dir.join(quarantine_name(from, to, kind.suffix()));
    let failed = |source| AsideError::Write {
        path: path.clone(),
        source,
    };
    files.create_dir(&dir).map_err(failed)?;
    // A crash between this copy and what follows it makes the same copy again.
    remove_if_there(files, &path).map_err(failed)?;
    let file = files.create(&path).map_err(failed)?;
    let mut offset = 0;
    for chunk in chunks {
        let chunk = chunk?;
        let chunk = chunk.as_ref();
        write_all_at(&*file, &mut [IoSlice::new(chunk)], offset).map_err(failed)?;
        offset += chunk.len() as u64;
    }
    file.sync_data().map_err(failed)?;
    files.sync_dir(&dir).map_err(failed)?;
    files.sync_dir(queue_dir).map_err(failed)?;
    Ok(path)
}

/// The highest sequence that was ever set aside; 0 if none was.
pub(super) fn highest_sequence(files: &dyn Files, queue_dir: &Path) -> io::Result<u64> {
    let ranges = ranges(files, queue_dir)?;
    Ok(ranges.into_iter().map(|(_, last)| last).max().unwrap_or(0))
}

/// Whether records from `sequence` on were set aside.
pub(super) fn is_set_aside(files: &dyn Files, queue_dir: &Path, sequence: u64) -> io::Result<bool> {
    let ranges = ranges(files, queue_dir)?;
    Ok(ranges.into_iter().any(|(first, _)| first == sequence))
}

/// First and last sequences of what was set aside.
fn ranges(files: &dyn Files, queue_dir: &Path) -> io::Result<Vec<(u64, u64)>> {
    match files.list(&queue_dir.join(QUARANTINE)) {
        Ok(entries) => Ok(entries
            .iter()
            .filter_map(|entry| quarantine_range(&entry.name))
            .collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Where the last byte of `range` that is not zero ends, if there is one.
pub(super) fn end_of_content(reader: &Reader, range: Range<u64>) -> Result<Option<u64>, ReadError> {
    let mut end = None;
    let mut offset = range.start;
    for chunk in reader.chunks(range) {
        let chunk = chunk?;
        if let Some(last) = chunk.iter().rposition(|&byte| byte != 0) {
            end = Some(offset + last as u64 + 1);
        }
        offset += chunk.len() as u64;
    }
    Ok(end)
}

pub(super) fn remove_if_there(files: &dyn Files, path: &Path) -> io::Result<()> {
    match files.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
