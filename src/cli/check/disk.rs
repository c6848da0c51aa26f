//! Whether the data folder can be written, how fast, and what it is made of.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytesize::ByteSize;

use super::Finding;
use crate::config::{Config, fleeting, nearest_existing};
use crate::spool::journal::files::{Files, OsFiles};

/// As many syncs as tell a median and a bad one, and end soon on a slow disk.
const SYNCS: usize = 48;
/// About what a group commit writes at full load.
static BLOCK: [u8; 128 << 10] = [0x5A; 128 << 10];
/// A sync slower than this bounds what clients see.
const SLOW: Duration = Duration::from_millis(50);

/// Everything about the data folder.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let wanted = &config.data_dir;
    let folder = nearest_existing(wanted);
    let made = if wanted.exists() {
        ""
    } else {
        " (will be made)"
    };
    let name = format!("data_dir {}{made}", wanted.display());
    let mut found = match sync_times(&folder) {
        Ok(times) => vec![
            Finding::Good(format!("{name}: can be written")),
            judge(times),
        ],
        Err(error) => vec![Finding::Bad(format!(
            "{name}: cannot be written: {error}; give it to the user that runs the gateway, or set another data_dir"
        ))],
    };
    found.extend(room(config, &folder));
    found.extend(fleeting(wanted).map(Finding::Warning));
    found
}

fn room(config: &Config, folder: &Path) -> Option<Finding> {
    let free = ByteSize(OsFiles.free_bytes(folder).ok()?);
    let least = config.spool.journal.min_free_bytes;
    let largest = config.spool.max_bytes;
    Some(if free <= least {
        Finding::Bad(format!(
            "{free} are free, and the gateway takes nothing below spool.journal.min_free_bytes = {least}"
        ))
    } else if free.0 - least.0 < largest.0 {
        Finding::Warning(format!(
            "{free} are free: the disk is full before the spool is (spool.max_bytes = {largest})"
        ))
    } else {
        Finding::Good(format!("{free} are free"))
    })
}

fn judge(mut times: Vec<Duration>) -> Finding {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let worst = times.last().copied().unwrap_or_default();
    let text = format!(
        "a write of 128 KiB and its sync take {:.1} ms, at worst {:.1} ms",
        median.as_secs_f64() * 1e3,
        worst.as_secs_f64() * 1e3
    );
    if median > SLOW {
        Finding::Warning(format!(
            "{text}: each answer waits that long; a faster disk helps"
        ))
    } else {
        Finding::Good(text)
    }
}

/// How long each of some writes takes until it is on the disk.
fn sync_times(folder: &Path) -> io::Result<Vec<Duration>> {
    let probe = Probe::new(folder)?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let start = Instant::now();
        (&probe.file).write_all(&BLOCK)?;
        probe.file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// A file that is gone when it is dropped.
struct Probe {
    file: File,
    path: PathBuf,
}

impl Probe {
    fn new(folder: &Path) -> io::Result<Self> {
        let path = folder.join(format!(".stashgate-check-{}", std::process::id()));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(Self { file, path })
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It was written a moment ago; if it cannot go, its name says whose it is.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_tried_and_left_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(sync_times(folder.path()).expect("written").len(), SYNCS);
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_bad() {
        let config = Config {
            data_dir: "/proc/stashgate".into(),
            ..Config::default()
        };
        let found = check(&config);
        assert!(
            matches!(&found[0], Finding::Bad(what) if what.contains("cannot be written")),
            "{found:?}"
        );
    }
}
