//! Gateways under load while their Redis dies, freezes, may not write or has no memory
//! left: ingest goes on, nothing answered is missing, nobody's batches are taken back
//! while he lives, and the books come out even.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/load.rs"]
mod load;
mod redis_site;
mod redis_support;
#[path = "support/sink.rs"]
mod sink;

use std::net::TcpListener;
use std::time::Duration;

use load::Style;
use redis_site::{STEADY, Site, in_redis};
use redis_support::{RedisServer, ServerKind};
use sink::Sink;
use tokio::time::sleep;

/// Longer than a heartbeat, and than every patience of a gateway with its Redis.
const FROZEN: Duration = Duration::from_secs(20);

fn words(server: &RedisServer, words: &[&str]) {
    let _: String = server.ask(words);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_missing_after_redis_was_killed_under_load() {
    let mut redis = RedisServer::start();
    let settings = in_redis(&redis, "heartbeat = \"5s\"");
    let mut site = Site::new(2, Sink::start(), &settings, STEADY);
    site.start().await;
    for _ in 0..4 {
        site.some_time("before Redis is killed").await;
        redis.kill();
        site.some_time("without a Redis").await;
        redis.restart();
    }
    site.some_more("after Redis came back").await;
    for member in &site.members {
        assert!(member.spilled().await > 0, "nothing went to the journal");
        assert_eq!(member.reclaimed().await, 0, "a living gateway was robbed");
    }
    site.doubles_are_counted().await;
    site.comes_out_even(&[&redis]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_goes_on_while_redis_may_not_write() {
    let redis = RedisServer::start();
    let settings = in_redis(&redis, "heartbeat = \"5s\"");
    let mut site = Site::new(2, Sink::start(), &settings, STEADY);
    site.start().await;
    // A replica of nobody, and a master that wants replicas.
    let nobody = gateway::free().port().to_string();
    let forbid = [
        ["REPLICAOF", "127.0.0.1", &nobody].to_vec(),
        ["CONFIG", "SET", "min-replicas-to-write", "1"].to_vec(),
    ];
    let allow = [
        ["REPLICAOF", "NO", "ONE"].to_vec(),
        ["CONFIG", "SET", "min-replicas-to-write", "0"].to_vec(),
    ];
    for (forbid, allow) in forbid.iter().zip(&allow) {
        let before = site.members[0].spilled().await;
        let said = site.members[0].setup.log().len();
        words(&redis, forbid);
        for _ in 0..4 {
            site.some_time("while Redis may not write").await;
        }
        assert!(site.members[0].spilled().await > before, "{forbid:?}");
        let log = site.members[0].setup.log().split_off(said);
        let recovered = "works again list=\"logstash\" doing=\"appending\"";
        assert!(!log.contains(recovered), "{log}");
        words(&redis, allow);
        site.some_time("when Redis may write again").await;
    }
    for member in &site.members {
        assert_eq!(member.reclaimed().await, 0, "a living gateway was robbed");
    }
    site.comes_out_even(&[&redis]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_holds_up_no_ingest_and_robs_nobody() {
    let mut redis = RedisServer::start();
    let settings = in_redis(&redis, "heartbeat = \"2s\"");
    let mut site = Site::new(2, Sink::start(), &settings, STEADY);
    site.start().await;
    site.some_time("before Redis is frozen").await;
    redis.stop();
    for _ in 0..4 {
        sleep(FROZEN / 4).await;
        site.some_more("while Redis is frozen").await;
    }
    redis.cont();
    // Long enough for somebody to be robbed.
    sleep(Duration::from_secs(6)).await;
    site.some_more("after Redis was frozen").await;
    for member in &site.members {
        assert!(member.spilled().await > 0, "nothing went to the journal");
        assert_eq!(member.reclaimed().await, 0, "a living gateway was robbed");
    }
    site.doubles_are_counted().await;
    site.comes_out_even(&[&redis]).await;
}

/// Large events, so that it does not take long.
const LARGE: Style = Style {
    text: 2_000,
    pause: Duration::from_millis(5),
};

fn small_redis() -> RedisServer {
    RedisServer::start_as(ServerKind {
        maxmemory: 16 << 20,
        ..ServerKind::default()
    })
}

/// A Logstash that takes connections and reads nothing, until it is served.
fn blocked() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port for the sink")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_memory_costs_no_event_and_drains_to_empty() {
    let redis = small_redis();
    let mut settings = in_redis(&redis, "heartbeat = \"5s\"\ncompression = \"none\"");
    settings += "[archive]\nplace = \"off\"\n";
    let listener = blocked();
    let sink = Sink::at(&listener);
    let mut site = Site::new(2, sink.clone(), &settings, LARGE);
    site.start().await;
    while site.members[0].spilled().await == 0 || site.members[1].spilled().await == 0 {
        site.some_more("while Redis fills up").await;
    }
    site.some_time("while Redis is full").await;
    site.end_load().await;
    sink.serve_at(listener);
    site.comes_out_even(&[&redis]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_journal_beside_it_clients_wait_for_a_redis_without_memory() {
    let redis = small_redis();
    let more = "heartbeat = \"5s\"\ncompression = \"none\"\nspill = false";
    let settings = in_redis(&redis, more) + "[archive]\nplace = \"off\"\n";
    let listener = blocked();
    let sink = Sink::at(&listener);
    let mut site = Site::new(2, sink.clone(), &settings, LARGE);
    site.start().await;
    let until = std::time::Instant::now() + gateway::PATIENCE;
    while site.members[0].queue().await["full"].is_null() {
        assert!(std::time::Instant::now() < until, "it is never full");
        sleep(Duration::from_millis(50)).await;
    }
    sleep(Duration::from_secs(3)).await;
    let evicted = redis.info("stats");
    assert!(evicted.contains("evicted_keys:0\r"), "{evicted}");
    sink.serve_at(listener);
    site.some_more("once there is memory again").await;
    site.comes_out_even(&[&redis]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logstash_that_is_blocked_longer_than_a_heartbeat_costs_no_reclaim() {
    let redis = RedisServer::start();
    let settings = in_redis(&redis, "heartbeat = \"3s\"");
    let sink = Sink::start();
    let mut site = Site::new(2, sink.clone(), &settings, STEADY);
    site.start().await;
    while sink.distinct() == 0 {
        site.some_more("while Logstash reads").await;
    }
    sink.block(true);
    // Three heartbeats.
    sleep(Duration::from_secs(9)).await;
    site.some_more("while Logstash is blocked").await;
    for member in &site.members {
        let queue = member.queue().await;
        assert_ne!(queue["leased_batches"], 0, "nothing was in hand: {queue}");
        assert_eq!(member.reclaimed().await, 0, "a living gateway was robbed");
    }
    sink.block(false);
    site.some_more("while Logstash reads again").await;
    site.comes_out_even(&[&redis]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgot_what_it_had_is_reported() {
    let redis = RedisServer::start();
    let listener = blocked();
    let settings = in_redis(&redis, "heartbeat = \"5s\"");
    let mut site = Site::new(1, Sink::at(&listener), &settings, STEADY);
    site.start().await;
    site.end_load().await;
    let setup = &site.members[0].setup;
    assert!(!setup.log().contains("Redis has forgotten appends"));
    words(&redis, &["FLUSHALL"]);
    gateway::eventually("that is said", || {
        setup.log().contains("Redis has forgotten appends")
    })
    .await;
    let counted = "stashgate_redis_set_backs_total{queue=\"logstash\"} 1";
    assert!(site.members[0].metrics().await.contains(counted));
}

/// What becomes of a Redis, and how it is mended.
type Outage = (&'static str, fn(&mut RedisServer), fn(&mut RedisServer));

const OUTAGES: [Outage; 3] = [
    ("dead", RedisServer::kill, RedisServer::restart),
    ("frozen", RedisServer::stop, RedisServer::cont),
    (
        "not allowed to write",
        |redis| words(redis, &["CONFIG", "SET", "min-replicas-to-write", "1"]),
        |redis| words(redis, &["CONFIG", "SET", "min-replicas-to-write", "0"]),
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_stopped_while_redis_is_away_ends_and_loses_nothing() {
    let mut redis = RedisServer::start();
    let settings = in_redis(&redis, "heartbeat = \"2s\"");
    let mut site = Site::new(1, Sink::start(), &settings, STEADY);
    site.start().await;
    for (what, begin, end) in OUTAGES {
        site.some_time("before the outage").await;
        begin(&mut redis);
        site.some_time(what).await;
        let member = &mut site.members[0];
        member.terminate().await;
        // It starts without a Redis, too.
        member.start().await;
        member.books.some_more(what).await;
        member.terminate().await;
        end(&mut redis);
        member.start().await;
    }
    site.comes_out_even(&[&redis]).await;
}
