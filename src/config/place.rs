//! What the data folder is made of.

use std::path::{Path, PathBuf};

/// The numbers of file systems whose data does not outlive the machine or the
/// container (`man 2 statfs`).
const FLEETING: [(u64, &str); 3] = [
    (0x0102_1994, "tmpfs: it is gone when the machine restarts"),
    (0x8584_58f6, "ramfs: it is gone when the machine restarts"),
    (
        0x794c_7630,
        "a container's overlay: it is gone with the container; mount a volume",
    ),
];

/// What is worth a warning about where `data_dir` is kept.
pub fn fleeting(data_dir: &Path) -> Option<String> {
    let kind = rustix::fs::statfs(nearest_existing(data_dir)).ok()?.f_type as u64;
    let (_, what) = FLEETING
        .iter()
        .find(|(magic, _)| *magic == kind & 0xffff_ffff)?;
    Some(format!("data_dir {} is on {what}", data_dir.display()))
}

/// The folder itself, or the nearest one above it that exists.
pub fn nearest_existing(folder: &Path) -> PathBuf {
    let full = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let found = full.ancestors().find(|ancestor| ancestor.exists());
    found.unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_memory_is_worth_a_warning() {
        if Path::new("/dev/shm").exists() {
            let said = fleeting(Path::new("/dev/shm/not-there/yet")).expect("said");
            assert!(said.contains("tmpfs"), "{said}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_stands_for_the_one_above() {
        let folder = tempfile::tempdir().expect("a folder");
        let wanted = folder.path().join("a/b");
        assert_eq!(nearest_existing(&wanted), folder.path());
        assert_eq!(nearest_existing(folder.path()), folder.path());
    }
}
