//! Redis and the journal joined: what Redis does not take goes to the journal, and
//! what is in either comes out.

mod journal_support;
mod redis_spool_support;
mod redis_support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use journal_support::*;
use redis_support::{RedisServer, ServerKind};
use stashgate::spool::journal::Journal;
use stashgate::spool::redis::Redis;
use stashgate::spool::spill::{Options, Spill};
use stashgate::spool::{AppendError, FullReason, LeaseError, Spool};

/// How the two are joined in a test.
struct Joined {
    server: RedisServer,
    dir: tempfile::TempDir,
    max_bytes: u64,
    journal_max_bytes: u64,
    spills: bool,
    response_timeout: Duration,
}

impl Joined {
    fn with(server: RedisServer) -> Self {
        Self {
            server,
            dir: tempfile::tempdir().expect("a folder"),
            max_bytes: 1 << 40,
            journal_max_bytes: 1 << 40,
            spills: true,
            response_timeout: Duration::from_secs(20),
        }
    }

    fn journal(&self) -> Journal {
        let mut options = options(self.dir.path());
        options.max_bytes = self.journal_max_bytes;
        Journal::open(options).expect("opens")
    }

    async fn open(&self) -> Spool {
        let mut options = redis_spool_support::options(&self.server.url());
        options.heartbeat = Duration::from_secs(5);
        options.server.response_timeout = self.response_timeout;
        let redis = Redis::open(options).await.expect("opens");
        let options = Options {
            queues: vec![(queue(), self.max_bytes)],
            max_bytes: self.max_bytes,
            max_in_flight_bytes: 64 << 20,
            spills: self.spills,
        };
        Spool::Spill(Spill::new(redis, Some(self.journal()), options))
    }
}

/// Waits until Redis takes batches again.
async fn until_redis_is_back(spool: &Spool) {
    let takes = || {
        let stats = spool.stats().remove(0);
        stats.redis.expect("in Redis").unavailable.is_none()
    };
    until("Redis takes batches again", takes).await;
}

fn spilled_events(spool: &Spool) -> u64 {
    let spill = spool.stats().remove(0).spill.expect("a journal");
    spill.waiting_events + spill.leased_events
}

/// Leases and settles `count` batches, in whatever order they come.
async fn take(spool: &Spool, count: usize) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    for _ in 0..count {
        let (number, lease) = lease_number(spool).await;
        assert!(numbers.insert(number), "{number} came twice");
        lease.ack(0).await.expect("settled");
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_redis_does_not_take_is_spilled_and_comes_out_beside_the_rest() {
    let mut joined = Joined::with(RedisServer::start());
    let spool = joined.open().await;
    append_numbers(&spool, 0..10).await;
    assert_eq!(spilled_events(&spool), 0, "Redis takes them");
    joined.server.kill();
    append_numbers(&spool, 10..20).await;
    let accepted: u64 = (0..20).map(|n| u64::from(batch(n).events)).sum();
    let in_journal: u64 = (10..20).map(|n| u64::from(batch(n).events)).sum();
    assert_eq!(spilled_events(&spool), in_journal);
    // Those are sent at once.
    assert_eq!(take(&spool, 10).await, (10..20).collect());

    joined.server.restart();
    until_redis_is_back(&spool).await;
    append_numbers(&spool, 20..25).await;
    assert_eq!(spilled_events(&spool), 0, "Redis takes them again");
    let rest = (0..10).chain(20..25).collect();
    assert_eq!(take(&spool, 15).await, rest);
    let stats = stats(&spool);
    assert_eq!(stats.waiting_events + stats.leased_events, 0);
    let new: u64 = (20..25).map(|n| u64::from(batch(n).events)).sum();
    assert_eq!(stats.ledger.confirmed, accepted + new);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_froze_is_spilled_and_nothing_in_it_is_missing() {
    let mut joined = Joined::with(RedisServer::start());
    joined.response_timeout = Duration::from_secs(2);
    let spool = joined.open().await;
    append_numbers(&spool, 0..5).await;
    joined.server.stop();
    // The first of these wait until Redis has not answered for a while.
    append_numbers(&spool, 5..10).await;
    assert!(spilled_events(&spool) > 0);
    joined.server.cont();
    until_redis_is_back(&spool).await;
    let mut got = BTreeSet::new();
    while got.len() < 10 {
        // Nobody knew what became of those in flight, so they may be in both.
        let (number, lease) = lease_number(&spool).await;
        got.insert(number);
        lease.ack(0).await.expect("settled");
    }
    assert_eq!(got, (0..10).collect());
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_without_memory_is_spilled() {
    let kind = ServerKind {
        maxmemory: 3 << 20,
        ..ServerKind::default()
    };
    let joined = Joined::with(RedisServer::start_as(kind));
    let spool = joined.open().await;
    let mut count = 0;
    while spilled_events(&spool) == 0 {
        let mut large = batch(count);
        // Random, so that compression does not help.
        let noise: String = (0..100_000).map(|_| fastrand::alphanumeric()).collect();
        large.payload = format!("{{\"noise\":\"{noise}\"}}\n").into();
        large.events = 1;
        append(&spool, large).await.expect("taken by either");
        count += 1;
        assert!(count < 1000, "Redis is never full");
    }
    for _ in 0..count {
        lease(&spool).await.ack(0).await.expect("settled");
    }
    let stats = stats(&spool);
    assert_eq!(stats.waiting_events + stats.leased_events, 0);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_holds_as_much_as_it_may_in_both_is_full_and_not_spilled() {
    let mut joined = Joined::with(RedisServer::start());
    joined.max_bytes = 4_000;
    let spool = joined.open().await;
    joined.server.kill();
    while stats(&spool).waiting_bytes < 2_000 {
        append(&spool, batch(6)).await.expect("spilled");
    }
    let before = spilled_events(&spool);
    joined.server.restart();
    until_redis_is_back(&spool).await;
    let refused = loop {
        match append_at_once(&spool, batch(6)).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            refused,
            AppendError::Full(FullReason::QueueBytes | FullReason::SpoolBytes)
        ),
        "{refused}"
    );
    assert_eq!(spilled_events(&spool), before, "Redis took the rest");
    let held = stats(&spool);
    assert!(held.full.is_some());
    // One record's header may go beyond.
    assert!(held.waiting_bytes < 4_500, "{held:?}");

    // Somebody waits for room, and gets it when enough is settled.
    let waiting = tokio::spawn({
        let spool = spool.clone();
        async move { append(&spool, batch(6)).await }
    });
    for _ in 0..8 {
        lease(&spool).await.ack(0).await.expect("settled");
    }
    waiting.await.expect("ran").expect("appended");
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_both_full_a_batch_waits_as_long_as_its_caller_has_patience() {
    let mut joined = Joined::with(RedisServer::start());
    joined.journal_max_bytes = 400;
    let spool = joined.open().await;
    joined.server.kill();
    let mut taken = 0;
    let refused = loop {
        match append_at_once(&spool, batch(taken)).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Unavailable(_)), "{refused}");
    // Who has patience without end, gets in when Redis is back.
    let waiting = tokio::spawn({
        let spool = spool.clone();
        async move {
            let permit = spool.permit(&queue(), 400, None).await?;
            permit.append(batch(99)).await
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished(), "nobody can take it");
    joined.server.restart();
    waiting.await.expect("ran").expect("appended");
    let expected = (0..taken).chain([99]).collect();
    assert_eq!(take(&spool, taken as usize + 1).await, expected);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_only_drained_takes_nothing() {
    let mut joined = Joined::with(RedisServer::start());
    joined.spills = false;
    let earlier = Spool::Journal(joined.journal());
    append_numbers(&earlier, 0..3).await;
    earlier.close().await;

    let spool = joined.open().await;
    append_numbers(&spool, 3..5).await;
    assert_eq!(take(&spool, 5).await, (0..5).collect());
    joined.server.kill();
    let refused = append(&spool, batch(5)).await;
    assert!(
        matches!(refused, Err(AppendError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(spilled_events(&spool), 0);
    // One who cannot be told waits.
    let waiting = tokio::spawn({
        let spool = spool.clone();
        async move {
            let permit = spool.permit(&queue(), 100, None).await?;
            permit.append(batch(6)).await
        }
    });
    joined.server.restart();
    waiting.await.expect("ran").expect("appended");
    assert_eq!(take(&spool, 1).await, BTreeSet::from([6]));
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_cannot_be_read_does_not_hold_up_redis() {
    let mut joined = Joined::with(RedisServer::start());
    let spool = joined.open().await;
    joined.server.kill();
    append_numbers(&spool, 0..1).await;
    spool.close().await;
    joined.server.restart();
    let spool = joined.open().await;
    append_numbers(&spool, 1..3).await;
    spoil_segments(joined.dir.path());
    let mut got = BTreeSet::new();
    while got.len() < 2 {
        let lease = tokio::time::timeout(PATIENCE, spool.lease(&queue())).await;
        let lease = match lease.expect("Redis has some") {
            Ok(lease) => lease,
            // Told where Redis takes its time.
            Err(LeaseError::Unreadable(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        // What was read ahead before may still come.
        let Ok(payload) = lease.payload().await else {
            continue;
        };
        got.insert(number(lease.header(), &payload));
        lease.ack(0).await.expect("settled");
        got.remove(&0);
    }
    assert_eq!(got, BTreeSet::from([1, 2]));
    spool.close().await;
}

/// A folder in the place of each segment: reading it fails, and that is no damage.
fn spoil_segments(dir: &Path) {
    for segment in segments(dir) {
        std::fs::rename(&segment, segment.with_extension("hidden")).expect("renamed");
        std::fs::create_dir(&segment).expect("made");
    }
}
