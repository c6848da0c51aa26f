//! `archive.place = "journal"`: what is settled in Redis is kept in a journal on the disk.

mod journal_support;
mod redis_spool_support;
mod redis_support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::cmd;
use journal_support::disk::Disk;
use journal_support::{PATIENCE, append, append_numbers, batch, folder, lease, queue, stats};
use redis_spool_support::proxy::{Cut, Proxy};
use redis_spool_support::{open, options, short_lived};
use redis_support::{RedisServer, eventually};
use stashgate::batch::{Batch, Origin, UnixMillis};
use stashgate::spool::journal::{self, Journal};
use stashgate::spool::local_archive::LocalArchive;
use stashgate::spool::redis::Options;
use stashgate::spool::redis::archive::ArchiveOptions;
use stashgate::spool::{Lease, Spool};

const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// A journal for an archive of `max_bytes`.
fn archive_options(dir: &Path, max_bytes: u64) -> journal::Options {
    journal::Options {
        segment_bytes: (max_bytes / 8).min(1 << 20),
        max_bytes,
        store: "archive",
        queues: vec![(queue(), max_bytes)],
        ..journal_support::options(dir)
    }
}

fn local(dir: &Path, max_bytes: u64) -> LocalArchive {
    let journal = Journal::open(archive_options(dir, max_bytes)).expect("opens");
    LocalArchive::new(journal, WEEK)
}

fn local_on(disk: &Arc<Disk>, dir: &Path) -> LocalArchive {
    let options = archive_options(dir, 1 << 30);
    let journal = Journal::open_with(options, disk.clone()).expect("opens");
    LocalArchive::new(journal, WEEK)
}

fn with(archive: LocalArchive, options: Options) -> Options {
    Options {
        local_archive: Some(archive),
        ..options
    }
}

/// Leases the next `count` batches, settles them, and waits until Redis knows.
async fn settle(spool: &Spool, redis: &RedisServer, count: usize) {
    for _ in 0..count {
        lease(spool).await.ack(0).await.expect("settled");
    }
    eventually("Redis is told", || in_redis(redis) == 0);
}

/// What waits or is leased.
fn in_redis(redis: &RedisServer) -> u64 {
    let leases: Vec<String> = redis.ask(&["KEYS", "{logstash}:lease:*"]);
    let leased = leases.iter().map(|key| redis.ask::<u64>(&["HLEN", key]));
    leased.sum::<u64>() + redis.ask::<u64>(&["LLEN", "logstash"])
}

/// The payload's hash, which is the number, of each batch that is kept, in order.
async fn kept(spool: &Spool) -> Vec<u64> {
    let now = UnixMillis::now().0;
    let all = UnixMillis(now - 86_400_000)..=UnixMillis(now + 86_400_000);
    let mut archive = spool.archive(&queue(), all).await.expect("opens");
    let mut numbers = Vec::new();
    while let Some((header, block)) = archive.next().await.expect("read") {
        numbers.push(journal_support::number(&header, &block));
    }
    assert_eq!(archive.missing(), 0);
    numbers
}

fn trouble(spool: &Spool) -> Option<String> {
    stats(spool).redis.expect("in Redis").archive_trouble
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    journal_support::segments(dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_settled_is_on_the_disk_before_redis_is_told_and_not_in_redis() {
    let (redis, dir) = (RedisServer::start(), folder());
    let spool = open(with(local(dir.path(), 1 << 30), options(&redis.url()))).await;
    append_numbers(&spool, 0..20).await;
    settle(&spool, &redis, 20).await;
    assert_eq!(kept(&spool).await, (0..20).collect::<Vec<_>>());
    let in_redis: Vec<String> = redis.ask(&["KEYS", "{logstash}-*"]);
    assert_eq!(in_redis, Vec::<String>::new());
    assert!(!segments(dir.path()).is_empty());
    let shown = stats(&spool);
    assert!(
        shown.stored_bytes > 0 && shown.stored_since.is_some(),
        "{shown:?}"
    );
    assert_eq!(shown.waiting_events + shown.leased_events, 0);
    spool.close().await;

    // And after a restart.
    let spool = open(with(local(dir.path(), 1 << 30), options(&redis.url()))).await;
    assert_eq!(kept(&spool).await, (0..20).collect::<Vec<_>>());
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_kept_before_and_what_the_disk_keeps_are_read_in_one_order() {
    let (redis, dir) = (RedisServer::start(), folder());
    let now = UnixMillis::now().0;
    let dated = |n: u64| Batch {
        accepted_at: UnixMillis(now - 1_000_000 + n * 1000),
        ..batch(n)
    };
    let in_redis = Options {
        archive: ArchiveOptions {
            retention: WEEK,
            max_bytes: 1 << 30,
        },
        ..options(&redis.url())
    };
    let spool = open(in_redis.clone()).await;
    for n in (0..10).filter(|n| n % 2 == 0) {
        append(&spool, dated(n)).await.expect("appended");
    }
    settle(&spool, &redis, 5).await;
    spool.close().await;

    let mut on_disk = with(local(dir.path(), 1 << 30), in_redis);
    on_disk.archive.retention = Duration::ZERO;
    let spool = open(on_disk).await;
    for n in (0..10).filter(|n| n % 2 == 1) {
        append(&spool, dated(n)).await.expect("appended");
    }
    settle(&spool, &redis, 5).await;
    assert_eq!(kept(&spool).await, (0..10).collect::<Vec<_>>());
    let some = UnixMillis(dated(3).accepted_at.0)..=UnixMillis(dated(6).accepted_at.0);
    let mut some = spool.archive(&queue(), some).await.expect("opens");
    for n in 3..=6 {
        let (header, _) = some.next().await.expect("read").expect("there");
        assert_eq!(header.payload_hash, n);
    }
    assert_eq!(some.next().await.expect("read"), None);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_others_are_kept_with_the_time_of_their_lease() {
    let (redis, dir) = (RedisServer::start(), folder());
    let mut push = cmd("RPUSH");
    push.arg("logstash").arg(&["{\"n\":1}", "[{\"n\":2}]"]);
    push.query::<u64>(&mut redis.client()).expect("pushed");
    let spool = open(with(local(dir.path(), 1 << 30), options(&redis.url()))).await;
    let leased: Lease = lease(&spool).await;
    let accepted_at = leased.header().accepted_at;
    tokio::time::sleep(Duration::from_millis(20)).await;
    leased.ack(0).await.expect("settled");
    eventually("Redis is told", || in_redis(&redis) == 0);
    let mut archive = spool
        .archive(&queue(), accepted_at..=accepted_at)
        .await
        .expect("opens");
    let (header, block) = archive.next().await.expect("read").expect("there");
    assert!(header.foreign);
    assert_eq!(block, "{\"n\":1}\n{\"n\":2}\n");
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_has_nothing_kept_twice() {
    let (redis, dir) = (RedisServer::start(), folder());
    let proxy = Proxy::start(redis.port()).await;
    let spool = open(with(local(dir.path(), 1 << 30), options(&proxy.url()))).await;
    append_numbers(&spool, 0..2).await;
    // Settled, but nobody here knows; then not settled at all.
    for cut in [Cut::AfterRequest("done"), Cut::HoldRequest("done")] {
        proxy.cut(cut);
        lease(&spool).await.ack(0).await.expect("settled");
        eventually("Redis is told", || in_redis(&redis) <= 1);
    }
    eventually("Redis is told", || in_redis(&redis) == 0);
    assert_eq!(proxy.cuts(), 2);
    assert_eq!(kept(&spool).await, [0, 1]);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_before_redis_is_told_has_a_batch_kept_twice_with_the_same_id() {
    let (redis, dir) = (RedisServer::start(), folder());
    let proxy = Proxy::start(redis.port()).await;
    let crashing = short_lived(&proxy.url());
    let spool = open(with(local(dir.path(), 1 << 30), crashing)).await;
    append_numbers(&spool, 0..1).await;
    let leased = lease(&spool).await;
    proxy.cut(Cut::HoldRequest("done"));
    leased.ack(0).await.expect("settled");
    eventually("the settlement is on its way", || proxy.cuts() == 1);
    drop(spool);

    let archive = until_free(dir.path()).await;
    let spool = open(with(archive, short_lived(&redis.url()))).await;
    settle(&spool, &redis, 1).await;
    assert_eq!(kept(&spool).await, [0, 0]);
    spool.close().await;
}

/// The archive, once the spool that was dropped has let go of it.
async fn until_free(dir: &Path) -> LocalArchive {
    let trying = async {
        loop {
            match Journal::open(archive_options(dir, 1 << 30)) {
                Ok(journal) => return LocalArchive::new(journal, WEEK),
                Err(journal::OpenError::Locked { .. }) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, trying).await.expect("free")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_holds_up_no_settlement_and_is_said() {
    let (redis, dir, disk) = (RedisServer::start(), folder(), Disk::new());
    let spool = open(with(local_on(&disk, dir.path()), options(&redis.url()))).await;
    append_numbers(&spool, 0..1).await;
    settle(&spool, &redis, 1).await;
    assert_eq!(trouble(&spool), None);
    append_numbers(&spool, 1..3).await;
    disk.set(|faults| faults.room = 0);
    settle(&spool, &redis, 2).await;
    let why = trouble(&spool).expect("it is said");
    assert!(why.contains("disk"), "{why}");
    assert_eq!(stats(&spool).ledger.confirmed, events(0..3));

    // With room again it goes on.
    disk.set(|faults| faults.room = u64::MAX);
    let mut number = 3;
    let until = std::time::Instant::now() + PATIENCE;
    while trouble(&spool).is_some() {
        assert!(std::time::Instant::now() < until, "it is tried again");
        append_numbers(&spool, number..number + 1).await;
        settle(&spool, &redis, 1).await;
        number += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    // Those from before gave way to what the disk had to take.
    assert_eq!(kept(&spool).await.last(), Some(&(number - 1)));
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_or_hangs_holds_up_no_settlement() {
    let hangs = |faults: &mut journal_support::disk::Faults| faults.block_sync = true;
    let fails = |faults: &mut journal_support::disk::Faults| faults.sync = true;
    for (number, fault) in [hangs, fails].into_iter().enumerate() {
        let (redis, dir, disk) = (RedisServer::start(), folder(), Disk::new());
        let spool = open(with(local_on(&disk, dir.path()), options(&redis.url()))).await;
        disk.set(fault);
        append_numbers(&spool, 0..5).await;
        settle(&spool, &redis, 5).await;
        assert!(trouble(&spool).is_some(), "{number}");
        assert_eq!(stats(&spool).ledger.confirmed, events(0..5));
        assert_eq!(stats(&spool).poisoned, None, "new batches are taken");
        append_numbers(&spool, 5..6).await;
        disk.set(|faults| faults.block_sync = false);
        spool.close().await;
    }
}

fn events(numbers: std::ops::Range<u64>) -> u64 {
    numbers.map(|n| u64::from(batch(n).events)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_go_when_the_disk_holds_as_much_as_it_may() {
    let (redis, dir) = (RedisServer::start(), folder());
    let max_bytes = 64 << 10;
    let spool = open(with(local(dir.path(), max_bytes), options(&redis.url()))).await;
    append_numbers(&spool, 0..2000).await;
    settle(&spool, &redis, 2000).await;
    eventually("bounded", || stats(&spool).stored_bytes <= max_bytes);
    let kept = kept(&spool).await;
    assert_eq!(kept.last(), Some(&1999));
    assert!(kept[0] > 0, "the first are gone");
    assert_eq!(kept, (kept[0]..2000).collect::<Vec<_>>());
    assert_eq!(trouble(&spool), None);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_replayed_is_not_kept_a_second_time() {
    let (redis, dir) = (RedisServer::start(), folder());
    let spool = open(with(local(dir.path(), 1 << 30), options(&redis.url()))).await;
    for number in 0..6 {
        let batch = Batch {
            origin: match number % 2 {
                0 => Origin::Replayed,
                _ => Origin::Returned,
            },
            ..batch(number)
        };
        append(&spool, batch).await.expect("appended");
    }
    settle(&spool, &redis, 6).await;
    assert_eq!(kept(&spool).await, [1, 3, 5]);
    spool.close().await;
}
