//! Logstash is away for a day, and the spool is in a Redis that cannot hold that day. The
//! day is made in seconds, with the times at which its batches would have come: Redis
//! fills up, the rest goes to the journal. The real gateway, started on both, lives
//! through the end of the outage and the drain, while clients go on sending.

mod journal_support;
mod outage_support;
mod redis_site;
mod redis_spool_support;
mod redis_support;

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/load.rs"]
mod load;
#[path = "support/sink.rs"]
mod sink;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use gateway::{Setup, eventually, free};
use journal_support::{append, queue};
use load::{Books, Style, send_for_ever};
use outage_support::*;
use redis_site::{in_redis, strange_keys};
use redis_support::{RedisServer, ServerKind};
use serde_json::Value;
use sink::Sink;
use stashgate::batch::UnixMillis;
use stashgate::spool::Spool;
use stashgate::spool::journal::{Journal, Sync};
use stashgate::spool::redis::Redis;
use stashgate::spool::spill::{Options, Spill};

/// One batch every ten seconds.
const BATCHES: u64 = DAY / 10;
const EVENTS: u64 = BATCHES * BATCH_EVENTS;
/// The day has about 25 MB, compressed.
const REDIS_BYTES: u64 = 16 << 20;
/// Half of the outage: what waits is older than what would be kept of the delivered.
const RETENTION: u64 = 12 * 3600;
const MAX_RESIDENT_KIB: u64 = 128 << 10;
/// A debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

fn small_redis() -> RedisServer {
    RedisServer::start_as(ServerKind {
        aof: None,
        maxmemory: REDIS_BYTES,
        ..ServerKind::default()
    })
}

/// Leaves a day of waiting batches in Redis and in the data folder.
async fn make_a_day(setup: &Setup, redis: &RedisServer) {
    let mut options = journal_support::options(&setup.data_dir());
    options.sync = Sync::Os;
    options.segment_bytes = 1 << 20;
    let journal = Journal::open(options).expect("opens");
    let options = redis_spool_support::options(&redis.url());
    let redis = Redis::open(options).await.expect("opens");
    let options = Options {
        queues: vec![(queue(), 1 << 40)],
        max_bytes: 1 << 40,
        max_in_flight_bytes: 64 << 20,
        spills: true,
    };
    let spool = Spool::Spill(Spill::new(redis, Some(journal), options));
    let now = UnixMillis::now();
    let mut random = fastrand::Rng::with_seed(1);
    // It does not get much shorter.
    let mut text = || (0..400).map(|_| random.alphanumeric()).collect();
    for n in 0..BATCHES {
        let at = UnixMillis(now.0 - (BATCHES - n) * 10_000);
        let batch = of_the_day(n, at, &mut text);
        append(&spool, batch).await.expect("appended");
    }
    spool.close().await;
}

fn used_memory(redis: &RedisServer) -> u64 {
    let info: String = redis.ask(&["INFO", "memory"]);
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    line.expect("told").trim().parse().expect("a number")
}

async fn the_queue(setup: &Setup) -> Value {
    setup.status().await["queues"][0].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_without_logstash_that_redis_cannot_hold_is_kept_whole_and_drained() {
    let (logstash, redis) = (free(), small_redis());
    let more = format!("[archive]\nretention = \"{RETENTION}s\"\n");
    let setup = Setup::new(logstash, &(in_redis(&redis, "") + &more));
    make_a_day(&setup, &redis).await;
    let gateway = setup.start_and_wait().await;

    // The end of the outage, with clients that send.
    let style = Style {
        text: 200,
        pause: Duration::from_millis(5),
    };
    let books = Books::new(1_000_000_000, style);
    let clients = send_for_ever(setup.grpc, setup.http, &books);
    let (mut resident, mut used) = (0, 0);
    let mut look = || {
        resident = resident.max(resident_kib(gateway.id()));
        used = used.max(used_memory(&redis));
    };
    for _ in 0..10 {
        books.some_more("while Logstash is away").await;
        look();
    }
    let queue = the_queue(&setup).await;
    let number = |name: &str| queue[name].as_u64().expect("a number");
    let spilled = queue["spill"]["waiting_events"].as_u64().expect("a number");
    assert!(number("waiting_events") >= EVENTS, "{queue}");
    assert!(
        spilled > EVENTS / 10 && EVENTS - spilled > EVENTS / 10,
        "both have some: {queue}"
    );
    assert_eq!(queue["unaccounted_events"], 0, "{queue}");
    assert_eq!(queue["endpoints"][0]["state"], "unreachable", "{queue}");
    let oldest = metric(&setup, "stashgate_spool_oldest_seconds");
    assert!((oldest - DAY as f64).abs() < 600.0, "{oldest}");

    // Logstash is back.
    let sink = Sink::serve(TcpListener::bind(logstash).expect("bound"));
    let until = Instant::now() + PATIENCE;
    let answered = books.answers();
    while !(0..EVENTS).all(|seq| sink.has(seq)) {
        assert!(Instant::now() < until, "{} came", sink.distinct());
        look();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let answered = books.answers() - answered;
    assert!(answered > 0, "clients were answered while it drained");
    // The archive gives way to what comes.
    let takes_again = || setup.log().contains("Redis takes batches again");
    eventually("Redis takes batches again", takes_again).await;
    clients.end().await;
    books.all_at(&sink).await;
    assert_eq!(sink.faults(), Vec::<String>::new());
    let of_the_queue = |name| metric(&setup, &format!("stashgate_spool_{name}_events"));
    let is_settled = || of_the_queue("waiting") + of_the_queue("leased") == 0.0;
    eventually("all is confirmed", is_settled).await;
    let queue = the_queue(&setup).await;
    assert_eq!(queue["unaccounted_events"], 0, "{queue}");
    assert_eq!(
        queue["ledger"]["accepted"], queue["ledger"]["confirmed"],
        "{queue}"
    );

    // Neither the gateway's memory grew with what waited, nor Redis' over its limit.
    eprintln!(
        "most resident {resident} KiB, most in Redis {used} bytes, {answered} batches answered \
         meanwhile, {} came twice",
        sink.twice()
    );
    assert!(resident < MAX_RESIDENT_KIB, "{resident} KiB");
    // What clients are being sent comes on top of what Redis counts against its limit.
    assert!(used < 2 * REDIS_BYTES, "{used} bytes");
    assert_eq!(gateway.terminate().await, Some(0));
    assert_eq!(strange_keys(&redis), Vec::<String>::new());
}
