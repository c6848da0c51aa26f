//! What the tests of the Redis spool share.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

pub mod proxy;

use std::time::Duration;

use stashgate::batch::QueueName;
use stashgate::spool::Spool;
use stashgate::spool::redis::archive::ArchiveOptions;
use stashgate::spool::redis::element::Compression;
use stashgate::spool::redis::{Options, QueueOptions, Redis, ServerOptions};

/// A spool at `url` with the default queue, without limits to speak of. It bears a Redis
/// whose disk is slow now and then.
pub fn options(url: &str) -> Options {
    Options {
        server: ServerOptions {
            url: url.to_owned(),
            connect_timeout: Duration::from_secs(20),
            response_timeout: Duration::from_secs(20),
            ..ServerOptions::default()
        },
        queues: vec![QueueOptions {
            name: QueueName::default(),
            max_bytes: 1 << 40,
            ordered: false,
        }],
        max_bytes: 1 << 40,
        max_in_flight_bytes: 64 << 20,
        shards: 1,
        pipeline_depth: 4,
        heartbeat: Duration::from_secs(30),
        min_replicas: 0,
        max_event_bytes: 1 << 20,
        archive: ArchiveOptions::OFF,
        local_archive: None,
        compression: Compression::default(),
    }
}

pub async fn open(options: Options) -> Spool {
    Spool::Redis(Redis::open(options).await.expect("opens"))
}

/// That of [`short_lived`]: long enough for a busy machine, where the living would be
/// taken for dead, or the dead, who are looked at too seldom, never.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// A spool whose holder is taken for dead soon.
pub fn short_lived(url: &str) -> Options {
    let mut options = options(url);
    options.heartbeat = HEARTBEAT;
    options.server.connect_timeout = HEARTBEAT;
    options.server.response_timeout = HEARTBEAT;
    options
}

/// Batches that were taken back from holders that fell silent.
pub fn reclaimed(spool: &Spool) -> u64 {
    let stats = spool.stats().into_iter();
    let reclaimed = stats.map(|queue| queue.redis.expect("in Redis").reclaimed_batches);
    reclaimed.sum()
}
