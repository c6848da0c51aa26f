//! What is settled is kept in Redis by days, and bounded.

mod redis_archive_support;
mod redis_spool_support;
mod redis_support;

use std::collections::BTreeSet;

use redis_archive_support::*;
use redis_spool_support::{open, options};
use redis_support::cluster::Cluster;
use redis_support::{PATIENCE, RedisServer, ServerKind};
use stashgate::batch::{Batch, Origin, QueueName, UnixMillis};
use stashgate::spool::redis::element::{Compression, encode};
use stashgate::spool::redis::{Options, ServerOptions};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settled_batch_goes_to_the_list_of_the_day_of_its_acceptance_which_expires() {
    let redis = RedisServer::start();
    let spool = open(kept(&redis, 1 << 30)).await;
    let today = UnixMillis::now().0;
    let yesterday = today - DAY;
    settle(
        &spool,
        [
            batch(1, today, 10),
            batch(2, yesterday, 10),
            batch(3, today, 10),
        ],
    )
    .await;
    for (at, length) in [(today, 2), (yesterday, 1)] {
        let key = key(at);
        until("kept", || redis.ask::<u64>(&["LLEN", &key]) == length).await;
        let expires: u64 = redis.ask(&["EXPIRETIME", &key]);
        assert_eq!(expires, (at / DAY + 8) * DAY / 1000, "{key}");
    }
    let element: Vec<u8> = redis.ask(&["LINDEX", &key(yesterday), "0"]);
    assert_eq!(element, encode(&batch(2, yesterday, 10), Compression::Zstd));
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_expiry_of_a_day_is_set_once() {
    let redis = RedisServer::start();
    let spool = open(kept(&redis, 1 << 30)).await;
    let today = UnixMillis::now().0;
    settle(&spool, [batch(1, today, 10)]).await;
    let key = key(today);
    until("kept", || redis.ask::<u64>(&["LLEN", &key]) == 1).await;
    let later = today / 1000 + 1_000_000;
    redis.ask::<u64>(&["EXPIREAT", &key, &later.to_string()]);
    settle(&spool, [batch(2, today, 10)]).await;
    until("kept", || redis.ask::<u64>(&["LLEN", &key]) == 2).await;
    assert_eq!(redis.ask::<u64>(&["EXPIRETIME", &key]), later);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_that_is_older_than_the_retention_or_without_an_archive() {
    let redis = RedisServer::start();
    let old = UnixMillis::now().0 - 9 * DAY;
    let spool = open(kept(&redis, 1 << 30)).await;
    settle(&spool, [batch(1, old, 10)]).await;
    spool.close().await;
    let spool = open(options(&redis.url())).await;
    settle(&spool, [batch(2, UnixMillis::now().0, 10)]).await;
    spool.close().await;
    for keys in ["{logstash}-*", "{logstash}:archive"] {
        let keys: Vec<String> = redis.ask(&["KEYS", keys]);
        assert_eq!(keys, Vec::<String>::new());
    }
    assert_eq!(redis.ask::<u64>(&["LLEN", "logstash"]), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_archive_of_a_queue_with_shards_is_kept_and_read_in_a_cluster() {
    const SHARDS: usize = 4;
    let cluster = Cluster::start();
    let spool = open(Options {
        server: ServerOptions {
            cluster: cluster.seeds(),
            ..ServerOptions::default()
        },
        shards: SHARDS,
        ..kept(&cluster.nodes[0], 1 << 30)
    })
    .await;
    let day = UnixMillis::now().0 / DAY * DAY - DAY;
    let at = |number: u64| day + number * 1000;
    settle(&spool, (0..40).map(|n| batch(n, at(n), 100))).await;

    let date = key(day).split_off("{logstash}-".len());
    let lists = (0..SHARDS).map(|shard| format!("{{logstash.{shard}}}-{date}"));
    let lists: Vec<_> = lists
        .map(|list| (&cluster.nodes[cluster.master_of(&list)], list))
        .collect();
    let length = |(node, list): &(&RedisServer, String)| node.ask::<u64>(&["LLEN", list]);
    until("kept", || lists.iter().map(length).sum::<u64>() == 40).await;
    let filled: Vec<_> = lists.iter().filter(|list| length(list) > 0).collect();
    for (node, list) in &filled {
        let expires: u64 = node.ask(&["EXPIRETIME", list]);
        assert_eq!(expires, (day + 8 * DAY) / 1000, "{list}");
    }
    let masters: BTreeSet<u16> = filled.iter().map(|(node, _)| node.port()).collect();
    assert!(masters.len() > 1, "they are on one node");

    let mut some = archive(&spool, UnixMillis(at(5))..=UnixMillis(at(34))).await;
    let read = rest(&mut some).await;
    assert_eq!(read.len(), 30);
    for (header, block) in &read {
        let number = number(header);
        assert_eq!(block, &batch(number, at(number), 100).payload);
    }
    let numbers: BTreeSet<u64> = read.iter().map(|(header, _)| number(header)).collect();
    assert_eq!(numbers, (5..35).collect());
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_events_are_kept_as_they_came() {
    let redis = RedisServer::start();
    push(&redis, "logstash", &[b"{ \"n\":1}", b"[{\"n\":2}]"]);
    let spool = open(kept(&redis, 1 << 30)).await;
    let lease = timeout(PATIENCE, spool.lease(&QueueName::default())).await;
    let lease = lease.expect("in time").expect("leased");
    let key = key(lease.header().accepted_at.0);
    lease.ack(0).await.expect("settled");
    until("kept", || redis.ask::<u64>(&["LLEN", &key]) == 2).await;
    let elements: Vec<String> = redis.ask(&["LRANGE", &key, "0", "-1"]);
    assert_eq!(elements, ["{ \"n\":1}", "[{\"n\":2}]"]);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_go_when_the_archive_is_longer_than_it_may_be() {
    let redis = RedisServer::start();
    let spool = open(Options {
        compression: Compression::None,
        ..kept(&redis, 1_000_000)
    })
    .await;
    let today = UnixMillis::now().0;
    let at = |n: u64| if n < 5 { today - DAY } else { today };
    settle(&spool, (0..20).map(|n| batch(n, at(n), 100_000))).await;
    let stored = || spool.stats().remove(0).stored_bytes;
    let length = || redis.ask::<u64>(&["LLEN", &key(today)]);
    until("bounded", || length() == 9 && stored() < 1_000_000).await;
    assert_eq!(redis.ask::<u64>(&["EXISTS", &key(today - DAY)]), 0);
    let mut all = archive(&spool, ALL).await;
    let numbers: Vec<u64> = rest(&mut all)
        .await
        .iter()
        .map(|(h, _)| number(h))
        .collect();
    assert_eq!(numbers, (11..20).collect::<Vec<_>>());
    let since = || spool.stats().remove(0).stored_since;
    until("the window", || since() == Some(UnixMillis(at(11)))).await;
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_archive_gives_way_when_the_memory_of_redis_gets_short() {
    let redis = RedisServer::start_as(ServerKind {
        maxmemory: 24 << 20,
        ..ServerKind::default()
    });
    let spool = open(kept(&redis, 1 << 30)).await;
    let today = UnixMillis::now().0;
    // More than the server can hold.
    let all = settle(&spool, (0..500).map(|n| batch(n, today, 100_000)));
    timeout(PATIENCE, all).await.expect("appends go on");
    assert_eq!(spool.stats().remove(0).ledger.confirmed, 500);
    let length = redis.ask::<u64>(&["LLEN", &key(today)]);
    assert!((1..300).contains(&length), "{length}");
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_replayed_is_not_kept_a_second_time() {
    let redis = RedisServer::start();
    let spool = open(kept(&redis, 1 << 30)).await;
    let today = UnixMillis::now().0;
    let from = |number, origin| Batch {
        origin,
        ..batch(number, today, 10)
    };
    let batches = [
        from(1, Origin::Replayed),
        from(2, Origin::Returned),
        from(3, Origin::Replayed),
        from(4, Origin::Accepted),
    ];
    settle(&spool, batches).await;
    // Settlements are told in their order.
    until("kept", || redis.ask::<u64>(&["LLEN", &key(today)]) >= 2).await;
    let mut archive = archive(&spool, ALL).await;
    let kept: Vec<_> = rest(&mut archive).await;
    let kept: Vec<_> = kept.iter().map(|(h, _)| (number(h), h.origin)).collect();
    assert_eq!(kept, [(2, Origin::Returned), (4, Origin::Accepted)]);
    spool.close().await;
}
