//! Opens what is kept: the spool of the configured kind, and the dead letters.
//!
//! A Redis that cannot be reached, or does not let us in, never stops a start: batches
//! are spilled meanwhile, or clients are told to come back. What does stop it is what
//! would lose events or leave them behind: a Redis that may evict, one that is too old,
//! a list there that nobody sends, and batches that wait in another Redis
//! ([`marker`]). What was not seen for want of an answer is looked at again later, and
//! then said ([`Watch`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::marker::{self, LeftBehind};
use super::watch::Watch;
use super::{StartError, redis_options};
use crate::batch::QueueName;
use crate::config::{ArchivePlace, Config, SpoolKind};
use crate::dead_letter::DeadLetters;
use crate::dead_letter::redis_list::{self, RedisList};
use crate::dead_letter::store::{self, RedisStore, Replicas, Store, Table};
use crate::spool::Spool;
use crate::spool::journal::{self, Journal};
use crate::spool::local_archive::LocalArchive;
use crate::spool::redis::Redis;
use crate::spool::redis::nodes::Nodes;
use crate::spool::spill::{self, Spill};

/// The archive is kept in so many files at least, so that its bound is not coarse.
const ARCHIVE_SEGMENTS: u64 = 8;

/// What was opened.
pub(super) struct Opened {
    pub(super) spool: Spool,
    pub(super) letters: DeadLetters,
    pub(super) store: Store,
    /// A store that was used before and may have letters.
    pub(super) former_store: Option<Store>,
    /// A list in Redis that Logstash puts dead letters into.
    pub(super) list: Option<RedisList>,
    /// Looks after Redis, if the spool is there.
    pub(super) watch: Option<Arc<Watch>>,
}

pub(super) async fn open(config: Arc<Config>) -> Result<Opened, StartError> {
    let folder = config.data_dir.clone();
    let made = std::fs::create_dir_all(&folder);
    made.map_err(|error| StartError::Folder { folder, error })?;
    let letters = blocking(&config, open_letters).await?;
    if config.spool.kind == SpoolKind::Redis {
        return open_redis(&config, letters).await;
    }
    marker::set(&config, None)?;
    Ok(Opened {
        spool: Spool::Journal(blocking(&config, open_journal).await?),
        letters,
        store: table(&config).await,
        former_store: None,
        list: None,
        watch: None,
    })
}

async fn open_redis(config: &Arc<Config>, letters: DeadLetters) -> Result<Opened, StartError> {
    let mut options = redis_options(config);
    let nodes = Nodes::new(&options.server).map_err(|bad| StartError::Redis(bad.into()))?;
    let watch = Arc::new(Watch::new(nodes, config));
    watch.look().await;
    if let Some(why) = watch.objection() {
        return Err(StartError::Unfit(why));
    }
    marker::set(config, Some(&config.spool.redis))?;
    let journal = match config.spool.redis.spill || has_journal(config) {
        true => Some(blocking(config, open_journal).await?),
        false => None,
    };
    options.local_archive = open_local_archive(config).await?;
    let replicas = Replicas {
        min: options.min_replicas,
        patience: options.server.response_timeout / 2,
    };
    let redis = Redis::open(options).await.map_err(StartError::Redis)?;
    watch.opened(redis.nodes());
    let store = RedisStore::new(redis.nodes().clone(), replicas, store_options(config));
    let list = redis_list(config, redis.nodes(), &letters);
    let former_store = match letters_file(config).exists() {
        true => Some(table(config).await),
        false => None,
    };
    let options = spill::Options {
        queues: queues(config),
        max_bytes: config.spool.max_bytes.0,
        max_in_flight_bytes: config.limits.max_in_flight_bytes.0 as usize,
        spills: config.spool.redis.spill,
    };
    Ok(Opened {
        spool: Spool::Spill(Spill::new(redis, journal, options)),
        letters,
        store: Store::Redis(store),
        former_store,
        list,
        watch: Some(watch),
    })
}

/// The archive on the disk beside a Redis; one that is its place no longer is read, and
/// ages.
async fn open_local_archive(config: &Arc<Config>) -> Result<Option<LocalArchive>, StartError> {
    let is_place = config.archive.place == Some(ArchivePlace::Journal);
    if !is_place && !archive_folder(config).is_dir() {
        return Ok(None);
    }
    let journal = blocking(config, |config| {
        let folder = archive_folder(config);
        Journal::open(archive_options(config)).map_err(|error| StartError::Open {
            what: "archive",
            folder,
            error,
        })
    });
    let retention = match is_place {
        true => config.archive.retention,
        false => Duration::ZERO,
    };
    Ok(Some(LocalArchive::new(journal.await?, retention)))
}

fn archive_folder(config: &Config) -> PathBuf {
    config.data_dir.join("archive")
}

/// Also for queues that are there no longer: what is kept of them ages.
fn archive_options(config: &Config) -> journal::Options {
    let (dir, max_bytes) = (archive_folder(config), config.archive.max_bytes.0);
    let of_former = folders(&dir).into_iter();
    let of_former = of_former.filter(|name| !config.queues.contains_key(name));
    let names = config.queues.keys().cloned().chain(of_former);
    let in_small = (max_bytes / ARCHIVE_SEGMENTS).max(1);
    journal::Options {
        queues: names.map(|name| (name, max_bytes)).collect(),
        dir,
        segment_bytes: config.spool.journal.segment_bytes.0.min(in_small),
        max_bytes,
        store: "archive",
        ..journal_options(config)
    }
}

/// The queues that have a folder in `dir`.
fn folders(dir: &Path) -> Vec<QueueName> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let names = folders.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    names.collect()
}

/// Recovery reads, so it has a thread of its own.
async fn blocking<T: Send + 'static>(
    config: &Arc<Config>,
    open: fn(&Config) -> Result<T, StartError>,
) -> Result<T, StartError> {
    let config = config.clone();
    tokio::task::spawn_blocking(move || open(&config))
        .await
        .expect("invariant: opening does not panic, and nobody aborts it")
}

fn open_letters(config: &Config) -> Result<DeadLetters, StartError> {
    let opened = DeadLetters::open(
        &config.data_dir,
        config.dead_letters.max_bytes.0,
        config.spool.journal.min_free_bytes.0,
    );
    opened.map_err(|error| StartError::Open {
        what: "dead letters",
        folder: config.data_dir.clone(),
        error,
    })
}

fn redis_list(config: &Config, nodes: &Nodes, letters: &DeadLetters) -> Option<RedisList> {
    let list = config.dead_letters.redis_list.clone()?;
    let queues: Vec<_> = config.queues.keys().cloned().collect();
    let default = queues.iter().find(|queue| **queue == QueueName::default());
    let options = redis_list::Options {
        list,
        queue: default.or(queues.first()).cloned().unwrap_or_default(),
        queues,
    };
    Some(RedisList::new(options, nodes.clone(), letters.clone()))
}

/// The letters on the local disk. Ingest waits for nothing that is wrong with them.
async fn table(config: &Config) -> Store {
    Store::Table(Table::opening(&letters_file(config), store_options(config)).await)
}

fn letters_file(config: &Config) -> PathBuf {
    config.data_dir.join("letters.redb")
}

fn store_options(config: &Config) -> store::Options {
    store::Options {
        max_bytes: config.dead_letters.max_bytes.0,
        retention_ms: config.dead_letters.retention.as_millis() as u64,
        min_free_bytes: config.spool.journal.min_free_bytes.0,
    }
}

fn open_journal(config: &Config) -> Result<Journal, StartError> {
    Journal::open(journal_options(config)).map_err(|error| StartError::Open {
        what: "journal",
        folder: config.data_dir.clone(),
        error,
    })
}

/// Whether there is a journal that has to be drained.
fn has_journal(config: &Config) -> bool {
    journal_folder(config).is_dir()
}

fn journal_folder(config: &Config) -> PathBuf {
    config.data_dir.join("journal")
}

fn queues(config: &Config) -> Vec<(crate::batch::QueueName, u64)> {
    let queues = config.queues.iter();
    queues
        .map(|(name, queue)| (name.clone(), queue.max_bytes.0))
        .collect()
}

fn journal_options(config: &Config) -> journal::Options {
    journal::Options {
        dir: journal_folder(config),
        sync: config.spool.journal.sync,
        segment_bytes: config.spool.journal.segment_bytes.0,
        min_free_bytes: config.spool.journal.min_free_bytes.0,
        max_bytes: config.spool.max_bytes.0,
        max_in_flight_bytes: config.limits.max_in_flight_bytes.0 as usize,
        store: "spool",
        retention: match config.archive.place {
            Some(ArchivePlace::Off) => Duration::ZERO,
            _ => config.archive.retention,
        },
        queues: queues(config),
    }
}

impl From<LeftBehind> for StartError {
    fn from(error: LeftBehind) -> Self {
        Self::LeftBehind(error)
    }
}
