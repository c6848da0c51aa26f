//! A small file in `data_dir` that remembers where in Redis batches may wait, and dead
//! letters be held, so that a gateway whose spool is moved elsewhere does not leave them
//! behind unseen.
//!
//! It is written before the first batch goes to Redis, and taken away by a stop that
//! finds nothing there. In between, a start with another spool is refused.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::config::{Config, Redis};

const NAME: &str = "batches-in-redis";

/// The first lines of the file, for a person who finds it.
const EXPLANATION: &str = "\
# Batches of this gateway may wait in the Redis below, and dead letters be held there:
# its spool is, or was, there. Delete this file only if another gateway goes on with
# them, or if they are of no more use.
";

/// Why a start would leave batches behind.
#[derive(Debug, thiserror::Error)]
pub enum LeftBehind {
    /// The spool was in a Redis, and is to be elsewhere.
    #[error(
        "batches may wait in Redis at {}, where this gateway had its spool, or dead letters be held there: start it with that [spool.redis] until `stashgate status` shows that nothing waits and no dead letter is held (`stashgate dead-letters export` takes them out), and stop it; or, if other gateways go on with that Redis, delete {}",
        .there.join(", "), .marker.display()
    )]
    InRedis {
        /// The Redis.
        there: Vec<String>,
        /// The file that says so.
        marker: PathBuf,
    },
    /// The file cannot be read, written or taken away.
    #[error("cannot {doing} {}: {error}", .marker.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// The file.
        marker: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Refuses to begin if batches may wait in a Redis that is not `here` (`None`: the
/// spool is no Redis); notes `here`.
pub(super) fn set(config: &Config, here: Option<&Redis>) -> Result<(), LeftBehind> {
    let marker = config.data_dir.join(NAME);
    let there = read(&marker)?;
    let here = here.map(servers).unwrap_or_default();
    let known = here.iter().any(|server| there.contains(server));
    if !there.is_empty() && !known {
        return Err(LeftBehind::InRedis { there, marker });
    }
    if here.is_empty() || here == there {
        return Ok(());
    }
    write(&marker, &here).map_err(failed("write", &marker))
}

/// Nothing waits in Redis.
pub(super) fn clear(data_dir: &Path) -> Result<(), LeftBehind> {
    let marker = data_dir.join(NAME);
    match fs::remove_file(&marker) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("delete", &marker)(error)),
        _ => Ok(()),
    }
}

/// Where the batches of `redis` are, in words that stay the same however one logs in.
fn servers(redis: &Redis) -> Vec<String> {
    let database = redis.url.database();
    let named = |hosts: &[String], what: &str| -> Vec<String> {
        hosts.iter().map(|host| format!("{host}{what}")).collect()
    };
    match &redis.sentinel_master {
        Some(master) => named(&redis.sentinels, &format!(" {master} {database}")),
        None if redis.cluster_nodes.is_empty() => vec![format!("{} {database}", redis.url.host())],
        None => named(&redis.cluster_nodes, ""),
    }
}

fn read(marker: &Path) -> Result<Vec<String>, LeftBehind> {
    match fs::read_to_string(marker) {
        Ok(text) => {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            Ok(lines.map(str::to_owned).collect())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("read", marker)(error)),
    }
}

/// Whole or not at all, and on the disk before it counts.
fn write(marker: &Path, servers: &[String]) -> io::Result<()> {
    let unfinished = marker.with_extension("new");
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{EXPLANATION}{}", servers.join("\n"))?;
    file.sync_all()?;
    fs::rename(&unfinished, marker)?;
    match marker.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn failed(doing: &'static str, marker: &Path) -> impl FnOnce(io::Error) -> LeftBehind {
    let marker = marker.to_owned();
    move |error| LeftBehind::File {
        doing,
        marker,
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RedisUrl;

    fn config(folder: &tempfile::TempDir, url: &str) -> Config {
        let mut config = Config {
            data_dir: folder.path().to_owned(),
            ..Config::default()
        };
        config.spool.redis.url = RedisUrl::new(url);
        config
    }

    #[test]
    fn a_spool_moves_only_after_a_stop_that_found_nothing_waiting() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(&folder, "redis://u:s3cret@a.example/2");
        let redis = Some(&config.spool.redis);
        set(&config, redis).expect("the first");
        set(&config, redis).expect("the same again");
        let refused = set(&config, None).expect_err("moved to the journal");
        let said = refused.to_string();
        assert!(said.contains("Redis at a.example:6379 2, where"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        let text = fs::read_to_string(folder.path().join(NAME)).expect("read");
        assert!(!text.contains("s3cret"), "{text}");

        clear(folder.path()).expect("cleared");
        clear(folder.path()).expect("nothing to clear");
        set(&config, None).expect("moved");
    }

    #[test]
    fn another_redis_is_another_place_and_another_password_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let begin = |url: &str| {
            let config = config(&folder, url);
            set(&config, Some(&config.spool.redis))
        };
        begin("redis://a.example").expect("the first");
        begin("rediss://u:p@a.example:6379").expect("the same");
        begin("redis://a.example/1").expect_err("another database");
        begin("redis://b.example").expect_err("another server");
    }

    #[test]
    fn a_cluster_is_known_by_any_of_its_nodes() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(&folder, "redis://unused");
        let mut begin = |nodes: &[&str]| {
            config.spool.redis.cluster_nodes = nodes.iter().map(|n| n.to_string()).collect();
            set(&config, Some(&config.spool.redis))
        };
        begin(&["a:1", "b:1"]).expect("the first");
        begin(&["b:1", "c:1"]).expect("one is gone, one has come");
        begin(&["a:1"]).expect_err("none is known any more");
    }
}
