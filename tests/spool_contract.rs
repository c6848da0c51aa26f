//! The contract that every kind of spool keeps. Each function takes a fresh
//! spool; another kind joins by one more macro call at the end.

mod journal_support;
mod redis_spool_support;
mod redis_support;

use std::collections::BTreeSet;
use std::time::Duration;

use journal_support::*;
use redis_support::RedisServer;
use stashgate::batch::{Origin, QueueName, UnixMillis};
use stashgate::ledger::Ledger;
use stashgate::spool::journal::Journal;
use stashgate::spool::redis::Redis;
use stashgate::spool::spill::{self, Spill};
use stashgate::spool::{AppendError, LeaseError, Spool};

async fn batches_come_out_in_the_order_they_went_in(spool: Spool) {
    append_numbers(&spool, 0..20).await;
    ack_numbers(&spool, 0..20).await;
    let stats = stats(&spool);
    assert_eq!(stats.waiting_events + stats.leased_events, 0);
    assert_eq!(stats.ledger.confirmed, stats.ledger.accepted);
}

async fn an_append_is_answered_with_its_id_and_events(spool: Spool) {
    let appended = append(&spool, batch(4)).await.expect("appended");
    assert_eq!((appended.id, appended.events), (batch(4).id, 5));
}

async fn a_lease_waits_for_a_batch(spool: Spool) {
    let waiting = tokio::spawn({
        let spool = spool.clone();
        async move { lease_number(&spool).await }
    });
    tokio::task::yield_now().await;
    append_numbers(&spool, 3..4).await;
    assert_eq!(waiting.await.expect("ran").0, 3);
}

async fn a_leased_batch_is_not_leased_again(spool: Spool) {
    append_numbers(&spool, 0..1).await;
    let (_, held) = lease_number(&spool).await;
    let second = tokio::time::timeout(Duration::from_millis(50), spool.lease(&queue())).await;
    assert!(second.is_err(), "leased twice");
    assert_eq!(stats(&spool).leased_batches, 1);
    held.ack(0).await.expect("settled");
}

async fn requeued_batches_go_back_to_their_old_place(spool: Spool) {
    append_numbers(&spool, 0..5).await;
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(lease_number(&spool).await.1);
    }
    for at in [2, 0, 0, 0] {
        leases.remove(at).requeue(false).await.expect("settled");
    }
    ack_numbers(&spool, 0..5).await;
}

async fn only_an_unknown_outcome_counts_as_an_attempt(spool: Spool) {
    append_numbers(&spool, 0..1).await;
    for (unknown, attempts) in [(false, 0), (true, 0), (true, 1), (false, 2)] {
        let held = lease(&spool).await;
        assert_eq!(held.attempts(), attempts);
        held.requeue(unknown).await.expect("settled");
    }
    assert_eq!(lease(&spool).await.attempts(), 2);
}

async fn a_dropped_lease_goes_back_as_an_unknown_outcome(spool: Spool) {
    append_numbers(&spool, 0..2).await;
    drop(lease(&spool).await);
    let (number, held) = lease_number(&spool).await;
    assert_eq!((number, held.attempts()), (0, 1));
}

async fn a_payload_can_be_read_more_than_once(spool: Spool) {
    append_numbers(&spool, 0..1).await;
    let held = lease(&spool).await;
    for _ in 0..3 {
        let payload = held.payload().await.expect("readable");
        assert_eq!(number(held.header(), &payload), 0);
    }
}

async fn dead_letters_of_a_batch_are_booked_apart(spool: Spool) {
    append_numbers(&spool, 4..5).await;
    lease(&spool).await.ack(2).await.expect("settled");
    let ledger = stats(&spool).ledger;
    assert_eq!(
        (ledger.accepted, ledger.confirmed, ledger.dead_letters),
        (5, 3, 2)
    );
}

async fn the_books_are_right_at_every_step(spool: Spool) {
    append_numbers(&spool, 0..10).await;
    let total = stats(&spool).ledger.accepted;
    let mut held = Vec::new();
    for step in 0..10 {
        let lease = lease(&spool).await;
        match step % 3 {
            0 => lease.ack(0).await.expect("settled"),
            1 => held.push(lease),
            _ => held.push(lease),
        }
        let now = stats(&spool);
        assert_eq!(
            now.ledger.confirmed + now.leased_events + now.waiting_events,
            total
        );
    }
    drop(held);
    assert_eq!(stats(&spool).leased_events, 0);
}

async fn each_origin_has_a_book_of_its_own(spool: Spool) {
    use Origin::{Accepted, Replayed, Returned};
    for (number, origin) in [(0, Returned), (1, Replayed), (2, Accepted), (3, Replayed)] {
        let batch = stashgate::batch::Batch {
            origin,
            ..batch(number)
        };
        append(&spool, batch).await.expect("appended");
    }
    let came = |ledger: Ledger| (ledger.accepted, ledger.returned, ledger.replayed);
    assert_eq!(came(stats(&spool).ledger), (3, 1, 6));
    for origin in [Returned, Replayed, Accepted, Replayed] {
        let (_, lease) = lease_number(&spool).await;
        assert_eq!(lease.header().origin, origin);
        lease.ack(0).await.expect("settled");
    }
    let ledger = stats(&spool).ledger;
    assert_eq!((came(ledger), ledger.confirmed), ((3, 1, 6), 10));
}

async fn a_replayed_batch_does_not_age_what_waits(spool: Spool) {
    let old = stashgate::batch::Batch {
        origin: Origin::Replayed,
        accepted_at: UnixMillis(1),
        ..batch(0)
    };
    let before = UnixMillis::now();
    append(&spool, old).await.expect("appended");
    append_numbers(&spool, 1..2).await;
    let is_young = |spool: &Spool| stats(spool).oldest_unsettled.is_none_or(|at| at >= before);
    assert!(is_young(&spool));
    let (_, held) = lease_number(&spool).await;
    assert_eq!(held.header().accepted_at, UnixMillis(1));
    assert!(is_young(&spool), "in hand");
    held.requeue(false).await.expect("settled");
    assert!(is_young(&spool), "given back");
    ack_numbers(&spool, 0..1).await;
    assert!(is_young(&spool) && stats(&spool).oldest_unsettled.is_some());
}

async fn concurrent_callers_lose_and_double_nothing(spool: Spool) {
    let appends = (0..8).map(|task| {
        let spool = spool.clone();
        tokio::spawn(async move { append_numbers(&spool, task * 50..task * 50 + 50).await })
    });
    let appends: Vec<_> = appends.collect();
    let leases = (0..4).map(|task| {
        let spool = spool.clone();
        tokio::spawn(async move {
            let mut got = Vec::new();
            while got.len() < 100 {
                let (number, lease) = lease_number(&spool).await;
                if (number + task) % 5 == 0 && lease.attempts() < 2 {
                    drop(lease);
                } else {
                    lease.ack(0).await.expect("settled");
                    got.push(number);
                }
            }
            got
        })
    });
    let leases: Vec<_> = leases.collect();
    for task in appends {
        task.await.expect("appended");
    }
    let mut all = BTreeSet::new();
    for task in leases {
        for number in task.await.expect("leased") {
            assert!(all.insert(number), "{number} came twice");
        }
    }
    assert_eq!(all, (0..400).collect());
    assert_eq!(stats(&spool).waiting_events, 0);
}

async fn an_unknown_queue_is_an_error(spool: Spool) {
    let name: QueueName = "nobody".parse().expect("valid");
    let permit = spool.permit(&name, 1, None).await.map(drop);
    assert_eq!(permit, Err(AppendError::UnknownQueue(name.clone())));
    let lease = spool.lease(&name).await.map(drop);
    assert_eq!(lease, Err(LeaseError::UnknownQueue(name)));
}

async fn a_closed_spool_says_so_to_everyone(spool: Spool) {
    append_numbers(&spool, 0..2).await;
    let permit = spool.permit(&queue(), 1, None).await.expect("room");
    let held = lease(&spool).await;
    drop(lease(&spool).await.ack(0).await);
    let waiting = tokio::spawn({
        let spool = spool.clone();
        async move { spool.lease(&queue()).await.map(drop) }
    });
    spool.close().await;
    assert_eq!(waiting.await.expect("ran"), Err(LeaseError::Closed));
    assert_eq!(permit.append(batch(9)).await, Err(AppendError::Closing));
    assert_eq!(append(&spool, batch(9)).await, Err(AppendError::Closing));
    assert!(held.ack(0).await.is_err(), "the settlement was not written");
    assert_eq!(
        spool.lease(&queue()).await.map(drop),
        Err(LeaseError::Closed)
    );
    spool.close().await;
}

/// All of the contract, for one kind of spool. `make` gives a fresh spool, and what
/// it needs to live.
macro_rules! contract {
    ($kind:ident, $make:path) => {
        contract!($kind, $make, [
            batches_come_out_in_the_order_they_went_in,
            an_append_is_answered_with_its_id_and_events,
            a_lease_waits_for_a_batch,
            a_leased_batch_is_not_leased_again,
            requeued_batches_go_back_to_their_old_place,
            only_an_unknown_outcome_counts_as_an_attempt,
            a_dropped_lease_goes_back_as_an_unknown_outcome,
            a_payload_can_be_read_more_than_once,
            dead_letters_of_a_batch_are_booked_apart,
            the_books_are_right_at_every_step,
            each_origin_has_a_book_of_its_own,
            a_replayed_batch_does_not_age_what_waits,
            concurrent_callers_lose_and_double_nothing,
            an_unknown_queue_is_an_error,
            a_closed_spool_says_so_to_everyone,
        ]);
    };
    ($kind:ident, $make:path, [$($name:ident),* $(,)?]) => {
        mod $kind {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let (spool, _place) = $make().await;
                    super::$name(spool).await;
                }
            )*
        }
    };
}

async fn journal() -> (Spool, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    (open(&options(dir.path())), dir)
}

async fn one_redis() -> (Spool, RedisServer) {
    let server = RedisServer::start();
    let options = redis_spool_support::options(&server.url());
    (redis_spool_support::open(options).await, server)
}

contract!(in_journal, super::journal);
contract!(in_redis, super::one_redis);

/// Everything goes to Redis.
async fn both() -> (Spool, (RedisServer, tempfile::TempDir)) {
    let server = RedisServer::start();
    let (spool, dir) = joined(&server).await;
    (spool, (server, dir))
}

/// Everything goes to the journal.
async fn spilled() -> (Spool, (RedisServer, tempfile::TempDir)) {
    let mut server = RedisServer::start();
    server.kill();
    let (spool, dir) = joined(&server).await;
    (spool, (server, dir))
}

async fn joined(server: &RedisServer) -> (Spool, tempfile::TempDir) {
    let dir = tempfile::tempdir().expect("a folder");
    let redis = Redis::open(redis_spool_support::options(&server.url())).await;
    let journal = Journal::open(options(dir.path())).expect("opens");
    let options = spill::Options {
        queues: vec![(queue(), 1 << 40)],
        max_bytes: 1 << 40,
        max_in_flight_bytes: 64 << 20,
        spills: true,
    };
    let spill = Spill::new(redis.expect("opens"), Some(journal), options);
    (Spool::Spill(spill), dir)
}

contract!(in_redis_beside_a_journal, super::both);
contract!(in_a_journal_beside_a_dead_redis, super::spilled);
