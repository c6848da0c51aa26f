//! The spool that many gateways share, in Redis or Valkey.
//!
//! A queue is one list, or several with `shards`. An element is a record as the journal
//! has it, or plain JSON that somebody else pushed (`element`). `keys` names all keys,
//! the scripts in `scripts/` change them, `nodes` finds the server and says in one table
//! what its errors mean.
//!
//! - **Append**: `appender`, one transaction for all batches that are queued (`flush`).
//!   Answered when Redis has answered, with `min_replicas` when they have it.
//! - **Lease**: a gateway is a *holder*, registered in `{L}:holders`. The lease script
//!   pops elements and keeps them in `{L}:lease:HOLDER` under numbers that are never used
//!   again; the payload crosses the wire once in and once out.
//! - **Ack**: books and state change here at once; Redis is told soon after, many at a
//!   time. Until then a crash sends those batches again.
//! - **Requeue**: back to its old place in what this gateway holds; what nobody here
//!   takes goes back to the list's head for the others.
//! - **Heartbeat**: `keeper`, a key that expires. Who has none for long enough is
//!   reclaimed: all its leases go back to the list in one step, in order. Its later
//!   settlements find no holder and are refused.
//!
//! Who changes what: `state` is what a gateway holds of a list and the books (`books`,
//! `held`); only the `lane` talks with Redis about leases, only the `appender` adds.
//!
//! What each failure does:
//!
//! | failure | what happens |
//! | --- | --- |
//! | Redis cannot be reached, or refuses for now | permits and appends are refused at once as unavailable; leases wait; all is tried again, and a spool opens without it |
//! | the answer to an append is lost | its connection is ended, and Redis is asked whether it was stored: answered as stored, or sent again; the events are shown as uncertain until then |
//! | the answer to a lease is lost | what was leased and nobody got is given back |
//! | the answer to an ack is lost | it is told again, which changes nothing |
//! | Redis has no memory left | appends wait as long as their callers have patience; leases and acks go on and make room |
//! | a gateway dies or is cut off | after two heartbeats' time another one puts its leases back |
//! | a gateway was stopped, reclaimed, and goes on | it is a new holder; what it had in hand may be sent twice, none of it is settled twice |
//! | Redis lost data (failover) | leases that are missing retire the holder; waiting batches that vanished are missing in the books |
//! | an element is damaged, or cannot be expanded when its turn comes | it is set aside in `{L}:quarantine` and counted |
//! | the archive on the local disk takes nothing | that is counted and said; settlements go on |
//! | memory gets short, or the archive longer than `max_bytes` | its oldest batches go |
//! | what others put there is no event | it is handed out beside the events (`foreign`), and nothing is settled before it is kept as a dead letter |
//! | a record is of another release | it is given back and reported; what stands behind it is sent, more slowly; with nothing else the list is left alone for growing times |
//!
//! Memory is bounded: the payloads of appends by `max_in_flight_bytes`, and beside each
//! its element, at most a little larger. A flush is copied when it is sent, so that up
//! to `pipeline_depth` times 4 MiB a list come on top, or a larger batch each. Of what
//! is leased, a list has at hand less than 1 MiB and one more fetch: 4 MiB, or a batch
//! that is larger, while it is read twice that.

mod appender;
pub mod archive;
mod books;
pub mod element;
mod finder;
mod flush;
pub mod foreign;
mod held;
mod keeper;
pub(crate) mod keys;
mod lane;
mod lease;
pub mod nodes;
mod options;
mod other_release;
mod queue;
pub(crate) mod script;
mod scripts;
mod shard;
mod state;
pub mod survey;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

pub(super) use lease::{Lease, Permit};
pub use nodes::{BadServer, ServerOptions};
pub use options::{OpenError, Options, QueueOptions};

use super::local_archive::LocalArchive;
use super::room::Room;
use super::{AppendError, LeaseError, QueueStats};
use crate::batch::{QueueName, UnixMillis};
use crate::metrics;
use appender::Appender;
use archive::{ArchiveOptions, Archivist};
use element::Compression;
use finder::Finder;
use keeper::Keeper;
use lane::Lane;
use nodes::{Fault, Nodes};
use queue::Queue;
use shard::Shard;

/// Each list has three workers with a connection each; one that is only drained two.
const CONNECTIONS: usize = 3;
const CONNECTIONS_TO_DRAIN: usize = 2;
/// So many are for all else.
const SPARE_CONNECTIONS: usize = 4;
/// How long a stop waits for Redis.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(250);

/// The spool in Redis. Cheap to clone. `Spool::close` ends it in good order; dropped
/// without that, it leaves what a crash leaves.
#[derive(Debug, Clone)]
pub struct Redis(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queues: BTreeMap<QueueName, Arc<Queue>>,
    room: Arc<Room>,
    nodes: Nodes,
    compression: Compression,
    max_event_bytes: usize,
    archive: ArchiveOptions,
    local_archive: Option<LocalArchive>,
    workers: Mutex<Workers>,
    ticked: Arc<Mutex<Instant>>,
}

/// The tasks; dropped, they end.
#[derive(Debug, Default)]
struct Workers {
    /// Those that finish their work when the spool is closed.
    finishing: JoinSet<()>,
    /// Those that are needed until then.
    timers: JoinSet<()>,
}

impl Redis {
    /// Begins to work. Waits for the first try to reach Redis, and goes on trying if
    /// that fails.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let lists = options.queues.len() * (options.shards + 1);
        let mut server = options.server.clone();
        server.pool_size = server
            .pool_size
            .max(CONNECTIONS * lists + SPARE_CONNECTIONS);
        let nodes = Nodes::new(&server)?;
        let limits: Vec<u64> = options.queues.iter().map(|queue| queue.max_bytes).collect();
        let room = Room::new(&limits, options.max_bytes, options.max_in_flight_bytes);
        let mut workers = Workers::default();
        let mut queues = BTreeMap::new();
        let mut tried = Vec::new();
        for (index, queue) in options.queues.iter().enumerate() {
            // Shown from the start.
            metrics::unarchived(&queue.name, 0);
            let place = (queue.name.clone(), index, queue.ordered);
            let queue = Queue::new(place, room.clone(), options.shards.max(1));
            for (at, list) in keys::lists(queue.name.as_str(), options.shards)
                .into_iter()
                .enumerate()
            {
                let shard = Shard::new(
                    &list,
                    queue.clone(),
                    nodes.clone(),
                    options.max_event_bytes,
                    options.archive,
                );
                queue.add_shard(shard.clone());
                tried.extend(workers.start(&options, shard, Some(at)));
            }
            if options.shards > 1 {
                let shard = Shard::new(
                    queue.name.as_str(),
                    queue.clone(),
                    nodes.clone(),
                    options.max_event_bytes,
                    options.archive,
                );
                queue.add_shard(shard.clone());
                tried.extend(workers.start(&options, shard, None));
            }
            queues.insert(queue.name.clone(), queue);
        }
        let ticked = Arc::new(Mutex::new(Instant::now()));
        workers.timers.spawn(tick(ticked.clone()));
        let inner = Arc::new(Inner {
            queues,
            room,
            nodes,
            compression: options.compression,
            max_event_bytes: options.max_event_bytes,
            archive: options.archive,
            local_archive: options.local_archive.clone(),
            workers: Mutex::new(workers),
            ticked,
        });
        Finder::start(&inner, &options);
        Archivist::start(&inner);
        for tried in tried {
            // Dropped when that worker has tried.
            let _ = tried.await;
        }
        Ok(Self(inner))
    }

    pub(super) async fn permit(
        &self,
        queue: &QueueName,
        bytes: usize,
        patience: Option<Duration>,
    ) -> Result<super::Permit, AppendError> {
        let Some(queue) = self.0.queues.get(queue) else {
            return Err(AppendError::UnknownQueue(queue.clone()));
        };
        let until = patience.and_then(|patience| Instant::now().checked_add(patience));
        let reserved = queue.room.reserve(queue.index, bytes, patience).await?;
        let permit = Permit {
            queue: queue.clone(),
            reserved,
            compression: self.0.compression,
            until,
        };
        Ok(permit.into())
    }

    /// A permit if there is room now, else why not. What is left until `until` the
    /// append may wait.
    pub(super) fn try_permit(
        &self,
        queue: &QueueName,
        bytes: usize,
        until: Option<Instant>,
    ) -> Result<Permit, AppendError> {
        let Some(queue) = self.0.queues.get(queue) else {
            return Err(AppendError::UnknownQueue(queue.clone()));
        };
        let reserved = queue.room.try_now(queue.index, bytes)?;
        Ok(Permit {
            queue: queue.clone(),
            reserved,
            compression: self.0.compression,
            until,
        })
    }

    /// What the queue holds that is not settled, in bytes.
    pub(super) fn unsettled_bytes(&self, queue: &QueueName) -> u64 {
        let queue = self.0.queues.get(queue);
        queue.map_or(0, |queue| queue.room.unsettled(queue.index))
    }

    pub(super) async fn lease(&self, queue: &QueueName) -> Result<super::Lease, LeaseError> {
        match self.0.queues.get(queue) {
            Some(queue) => Ok(queue.lease().await?.into()),
            None => Err(LeaseError::UnknownQueue(queue.clone())),
        }
    }

    pub(super) async fn archive(
        &self,
        queue: &QueueName,
        accepted: RangeInclusive<UnixMillis>,
        marks: Option<&[archive::ListMark]>,
    ) -> Result<Option<archive::Reader>, Fault> {
        let Some(queue) = self.0.queues.get(queue) else {
            return Ok(None);
        };
        let (nodes, max_event_bytes) = (self.0.nodes.clone(), self.0.max_event_bytes);
        if let Some(marks) = marks {
            let reader = archive::Reader::resume(nodes, marks, accepted, max_event_bytes);
            return Ok(Some(reader));
        }
        let shards = queue.shards();
        let mut lists: Vec<String> = shards.iter().map(|s| s.list().to_owned()).collect();
        // Where the old agent wrote, and we with one list.
        lists.push(queue.name.to_string());
        lists.sort();
        lists.dedup();
        archive::Reader::open(nodes, &lists, accepted, max_event_bytes)
            .await
            .map(Some)
    }

    /// The archive on the local disk, if there is one.
    pub(super) fn local_archive(&self) -> Option<&LocalArchive> {
        self.0.local_archive.as_ref()
    }

    pub(super) fn stats(&self) -> Vec<QueueStats> {
        let queues = self.0.queues.values();
        queues
            .map(|queue| self.with_archive(queue.stats()))
            .collect()
    }

    pub(super) fn stats_of(&self, queue: &QueueName) -> Option<QueueStats> {
        let queue = self.0.queues.get(queue)?;
        Some(self.with_archive(queue.stats()))
    }

    fn with_archive(&self, mut stats: QueueStats) -> QueueStats {
        if let Some(local) = &self.0.local_archive {
            local.add_to(&mut stats);
        }
        stats
    }

    /// How long ago the runtime was last known to move. An outage of Redis is not
    /// that: a restart would not mend it.
    pub fn since_last_tick(&self) -> Duration {
        let ticked = self.0.ticked.lock();
        ticked.unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    pub(super) fn lift_limits(&self) {
        self.0.room.lift_limits();
    }

    pub(super) async fn close(&self) {
        for queue in self.0.queues.values() {
            queue.close();
        }
        let workers = self.0.workers.lock();
        let workers = std::mem::take(&mut *workers.unwrap_or_else(PoisonError::into_inner));
        let ended = workers.finishing.join_all();
        if tokio::time::timeout(CLOSE_PATIENCE, ended).await.is_err() {
            tracing::warn!(
                "Redis did not answer: batches in hand go back when others reclaim them"
            );
        }
        for queue in self.0.queues.values() {
            queue.refuse_all(&AppendError::Closing);
        }
        if let Some(local) = &self.0.local_archive {
            local.close().await;
        }
    }

    /// The servers.
    pub fn nodes(&self) -> &Nodes {
        &self.0.nodes
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Queues and shards know each other.
        for queue in self.queues.values() {
            queue.forget_shards();
        }
    }
}

impl Workers {
    /// Starts the workers of a list; who has tried once drops its sender.
    fn start(
        &mut self,
        options: &Options,
        shard: Arc<Shard>,
        appender: Option<usize>,
    ) -> Vec<tokio::sync::oneshot::Receiver<()>> {
        let heartbeat = options.heartbeat;
        let (tried, lane_tried) = tokio::sync::oneshot::channel();
        self.finishing
            .spawn(Lane::new(shard.clone(), heartbeat, options.local_archive.clone()).run(tried));
        self.timers
            .spawn(Keeper::new(shard.clone(), appender, heartbeat).run());
        let Some(appender) = appender else {
            return Vec::new();
        };
        let (tried, appender_tried) = tokio::sync::oneshot::channel();
        let appender = Appender::new(
            shard,
            appender,
            (options.pipeline_depth, options.min_replicas),
            options.server.response_timeout / 2,
        );
        self.finishing.spawn(appender.run(tried));
        vec![lane_tried, appender_tried]
    }
}

/// Shows that the runtime moves.
async fn tick(ticked: Arc<Mutex<Instant>>) {
    loop {
        *ticked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        tokio::time::sleep(TICK).await;
    }
}
