//! An archive in Redis: batches that were settled at a time, and what is kept of them.

#![allow(dead_code)]

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::redis_spool_support::options;
use crate::redis_support::{PATIENCE, RedisServer};
use bytes::Bytes;
use deadpool_redis::redis::cmd;
use stashgate::batch::{Batch, BatchId, QueueName, UnixMillis};
use stashgate::record::Header;
use stashgate::spool::redis::Options;
use stashgate::spool::redis::archive::ArchiveOptions;
use stashgate::spool::{Archive, Spool};
use tokio::time::{sleep, timeout};

pub(crate) const DAY: u64 = 86_400_000;
pub(crate) const WEEK: Duration = Duration::from_secs(7 * 86_400);
pub(crate) const ALL: RangeInclusive<UnixMillis> =
    UnixMillis(1_767_225_600_000)..=UnixMillis(1_799_000_000_000);

pub(crate) fn kept(redis: &RedisServer, max_bytes: u64) -> Options {
    Options {
        archive: ArchiveOptions {
            retention: WEEK,
            max_bytes,
        },
        ..options(&redis.url())
    }
}

/// A batch of one event, accepted at `at`, that does not get shorter.
pub(crate) fn batch(number: u64, at: u64, bytes: usize) -> Batch {
    let mut random = fastrand::Rng::with_seed(number);
    let text: String = (0..bytes).map(|_| random.alphanumeric()).collect();
    Batch {
        id: BatchId::new(&number.to_be_bytes()).expect("valid"),
        accepted_at: UnixMillis(at),
        events: 1,
        payload: Bytes::from(format!("{{\"n\":{number},\"text\":\"{text}\"}}\n")),
        payload_hash: number,
        rejected: [].into(),
        own_metadata: false,
        foreign: false,
        timestamps: stashgate::batch::Timestamps::None,
        origin: stashgate::batch::Origin::Accepted,
    }
}

pub(crate) async fn settle(spool: &Spool, batches: impl IntoIterator<Item = Batch>) {
    let queue = QueueName::default();
    for batch in batches {
        let permit = spool.permit(&queue, batch.payload.len(), None).await;
        permit.expect("room").append(batch).await.expect("appended");
        let lease = timeout(PATIENCE, spool.lease(&queue)).await;
        let lease = lease.expect("in time").expect("leased");
        lease.ack(0).await.expect("settled");
    }
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect(what);
}

pub(crate) async fn archive(spool: &Spool, range: RangeInclusive<UnixMillis>) -> Archive {
    let archive = spool.archive(&QueueName::default(), range).await;
    archive.expect("opens")
}

pub(crate) async fn rest(archive: &mut Archive) -> Vec<(std::sync::Arc<Header>, Bytes)> {
    let mut all = Vec::new();
    while let Some(record) = archive.next().await.expect("read") {
        all.push(record);
    }
    all
}

pub(crate) fn number(header: &Header) -> u64 {
    u64::from_be_bytes(header.id.as_bytes().try_into().expect("eight bytes"))
}

pub(crate) fn key(at: u64) -> String {
    let text = UnixMillis(at).to_string();
    format!("{{logstash}}-{}", text[..10].replace('-', "/"))
}

pub(crate) fn push(redis: &RedisServer, key: &str, elements: &[&[u8]]) {
    let mut push = cmd("RPUSH");
    push.arg(key).arg(elements);
    push.query::<u64>(&mut redis.client()).expect("pushed");
}
