//! Plain JSON that others push into the lists, on a real Redis: what the old agent,
//! Filebeat and Logstash store, and lists copied by hand.

mod redis_spool_support;
mod redis_support;
mod support {
    #[allow(dead_code)]
    pub(crate) mod logstash;
}

use std::time::Duration;

use bytes::Bytes;
use deadpool_redis::redis::cmd;
use redis_spool_support::{open, options};
use redis_support::{PATIENCE, RedisServer};
use stashgate::batch::{Batch, BatchId, QueueName, UnixMillis};
use stashgate::config::Output;
use stashgate::dead_letter::DeadLetters;
use stashgate::event::RejectReason;
use stashgate::forwarder::{Forwarder, Route};
use stashgate::spool::redis::element::{Compression, encode};
use stashgate::spool::{Lease, QueueStats, Spool};
use support::logstash::Logstash;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// As the agent stores the body of a `/put`: an object, or a whole array.
const AGENT: [&str; 2] = [r#"{"n":0,"level":"info"}"#, "[{\"n\":1},\n  {\"n\":2}]"];
const FILEBEAT: &str = r#"{"@timestamp":"2026-11-21T20:53:00.123Z","@metadata":{"beat":"filebeat","type":"_doc","version":"8.19.0"},"message":"a line","n":3}"#;
const LOGSTASH: &str =
    r#"{"message":"a line","@version":"1","@timestamp":"2026-11-21T20:53:00.123Z","n":4}"#;
const PRETTY: &str = "{\n  \"n\": 5,\n  \"text\": \"two\\nlines\"\n}\n";

fn push(redis: &RedisServer, elements: &[&[u8]]) {
    let mut push = cmd("RPUSH");
    push.arg("logstash").arg(elements);
    push.query::<u64>(&mut redis.client()).expect("pushed");
}

async fn lease(spool: &Spool) -> Lease {
    let leased = timeout(PATIENCE, spool.lease(&QueueName::default())).await;
    leased.expect("in time").expect("leased")
}

fn stats(spool: &Spool) -> QueueStats {
    spool.stats().remove(0)
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect(what);
}

/// Keys of the default queue that hold events.
fn is_empty(redis: &RedisServer) -> bool {
    let keys: Vec<String> = redis.ask(&["KEYS", "{logstash}:lease:*"]);
    keys.is_empty() && redis.ask::<u64>(&["LLEN", "logstash"]) == 0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_agent_filebeat_and_logstash_push_is_leased_as_one_foreign_batch() {
    let redis = RedisServer::start();
    let elements = [AGENT[0], AGENT[1], FILEBEAT, LOGSTASH, PRETTY];
    push(&redis, &elements.map(str::as_bytes));
    let spool = open(options(&redis.url())).await;

    let leased = lease(&spool).await;
    let block = leased.payload().await.expect("read");
    let lines: Vec<_> = std::str::from_utf8(&block)
        .expect("UTF-8")
        .lines()
        .collect();
    assert_eq!(lines.len(), 6, "{lines:#?}");
    for (n, line) in lines.iter().enumerate() {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(event["n"], n);
    }
    assert!(leased.header().foreign && leased.header().own_metadata);
    assert!(leased.rejects().is_empty());
    assert_eq!(leased.header().events, 6);
    // Read a second time, it is the same.
    assert_eq!(leased.payload().await.expect("read again"), block);

    leased.ack(0).await.expect("settled");
    let stats = stats(&spool);
    assert_eq!((stats.ledger.foreign, stats.ledger.confirmed), (6, 6));
    assert_eq!(stats.unaccounted_events(), 0);
    until("told", || is_empty(&redis)).await;
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_and_plain_json_come_out_in_the_order_in_which_they_stand() {
    let redis = RedisServer::start();
    let record = encode(&batch(), Compression::Zstd);
    push(&redis, &[b"{\"n\":0}", &record, b"{\"n\":1}", b"{\"n\":2}"]);
    let spool = open(options(&redis.url())).await;
    let mut events = Vec::new();
    for _ in 0..3 {
        let leased = lease(&spool).await;
        events.push((leased.header().foreign, leased.header().events));
        leased.ack(0).await.expect("settled");
    }
    assert_eq!(events, [(true, 1), (false, 2), (true, 2)]);
    assert_eq!(stats(&spool).unaccounted_events(), 0);
    spool.close().await;
}

fn batch() -> Batch {
    Batch {
        id: BatchId::new(b"mine").expect("valid"),
        accepted_at: UnixMillis(1_767_614_400_000),
        events: 2,
        payload: Bytes::from_static(b"{\"n\":7}\n{\"n\":8}\n"),
        payload_hash: 9,
        rejected: [].into(),
        own_metadata: false,
        foreign: false,
        timestamps: stashgate::batch::Timestamps::None,
        origin: stashgate::batch::Origin::Accepted,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_copied_by_hand_is_forwarded_and_its_records_keep_their_ids() {
    let redis = RedisServer::start();
    let record = encode(&batch(), Compression::None);
    let mut push = cmd("RPUSH");
    push.arg("logstash-2026/1/5").arg(&record).arg(b"{\"n\":0}");
    push.query::<u64>(&mut redis.client()).expect("pushed");
    assert_eq!(
        redis.ask::<u64>(&["COPY", "logstash-2026/1/5", "logstash"]),
        1
    );
    let spool = open(options(&redis.url())).await;

    let copied = lease(&spool).await;
    assert_eq!(copied.header().id, batch().id);
    assert_eq!(copied.header().accepted_at, batch().accepted_at);
    assert!(!copied.header().foreign);
    copied.ack(0).await.expect("settled");
    lease(&spool).await.ack(0).await.expect("settled");
    let stats = stats(&spool);
    assert_eq!((stats.ledger.foreign, stats.ledger.confirmed), (3, 3));
    assert_eq!(stats.unaccounted_events(), 0);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_batch_is_settled_before_its_refused_events_are_kept() {
    let redis = RedisServer::start();
    push(&redis, &[b"{\"n\":0}", b"no event"]);
    let spool = open(options(&redis.url())).await;

    let leased = lease(&spool).await;
    assert_eq!(leased.rejects()[0].reason, RejectReason::InvalidJson);
    assert_eq!(leased.rejects()[0].event, &b"no event"[..]);
    leased.ack(0).await.expect_err("its letter is not kept");
    assert_eq!(stats(&spool).ledger.confirmed, 0);

    let mut again = lease(&spool).await;
    again.rejects_kept();
    // Given back and leased again, they are not handed out twice.
    again.requeue(true).await.expect("given back");
    let again = lease(&spool).await;
    assert!(again.rejects().is_empty());
    again.ack(0).await.expect("settled");
    let stats = stats(&spool);
    assert_eq!((stats.ledger.confirmed, stats.ledger.dead_letters), (1, 1));
    assert_eq!(stats.unaccounted_events(), 0);
    spool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_array_without_elements_is_done_with_at_once() {
    let redis = RedisServer::start();
    push(&redis, &[b"[ ]"]);
    let spool = open(options(&redis.url())).await;
    let leased = tokio::spawn({
        let spool = spool.clone();
        async move { lease(&spool).await }
    });
    until("settled", || is_empty(&redis)).await;
    assert!(!leased.is_finished(), "there is nothing to send");
    push(&redis, &[b"{\"n\":0}"]);
    let leased = leased.await.expect("ran");
    assert_eq!(leased.header().events, 1);
    leased.ack(0).await.expect("settled");
    until("told", || is_empty(&redis)).await;
    assert_eq!(stats(&spool).unaccounted_events(), 0);
    spool.close().await;
}

struct Forwarding {
    spool: Spool,
    letters: DeadLetters,
    forwarder: Forwarder,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

async fn forward(redis: &RedisServer, logstash: &Logstash, letters_bytes: u64) -> Forwarding {
    let folder = tempfile::tempdir().expect("folder");
    let letters = DeadLetters::open(folder.path(), letters_bytes, 0).expect("opens");
    let spool = open(options(&redis.url())).await;
    let output = Output {
        hosts: vec![logstash.address().to_string()],
        ..Output::default()
    };
    let stop = CancellationToken::new();
    let queue = QueueName::default();
    let forwarder = Forwarder::start(
        queue,
        Route::plain(output),
        spool.clone(),
        letters.clone(),
        stop.clone(),
    );
    Forwarding {
        spool,
        letters,
        forwarder,
        stop,
        _folder: folder,
    }
}

impl Forwarding {
    async fn end(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.forwarder.join())
            .await
            .expect("drains");
        self.spool.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_event_becomes_a_dead_letter_and_the_rest_is_forwarded() {
    let redis = RedisServer::start();
    let bad: [&[u8]; 4] = [b"{\"n\":", b"42", b"\xff{}", b"[{\"n\":1}"];
    push(&redis, &[b"{\"n\":0}", bad[0], b"[{\"n\":1},7]", bad[1]]);
    push(&redis, &[bad[2], b"{\"n\":2}", bad[3]]);
    let logstash = Logstash::start().await;
    let forwarding = forward(&redis, &logstash, 1 << 20).await;

    until("confirmed", || {
        stats(&forwarding.spool).ledger.confirmed == 3
    })
    .await;
    until("settled", || is_empty(&redis)).await;
    let stats = stats(&forwarding.spool);
    assert_eq!((stats.ledger.foreign, stats.ledger.dead_letters), (8, 5));
    assert_eq!(stats.unaccounted_events(), 0);
    assert_eq!(forwarding.letters.waiting_events(), 5);
    logstash.sink().assert_has(0..3);
    assert_eq!(logstash.sink().faults(), 0);
    forwarding.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_refused_events_only_is_settled_without_being_sent() {
    let redis = RedisServer::start();
    push(&redis, &[b"nothing", b"of this", b"is JSON"]);
    let logstash = Logstash::start().await;
    let forwarding = forward(&redis, &logstash, 1 << 20).await;
    until("kept", || stats(&forwarding.spool).ledger.dead_letters == 3).await;
    until("settled", || is_empty(&redis)).await;
    assert_eq!(forwarding.letters.waiting_events(), 3);
    forwarding.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_for_the_dead_letter_the_element_stays_in_redis() {
    let redis = RedisServer::start();
    let logstash = Logstash::start().await;
    // The first letter fits into any budget.
    let forwarding = forward(&redis, &logstash, 100).await;
    push(&redis, &[b"no event"]);
    until("kept", || forwarding.letters.waiting_events() == 1).await;
    until("settled", || is_empty(&redis)).await;

    push(&redis, &[b"no event either", b"{\"n\":0}"]);
    let leases = || redis.ask::<Vec<String>>(&["KEYS", "{logstash}:lease:*"]);
    until("leased", || !leases().is_empty()).await;
    sleep(Duration::from_millis(500)).await;
    let now = stats(&forwarding.spool);
    assert_eq!((now.ledger.dead_letters, now.ledger.confirmed), (1, 0));
    assert_eq!(now.unaccounted_events(), 0);
    forwarding.end().await;
    assert_eq!(redis.ask::<u64>(&["LLEN", "logstash"]), 2);
}
