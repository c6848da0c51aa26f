//! Answers of Redis that get lost, and a Redis that is away or full: nothing is lost,
//! and nothing is stored or counted twice.

mod journal_support;
mod redis_spool_support;
mod redis_support;

use std::time::Duration;

use journal_support::*;
use redis_spool_support::proxy::{Cut, Proxy};
use redis_spool_support::{open, options};
use redis_support::{RedisServer, ServerKind};
use stashgate::spool::redis::element::Compression;
use stashgate::spool::redis::{Options, Redis};
use stashgate::spool::{AppendError, FullReason, Spool};

/// A Redis, a proxy before it, and a spool that goes through the proxy.
async fn through_a_proxy() -> (RedisServer, Proxy, Spool) {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let options = Options {
        compression: Compression::None,
        ..options(&proxy.url())
    };
    let spool = open(options).await;
    (server, proxy, spool)
}

fn length(server: &RedisServer) -> u64 {
    server.ask(&["LLEN", "logstash"])
}

/// All that waits comes out once, in order, and the books are even.
async fn comes_out(server: &RedisServer, spool: &Spool, numbers: std::ops::Range<u64>) {
    ack_numbers(spool, numbers).await;
    spool.close().await;
    assert_eq!(length(server), 0, "something came twice");
    let again = open(options(&server.url())).await;
    let books = stats(&again);
    assert_eq!((books.waiting_events, books.leased_events), (0, 0));
    assert_eq!(books.ledger.confirmed, books.ledger.accepted);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_whose_answer_is_lost_is_stored_once_and_answered() {
    let (server, proxy, spool) = through_a_proxy().await;
    append_numbers(&spool, 0..2).await;
    proxy.cut(Cut::AfterRequest("RPUSH"));
    append_numbers(&spool, 2..3).await;
    assert_eq!((proxy.cuts(), length(&server)), (1, 3));
    assert_eq!(stats(&spool).ledger.accepted, 1 + 2 + 3);
    append_numbers(&spool, 3..5).await;
    comes_out(&server, &spool, 0..5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_redis_gets_only_after_its_connection_was_lost_is_stored_once() {
    let (server, proxy, spool) = through_a_proxy().await;
    append_numbers(&spool, 0..2).await;
    proxy.cut(Cut::HoldRequest("RPUSH"));
    append_numbers(&spool, 2..3).await;
    assert_eq!((proxy.cuts(), length(&server)), (1, 3));
    proxy.release().await;
    // Whatever Redis makes of it, it has made it before it reads this.
    append_numbers(&spool, 3..5).await;
    comes_out(&server, &spool, 0..5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushes_that_are_lost_together_are_told_apart() {
    let (server, proxy, spool) = through_a_proxy().await;
    for round in 0..10 {
        proxy.cut(Cut::AfterRequest("RPUSH"));
        let appends = (round * 40..round * 40 + 40).map(|number| {
            let spool = spool.clone();
            tokio::spawn(async move { append(&spool, batch(number)).await })
        });
        for append in appends.collect::<Vec<_>>() {
            append.await.expect("ran").expect("appended");
        }
    }
    assert_eq!((proxy.cuts(), length(&server)), (10, 400));
    let mut numbers = drain(&spool).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (0..400).collect::<Vec<_>>());
    comes_out(&server, &spool, 0..0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_whose_answer_is_lost_goes_back_to_its_place() {
    let (server, proxy, spool) = through_a_proxy().await;
    append_numbers(&spool, 0..5).await;
    proxy.cut(Cut::BeforeAnswer("{\"batch\":"));
    let (first, held) = lease_number(&spool).await;
    assert_eq!((proxy.cuts(), first), (1, 0));
    held.ack(0).await.expect("settled");
    comes_out(&server, &spool, 1..5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_in_hand_stay_in_hand_when_another_lease_is_lost() {
    let (server, proxy, spool) = through_a_proxy().await;
    append_numbers(&spool, 0..1).await;
    let (_, held) = lease_number(&spool).await;
    append_numbers(&spool, 1..4).await;
    proxy.cut(Cut::BeforeAnswer("{\"batch\":"));
    let (second, other) = lease_number(&spool).await;
    assert_eq!(second, 1);
    held.ack(0).await.expect("still ours");
    other.ack(0).await.expect("ours");
    comes_out(&server, &spool, 2..4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_whose_answer_is_lost_is_counted_once() {
    let (server, proxy, spool) = through_a_proxy().await;
    append_numbers(&spool, 0..3).await;
    let (_, first) = lease_number(&spool).await;
    proxy.cut(Cut::AfterRequest("done"));
    first.ack(0).await.expect("settled");
    until("the answer was lost", || proxy.cuts() == 1).await;
    comes_out(&server, &spool, 1..3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_opens_without_its_redis_and_says_so_at_once() {
    let mut server = RedisServer::start();
    server.kill();
    let spool = open(options(&server.url())).await;
    for _ in 0..3 {
        // Whoever would have to wait learns it before giving the batch away.
        let refused = spool.permit(&queue(), 1, None).await.map(drop);
        assert!(
            matches!(refused, Err(AppendError::Unavailable(_))),
            "{refused:?}"
        );
    }
    server.restart();
    let deadline = std::time::Instant::now() + PATIENCE;
    while append(&spool, batch(0)).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "never comes back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    comes_out(&server, &spool, 0..1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_restarted_has_all_that_was_answered() {
    let mut server = RedisServer::start();
    let spool = open(options(&server.url())).await;
    append_numbers(&spool, 0..3).await;
    let (_, held) = lease_number(&spool).await;
    server.kill();
    let away = append(&spool, batch(3)).await;
    assert!(matches!(away, Err(AppendError::Unavailable(_))), "{away:?}");
    held.ack(0).await.expect("settled");
    server.restart();
    let deadline = std::time::Instant::now() + PATIENCE;
    while append(&spool, batch(3)).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "never comes back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    comes_out(&server, &spool, 1..4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_memory_refuses_appends_and_drains() {
    let server = RedisServer::start_as(ServerKind {
        maxmemory: 16 << 20,
        ..ServerKind::default()
    });
    let spool = open(Options {
        compression: Compression::None,
        ..options(&server.url())
    })
    .await;
    let big = |number| {
        let mut batch = batch(number);
        let filler = "x".repeat(1 << 20);
        batch.payload = format!("{{\"filler\":\"{filler}\"}}\n").into();
        batch.events = 1;
        batch
    };
    let mut stored = 0;
    let refused = loop {
        let (queue, patience) = (queue(), Duration::from_millis(200));
        let permit = spool.permit(&queue, 1 << 20, Some(patience));
        let appended = match permit.await {
            Ok(permit) => permit.append(big(stored)).await,
            Err(refused) => Err(refused),
        };
        match appended {
            Ok(_) => stored += 1,
            Err(refused) => break refused,
        }
        assert!(stored < 100, "it never gets full");
    };
    assert_eq!(refused, AppendError::Full(FullReason::Memory));
    assert_eq!(stats(&spool).full, Some(FullReason::Memory));
    // No room at all: neither for a lease nor for its books.
    let mut client = server.client();
    redis_support::ask::<String>(&mut client, &["CONFIG", "SET", "maxmemory", "1mb"]).expect("set");
    for number in 0..stored {
        let lease = lease(&spool).await;
        assert_eq!(lease.header().payload_hash, number);
        lease.ack(0).await.expect("settled");
    }
    redis_support::ask::<String>(&mut client, &["CONFIG", "SET", "maxmemory", "16mb"])
        .expect("set");
    append(&spool, big(stored)).await.expect("there is room");
    assert_eq!(lease(&spool).await.header().payload_hash, stored);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_is_answered_only_when_enough_replicas_have_it() {
    let server = RedisServer::start();
    let mut settings = Options {
        min_replicas: 1,
        ..options(&server.url())
    };
    // Replicas have half of it.
    settings.server.response_timeout = Duration::from_secs(6);
    let spool = open(settings).await;
    let alone = append(&spool, batch(0)).await;
    let Err(AppendError::Unavailable(why)) = alone else {
        panic!("{alone:?}");
    };
    assert!(why.contains("0 of 1 replicas have"), "{why}");
    let replica = RedisServer::start_as(ServerKind {
        more: vec![format!("replicaof 127.0.0.1 {}", server.port())],
        ..ServerKind::default()
    });
    let deadline = std::time::Instant::now() + PATIENCE;
    while append(&spool, batch(1)).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "never enough");
    }
    let there: u64 = replica.ask(&["LLEN", "logstash"]);
    assert_eq!(there, length(&server));
    // Stored or not without a replica: what is there is counted.
    let books = stats(&spool);
    assert_eq!(books.ledger.accepted, books.waiting_events);
    spool.close().await;
}

#[tokio::test]
async fn settings_that_make_no_sense_are_an_error() {
    let refused = Redis::open(options("http://127.0.0.1")).await;
    assert!(refused.is_err());
}
