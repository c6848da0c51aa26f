//! What is settled is kept in Redis by days, bounded, and read again.

mod redis_spool_support;
mod redis_support;

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use deadpool_redis::redis::cmd;
use redis_spool_support::{open, options};
use redis_support::cluster::Cluster;
use redis_support::{PATIENCE, RedisServer, ServerKind};
use stashgate::batch::{Batch, BatchId, Origin, QueueName, UnixMillis};
use stashgate::record::Header;
use stashgate::spool::redis::archive::ArchiveOptions;
use stashgate::spool::redis::element::{Compression, encode};
use stashgate::spool::redis::{Options, ServerOptions};
use stashgate::spool::{Archive, Spool};
use tokio::time::{sleep, timeout};

const DAY: u64 = 86_400_000;
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const ALL: RangeInclusive<UnixMillis> =
    UnixMillis(1_767_225_600_000)..=UnixMillis(1_799_000_000_000);

fn kept(redis: &RedisServer, max_bytes: u64) -> Options {
    Options {
        archive: ArchiveOptions {
            retention: WEEK,
            max_bytes,
        },
        ..options(&redis.url())
    }
}

/// A batch of one event, accepted at `at`, that does not get shorter.
fn batch(number: u64, at: u64, bytes: usize) -> Batch {
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

async fn settle(spool: &Spool, batches: impl IntoIterator<Item = Batch>) {
    let queue = QueueName::default();
    for batch in batches {
        let permit = spool.permit(&queue, batch.payload.len(), None).await;
        permit.expect("room").append(batch).await.expect("appended");
        let lease = timeout(PATIENCE, spool.lease(&queue)).await;
        let lease = lease.expect("in time").expect("leased");
        lease.ack(0).await.expect("settled");
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect(what);
}

async fn archive(spool: &Spool, range: RangeInclusive<UnixMillis>) -> Archive {
    let archive = spool.archive(&QueueName::default(), range).await;
    archive.expect("opens")
}

async fn rest(archive: &mut Archive) -> Vec<(std::sync::Arc<Header>, Bytes)> {
    let mut all = Vec::new();
    while let Some(record) = archive.next().await.expect("read") {
        all.push(record);
    }
    all
}

fn number(header: &Header) -> u64 {
    u64::from_be_bytes(header.id.as_bytes().try_into().expect("eight bytes"))
}

fn key(at: u64) -> String {
    let text = UnixMillis(at).to_string();
    format!("{{logstash}}-{}", text[..10].replace('-', "/"))
}

fn push(redis: &RedisServer, key: &str, elements: &[&[u8]]) {
    let mut push = cmd("RPUSH");
    push.arg(key).arg(elements);
    push.query::<u64>(&mut redis.client()).expect("pushed");
}

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
