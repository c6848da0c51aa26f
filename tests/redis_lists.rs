//! What stands in the lists of a queue: spread over shards, put there by others, by
//! another release, or damaged.

mod journal_support;
mod redis_spool_support;
mod redis_support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use deadpool_redis::redis::cmd;
use journal_support::*;
use redis_spool_support::{open, options};
use redis_support::RedisServer;
use stashgate::record;
use stashgate::spool::redis::Options;
use stashgate::spool::redis::element::{Compression, encode};
use stashgate::spool::{AppendError, FullReason, Spool};

fn sharded(server: &RedisServer, shards: usize) -> Options {
    Options {
        shards,
        ..options(&server.url())
    }
}

fn push(server: &RedisServer, list: &str, element: &[u8]) {
    let mut push = cmd("RPUSH");
    push.arg(list).arg(element);
    push.query::<()>(&mut server.client()).expect("pushed");
}

fn length(server: &RedisServer, list: &str) -> u64 {
    server.ask(&["LLEN", list])
}

/// Leases and acknowledges so many batches; their numbers.
async fn take(spool: &Spool, batches: usize) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    for _ in 0..batches {
        let (number, lease) = lease_number(spool).await;
        lease.ack(0).await.expect("settled");
        assert!(numbers.insert(number), "{number} came twice");
    }
    numbers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_shards_is_spread_over_its_lists() {
    let server = RedisServer::start();
    let spool = open(sharded(&server, 3)).await;
    append_numbers(&spool, 0..30).await;
    let lists = ["logstash.0", "logstash.1", "logstash.2"];
    let lengths = lists.map(|list| length(&server, list));
    assert_eq!(lengths.iter().sum::<u64>(), 30);
    assert!(lengths.iter().all(|length| *length > 0), "{lengths:?}");
    assert_eq!(take(&spool, 30).await, (0..30).collect());
    let books = stats(&spool);
    assert_eq!(books.ledger.confirmed, books.ledger.accepted);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_list_holds_no_bytes_whatever_others_put_there() {
    let server = RedisServer::start();
    let spool = open(options(&server.url())).await;
    let damaged = [&b"\xF5SG\x01"[..], &[7; 5000]].concat();
    push(&server, "logstash", &damaged);
    append_numbers(&spool, 0..3).await;
    assert_eq!(take(&spool, 3).await, (0..3).collect());
    let field = |name| server.ask::<i64>(&["HGET", "{logstash}:ledger", name]);
    until("all is settled", || field("leased_batches") == 0).await;
    assert_eq!(field("waiting_batches"), 0);
    assert_eq!(field("waiting_bytes"), 0);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_lists_than_the_pool_has_connections_are_drained() {
    let server = RedisServer::start();
    let spool = open(sharded(&server, 40)).await;
    append_numbers(&spool, 0..200).await;
    let noted = || server.ask::<u64>(&["SCARD", "stashgate:queues"]) > 40;
    until("the lists are noted", noted).await;
    spool.close().await;
    let waits = (0..40).filter(|at| length(&server, &format!("logstash.{at}")) > 0);
    assert!(waits.count() > 20);
    let spool = open(sharded(&server, 1)).await;
    assert_eq!(take(&spool, 200).await, (0..200).collect());
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_of_another_number_of_shards_are_drained() {
    let server = RedisServer::start();
    for (shards, numbers) in [(1, 0..5), (4, 5..25)] {
        let spool = open(sharded(&server, shards)).await;
        append_numbers(&spool, numbers).await;
        // The lists are noted by then.
        let noted = || server.ask::<u64>(&["SCARD", "stashgate:queues"]) >= shards as u64;
        until("the lists are noted", noted).await;
        spool.close().await;
    }
    let spool = open(sharded(&server, 2)).await;
    assert_eq!(take(&spool, 25).await, (0..25).collect());
    append_numbers(&spool, 25..27).await;
    assert_eq!(
        length(&server, "logstash"),
        0,
        "nothing new goes to an old list"
    );
    assert_eq!(take(&spool, 2).await, (25..27).collect());
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_share_a_queue_and_lose_and_double_nothing() {
    let server = RedisServer::start();
    let gateways = [
        open(sharded(&server, 2)).await,
        open(sharded(&server, 2)).await,
    ];
    let (mut tasks, left) = (Vec::new(), Arc::new(AtomicUsize::new(800)));
    for (at, spool) in gateways.iter().enumerate() {
        for task in 0..4 {
            let (spool, first) = (spool.clone(), (at as u64 * 4 + task) * 100);
            tasks.push(tokio::spawn(async move {
                append_numbers(&spool, first..first + 100).await;
                BTreeSet::new()
            }));
        }
        for _ in 0..4 {
            let (spool, left) = (spool.clone(), left.clone());
            tasks.push(tokio::spawn(async move {
                let mut numbers = BTreeSet::new();
                while left.load(SeqCst) > 0 {
                    // Others may have taken the last ones.
                    let soon = Duration::from_secs(1);
                    let Ok(lease) = tokio::time::timeout(soon, lease_number(&spool)).await else {
                        continue;
                    };
                    let (number, lease) = lease;
                    if number % 7 == 0 && lease.attempts() == 0 {
                        continue;
                    }
                    lease.ack(0).await.expect("settled");
                    assert!(numbers.insert(number), "{number} came twice");
                    left.fetch_sub(1, SeqCst);
                }
                numbers
            }));
        }
    }
    let mut all = BTreeSet::new();
    for task in tasks {
        for number in task.await.expect("ran") {
            assert!(all.insert(number), "{number} came twice");
        }
    }
    assert_eq!(all, (0..800).collect());
    for spool in gateways {
        spool.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_output_is_blocked_keeps_nothing_that_it_does_not_send() {
    let server = RedisServer::start();
    let (blocked, other) = (
        open(options(&server.url())).await,
        open(options(&server.url())).await,
    );
    let mut begun = Box::pin(lease_number(&blocked));
    let waits = tokio::time::timeout(Duration::from_millis(100), &mut begun).await;
    assert!(waits.is_err(), "nothing is there yet");
    // From here on nobody looks what became of that lease.
    append_numbers(&blocked, 0..40).await;
    let leased = || server.ask::<i64>(&["HGET", "{logstash}:ledger", "leased_batches"]);
    until("it was fetched for nobody", || leased() > 0).await;
    let taken = tokio::time::timeout(PATIENCE, take(&other, 40)).await;
    assert_eq!(taken.expect("all of it"), (0..40).collect());
    // It is still served, once it looks again.
    append_numbers(&other, 40..41).await;
    let (number, lease) = begun.await;
    assert_eq!(number, 40);
    lease.ack(0).await.expect("settled");
    other.close().await;
    blocked.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_no_list_gets_no_appends_until_it_is_one() {
    let server = RedisServer::start();
    let spool = open(options(&server.url())).await;
    server.ask::<()>(&["SET", "logstash", "x"]);
    let refused = append(&spool, batch(0)).await;
    assert!(matches!(refused, Err(AppendError::Unavailable(_))));
    let tried = || server.ask::<u64>(&["HGET", "{logstash}:ledger", "appends"]);
    let before = tried();
    // Longer than it is left alone at first.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(append(&spool, batch(0)).await.is_err());
    }
    assert_eq!(tried(), before, "the books grew, and nothing was stored");
    server.ask::<u64>(&["DEL", "logstash"]);
    let part = || spool.stats().remove(0).redis.expect("it is in Redis");
    let again = || part().unavailable.is_none();
    until("it is used again", again).await;
    append_numbers(&spool, 1..3).await;
    assert_eq!(take(&spool, 2).await, (1..3).collect());
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_was_copied_onto_the_list_is_sent_and_counted_as_foreign() {
    let server = RedisServer::start();
    let spool = open(options(&server.url())).await;
    append_numbers(&spool, 0..2).await;
    for number in 10..12 {
        push(
            &server,
            "logstash",
            &encode(&batch(number), Compression::None),
        );
    }
    append_numbers(&spool, 2..3).await;
    ack_numbers(&spool, [0, 1, 10, 11, 2]).await;
    let books = stats(&spool);
    let copied = u64::from(batch(10).events + batch(11).events);
    assert_eq!(books.ledger.foreign, copied);
    assert_eq!(books.ledger.confirmed, books.ledger.accepted + copied);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_element_is_set_aside_and_what_follows_is_sent() {
    let server = RedisServer::start();
    let spool = open(options(&server.url())).await;
    append_numbers(&spool, 0..1).await;
    let mut damaged = encode(&batch(1), Compression::None);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    push(&server, "logstash", &damaged);
    append_numbers(&spool, 2..3).await;
    ack_numbers(&spool, [0, 2]).await;
    spool.close().await;
    let kept: Vec<Vec<u8>> = server.ask(&["LRANGE", "{logstash}:quarantine", "0", "-1"]);
    assert_eq!(kept, [damaged]);
    let again = open(options(&server.url())).await;
    let books = stats(&again);
    assert_eq!(books.ledger.quarantined, u64::from(batch(1).events));
    assert_eq!(books.quarantined_records, 1);
    again.close().await;
}

/// A record whose checksums hold over a block that zstd cannot expand.
fn unexpandable(number: u64) -> Vec<u8> {
    let batch = batch(number);
    let stored = &[7; 10];
    let mut bytes = Vec::new();
    record::encode_compressed_header(&batch, stored, &mut bytes);
    bytes.extend_from_slice(stored);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_element_that_shows_its_damage_only_when_it_is_expanded_is_set_aside() {
    let server = RedisServer::start();
    let spool = open(options(&server.url())).await;
    append_numbers(&spool, 0..1).await;
    let element = unexpandable(1);
    push(&server, "logstash", &element);
    append_numbers(&spool, 2..3).await;
    ack_numbers(&spool, 0..1).await;
    let damaged = lease(&spool).await;
    damaged.payload().await.expect_err("it cannot be expanded");
    let events = u64::from(batch(1).events);
    assert_eq!(stats(&spool).ledger.quarantined, events);
    // What the forwarder does with it.
    damaged
        .requeue(false)
        .await
        .expect("there is no more to do");
    ack_numbers(&spool, 2..3).await;
    spool.close().await;
    let kept: Vec<Vec<u8>> = server.ask(&["LRANGE", "{logstash}:quarantine", "0", "-1"]);
    assert_eq!(kept, [element]);
    let again = open(options(&server.url())).await;
    let books = stats(&again);
    assert_eq!((books.waiting_events, books.leased_events), (0, 0));
    assert_eq!(books.ledger.quarantined, events);
    assert_eq!(books.quarantined_records, 1);
    again.close().await;
}

/// A record as a later release may write it.
fn newer(number: u64) -> Vec<u8> {
    let mut bytes = encode(&batch(number), Compression::None);
    bytes[4] = 9;
    let header = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..68]), &bytes[72..header]);
    bytes[68..72].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_behind_a_record_of_another_release_is_sent() {
    let server = RedisServer::start();
    push(&server, "logstash", &newer(1));
    let spool = open(options(&server.url())).await;
    // Many fetches: with a growing pause after each they would take minutes.
    append_numbers(&spool, 0..700).await;
    assert_eq!(take(&spool, 700).await, (0..700).collect());
    spool.close().await;
    assert_eq!(length(&server, "logstash"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_another_release_stays_in_its_place_and_holds_up_nobody() {
    let server = RedisServer::start();
    let newer = newer(1);
    push(&server, "logstash", &newer);
    let spool = open(options(&server.url())).await;
    append_numbers(&spool, 0..3).await;
    ack_numbers(&spool, 0..3).await;
    let waits =
        || server.ask::<Vec<Vec<u8>>>(&["LRANGE", "logstash", "0", "-1"]) == [newer.clone()];
    until("it is back in the list", waits).await;
    spool.close().await;
    assert!(waits());
    assert_eq!(length(&server, "{logstash}:quarantine"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_an_ordered_queue_only_one_gateway_holds_batches() {
    let server = RedisServer::start();
    let mut settings = options(&server.url());
    settings.queues[0].ordered = true;
    let first = open(settings.clone()).await;
    let second = open(settings).await;
    append_numbers(&first, 0..4).await;
    let (_, held) = lease_number(&first).await;
    let queue = queue();
    let refused = tokio::time::timeout(Duration::from_millis(500), second.lease(&queue)).await;
    assert!(refused.is_err(), "two gateways hold batches");
    held.ack(0).await.expect("settled");
    // The first one takes no more, so the other one gets its turn.
    ack_numbers(&second, 1..4).await;
    first.close().await;
    second.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_takes_no_more_than_it_may_hold_and_what_others_appended_counts() {
    let server = RedisServer::start();
    let mut settings = options(&server.url());
    settings.compression = Compression::None;
    settings.queues[0].max_bytes = 1000;
    let first = open(settings.clone()).await;
    let second = open(settings).await;
    let mut stored = 0;
    let refused = loop {
        match append_at_once(&first, batch(stored)).await {
            Ok(_) => stored += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, AppendError::Full(FullReason::QueueBytes));
    assert!((4..10).contains(&stored), "{stored}");
    let queue = queue();
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let permit = second.permit(&queue, 1000, Some(Duration::ZERO)).await;
        if permit.map(drop) == Err(refused.clone()) {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "the other one never knows"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ack_numbers(&first, 0..stored).await;
    append(&second, batch(99)).await.expect("there is room");
    first.close().await;
    second.close().await;
}
