//! What a person holds: queues and endpoints to which nothing is sent for a while.
//!
//! It is kept in `held.json` in the data folder, so that a restart in the middle of
//! the maintenance sends nothing. The file is written anew and put in its place, and
//! only then does the hold count: what was answered outlives the process. A file that
//! cannot be read stops the start: to guess that nothing is held would send to what
//! somebody is working on.
//!
//! Where many gateways share a Redis, each has its own file: hold on each of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::forwarder::Held;

const FILE: &str = "held.json";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    held: BTreeSet<String>,
}

/// The file of holds cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read what is held from {}: {error}; mend the file, or remove it to hold nothing", file.display())]
pub struct HoldsError {
    file: PathBuf,
    error: io::Error,
}

/// The holds of a gateway: the one who changes them.
pub(super) struct Holds {
    folder: PathBuf,
    held: watch::Sender<Held>,
    /// Changes go one by one.
    writing: Mutex<()>,
}

impl Holds {
    /// Reads what was held when the last process ended.
    pub(super) fn open(folder: &Path) -> Result<Self, HoldsError> {
        let file = folder.join(FILE);
        let names = read(&file).map_err(|error| HoldsError { file, error })?;
        if !names.is_empty() {
            let names = names.iter().cloned().collect::<Vec<_>>().join(", ");
            tracing::warn!("nothing is sent to what is held: {names}");
        }
        Ok(Self {
            folder: folder.to_owned(),
            held: watch::Sender::new(Held::new(names)),
            writing: Mutex::default(),
        })
    }

    /// What is held, now and later.
    pub(super) fn subscribe(&self) -> watch::Receiver<Held> {
        self.held.subscribe()
    }

    /// Holds `name`, or no more; what is held then. An error means that nothing has
    /// changed.
    pub(super) async fn change(&self, name: &str, hold: bool) -> io::Result<Held> {
        let _writing = self.writing.lock().await;
        let mut names = self.held.borrow().names().clone();
        let changed = match hold {
            true => names.insert(name.to_owned()),
            false => names.remove(name),
        };
        let held = Held::new(names);
        if changed {
            let (folder, stored) = (self.folder.clone(), held.clone());
            tokio::task::spawn_blocking(move || write(&folder, stored.names()))
                .await
                .map_err(io::Error::other)??;
            tracing::info!(name, hold, "what is held has changed");
            self.held.send_replace(held.clone());
        }
        Ok(held)
    }
}

fn read(file: &Path) -> io::Result<BTreeSet<String>> {
    match fs::read(file) {
        Ok(bytes) => Ok(serde_json::from_slice::<Stored>(&bytes)?.held),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

fn write(folder: &Path, names: &BTreeSet<String>) -> io::Result<()> {
    let stored = Stored {
        held: names.clone(),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec(&stored)?)?;
    file.as_file().sync_all()?;
    file.persist(folder.join(FILE))?;
    // The name is durable only with its folder.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(held: &Held) -> Vec<&str> {
        held.names().iter().map(String::as_str).collect()
    }

    #[tokio::test]
    async fn what_is_held_outlives_the_process_and_what_is_resumed_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let holds = Holds::open(folder.path()).expect("none yet");
        holds.change("logstash", true).await.expect("held");
        holds.change("10.0.0.7:5000", true).await.expect("held");
        let seen = holds.subscribe();
        holds.change("logstash", false).await.expect("resumed");
        assert_eq!(names(&seen.borrow()), ["10.0.0.7:5000"]);
        drop(holds);
        let again = Holds::open(folder.path()).expect("read");
        assert_eq!(names(&again.subscribe().borrow()), ["10.0.0.7:5000"]);
    }

    #[tokio::test]
    async fn a_hold_that_cannot_be_kept_does_not_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let holds = Holds::open(folder.path()).expect("none yet");
        drop(folder);
        assert!(holds.change("logstash", true).await.is_err());
        assert_eq!(names(&holds.subscribe().borrow()), [""; 0]);
    }

    #[test]
    fn a_damaged_file_stops_the_start_and_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(FILE), "{\"held\":[").expect("written");
        let error = Holds::open(folder.path())
            .err()
            .expect("refused")
            .to_string();
        assert!(
            error.contains("held.json") && error.contains("remove it"),
            "{error}"
        );
    }
}
