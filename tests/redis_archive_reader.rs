//! What is kept in Redis by days is read again.

mod redis_archive_support;
mod redis_spool_support;
mod redis_support;

use std::time::Duration;

use bytes::Bytes;
use redis_archive_support::*;
use redis_spool_support::open;
use redis_support::RedisServer;
use stashgate::batch::{QueueName, UnixMillis};
use stashgate::record::Header;
use stashgate::spool::Spool;
use stashgate::spool::redis::element::{Compression, encode};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_read_over_days_in_windows_with_the_original_records() {
    let redis = RedisServer::start();
    let spool = open(kept(&redis, 1 << 30)).await;
    let today = UnixMillis::now().0 / DAY * DAY;
    // Some hundred kilobytes each: more than one window.
    let at = |number: u64| today - 2 * DAY + number * DAY / 20;
    settle(&spool, (0..50).map(|n| batch(n, at(n), 200_000))).await;
    let lists = || (0..3).map(|day| key(today - day * DAY));
    let kept = || -> u64 { lists().map(|key| redis.ask::<u64>(&["LLEN", &key])).sum() };
    until("kept", || kept() == 50).await;

    let mut some = archive(&spool, UnixMillis(at(5))..=UnixMillis(at(44))).await;
    let read = rest(&mut some).await;
    let numbers: Vec<u64> = read.iter().map(|(header, _)| number(header)).collect();
    assert_eq!(numbers, (5..=44).collect::<Vec<_>>());
    for (header, block) in &read {
        let original = batch(number(header), at(number(header)), 200_000);
        assert_eq!(*block, original.payload);
        assert_eq!(header.accepted_at, original.accepted_at);
    }
    assert_eq!(some.missing(), 0);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_without_an_end_is_read_to_its_end() {
    let redis = RedisServer::start();
    let spool = open(kept(&redis, 1 << 30)).await;
    let now = UnixMillis::now();
    settle(&spool, [batch(1, now.0, 100)]).await;
    let kept = || redis.ask::<u64>(&["LLEN", &key(now.0)]) == 1;
    until("kept", kept).await;
    let read = async {
        let range = UnixMillis(now.0 - DAY)..=UnixMillis(u64::MAX);
        rest(&mut archive(&spool, range).await).await.len()
    };
    let read = tokio::time::timeout(Duration::from_secs(60), read).await;
    assert_eq!(read.expect("it ends"), 1);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agents_lists_are_read_padded_or_not_and_with_braces_or_without() {
    let redis = RedisServer::start();
    for (n, key) in [
        "logstash-2026/1/5",
        "logstash-2026/01/05",
        "{logstash}-2026/1/5",
    ]
    .into_iter()
    .enumerate()
    {
        let (one, two) = (format!("{{\"n\":{n}}}"), format!("[{{\"n\":{n}}}]"));
        push(&redis, key, &[one.as_bytes(), two.as_bytes(), b"no event"]);
    }
    push(&redis, "logstash-2026/1/6", &[b"{\"n\":7}"]);
    let spool = open(kept(&redis, 1 << 30)).await;
    // Some hours of the day: the list's day counts.
    let day = 1_767_571_200_000;
    assert_eq!(UnixMillis(day).to_string(), "2026-01-05T00:00:00.000Z");
    let range = UnixMillis(day + 3_600_000)..=UnixMillis(day + 7_200_000);
    let mut agents = archive(&spool, range).await;
    let read = rest(&mut agents).await;
    let events: u32 = read.iter().map(|(header, _)| header.events).sum();
    assert_eq!(events, 6);
    for (header, _) in &read {
        assert!(header.foreign);
        assert_eq!(header.accepted_at, UnixMillis(day));
    }
    // What is no event is counted.
    assert_eq!(agents.missing(), 3);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_overtaken_by_the_bound_goes_on_behind_and_counts_what_it_missed() {
    let redis = RedisServer::start();
    let spool = open(kept(&redis, 1 << 30)).await;
    let today = UnixMillis::now().0;
    settle(&spool, (0..30).map(|n| batch(n, today, 1000))).await;
    until("kept", || redis.ask::<u64>(&["LLEN", &key(today)]) == 30).await;
    let mut reading = archive(&spool, ALL).await;
    let (first, _) = reading.next().await.expect("read").expect("there");
    assert_eq!(number(&first), 0);
    spool.close().await;

    // Another gateway may keep less.
    let other = open(kept(&redis, 10_000)).await;
    until("bounded", || redis.ask::<u64>(&["LLEN", &key(today)]) < 10).await;
    let read = rest(&mut reading).await;
    let numbers: Vec<u64> = read.iter().map(|(header, _)| number(header)).collect();
    let left: u64 = redis.ask(&["LLEN", &key(today)]);
    assert_eq!(numbers, (30 - left..30).collect::<Vec<_>>());
    assert_eq!(1 + numbers.len() as u64 + reading.missing(), 30);
    other.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_journals_past_is_read_by_the_same_method() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = QueueName::default();
    let journal = stashgate::spool::journal::Journal::open(stashgate::spool::journal::Options {
        dir: folder.path().join("journal"),
        sync: stashgate::spool::journal::Sync::Os,
        segment_bytes: 1 << 20,
        min_free_bytes: 0,
        max_bytes: 1 << 40,
        max_in_flight_bytes: 64 << 20,
        store: "spool",
        retention: WEEK,
        queues: vec![(queue, 1 << 40)],
    });
    let spool = Spool::Journal(journal.expect("opens"));
    let today = UnixMillis::now().0;
    // More than is read at a time.
    settle(&spool, (0..100).map(|n| batch(n, today + n, 30_000))).await;
    let range = UnixMillis(today + 10)..=UnixMillis(today + 89);
    let mut some = archive(&spool, range).await;
    let read = rest(&mut some).await;
    let numbers: Vec<u64> = read.iter().map(|(header, _)| number(header)).collect();
    assert_eq!(numbers, (10..90).collect::<Vec<_>>());
    assert_eq!(some.missing(), 0);
    assert!(some.next().await.expect("read").is_none());
    spool.close().await;
}

/// Reads `spool`'s archive a few batches at a time, each time from the mark of the last.
async fn in_pieces(spool: &Spool, batches: usize) -> Vec<(std::sync::Arc<Header>, Bytes)> {
    let queue = QueueName::default();
    let mut all = Vec::new();
    let mut mark = archive(spool, ALL).await.mark();
    loop {
        // As it stands in a file.
        let written = serde_json::to_string(&mark).expect("written");
        let read = serde_json::from_str(&written).expect("read");
        let archive = spool.archive_from(&queue, ALL, &read).await;
        let mut archive = archive.expect("opens");
        for _ in 0..batches {
            let Some(record) = archive.next().await.expect("read") else {
                return all;
            };
            all.push(record);
        }
        mark = archive.mark();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_is_read_on_where_an_earlier_reader_had_come() {
    let redis = RedisServer::start();
    let spool = open(kept(&redis, 1 << 30)).await;
    let today = UnixMillis::now().0;
    let day = |n: u64| today - (n % 3) * DAY;
    settle(&spool, (0..40).map(|n| batch(n, day(n), 10))).await;
    let kept = || (0..3).map(|n| redis.ask::<u64>(&["LLEN", &key(day(n))]));
    until("kept", || kept().sum::<u64>() == 40).await;
    // Of others, between ours: gathered up to where ours begin again.
    let plain = |n: u64| format!("{{\"plain\":{n}}}").into_bytes();
    push(&redis, &key(day(1)), &[&plain(1), &plain(2)]);
    let ours = encode(&batch(40, day(1), 10), Compression::None);
    push(&redis, &key(day(1)), &[&ours, &plain(3)]);
    let whole = rest(&mut archive(&spool, ALL).await).await;
    assert_eq!(whole.len(), 40 + 3);
    for batches in [1, 2, 7] {
        let pieces = in_pieces(&spool, batches).await;
        // What others wrote makes up other batches each time.
        let events =
            |all: &[(_, Bytes)]| all.iter().map(|(_, b)| &b[..]).collect::<Vec<_>>().concat();
        assert_eq!(events(&pieces), events(&whole), "{batches} at a time");
    }
    // What came later is not in it.
    let mark = archive(&spool, ALL).await.mark();
    settle(&spool, [batch(50, today, 10)]).await;
    until("kept", || kept().sum::<u64>() == 40 + 4 + 1).await;
    let queue = QueueName::default();
    let mut later = spool.archive_from(&queue, ALL, &mark).await.expect("opens");
    assert_eq!(rest(&mut later).await.len(), whole.len());
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_goes_on_later_tells_what_was_taken_away_meanwhile() {
    let redis = RedisServer::start();
    let spool = open(kept(&redis, 1 << 30)).await;
    let today = UnixMillis::now().0;
    settle(&spool, (0..10).map(|n| batch(n, today, 10))).await;
    until("kept", || redis.ask::<u64>(&["LLEN", &key(today)]) == 10).await;
    let mut begun = archive(&spool, ALL).await;
    for _ in 0..3 {
        begun.next().await.expect("read").expect("there");
    }
    let mark = begun.mark();
    drop(begun);
    let books = "{logstash}:archive";
    let day = key(today).split_once('-').expect("a day").1.to_owned();
    redis.ask::<Vec<u8>>(&["LPOP", &key(today)]);
    redis.ask::<Vec<Vec<u8>>>(&["LPOP", &key(today), "4"]);
    redis.ask::<u64>(&["HSET", books, &format!("gone:{day}"), "5"]);
    let queue = QueueName::default();
    let mut later = spool.archive_from(&queue, ALL, &mark).await.expect("opens");
    let numbers: Vec<u64> = rest(&mut later)
        .await
        .iter()
        .map(|(h, _)| number(h))
        .collect();
    assert_eq!((numbers, later.missing()), ((5..10).collect(), 2));
    // And where all of it went.
    redis.ask::<u64>(&["DEL", &key(today), books]);
    let mut later = spool.archive_from(&queue, ALL, &mark).await.expect("opens");
    assert_eq!((rest(&mut later).await.len(), later.missing()), (0, 7));
    spool.close().await;
}
