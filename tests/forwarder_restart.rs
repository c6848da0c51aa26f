//! The forwarder as the gateway uses it, in earnest: a Logstash that is upgraded
//! under load, with the pauses that were measured of the real one.

mod support {
    #[allow(dead_code)]
    pub(crate) mod logstash;
}

use std::time::Duration;

use bytes::Bytes;
use stashgate::batch::{Batch, BatchId, QueueName, UnixMillis};
use stashgate::config::Output;
use stashgate::dead_letter::DeadLetters;
use stashgate::forwarder::{Forwarder, Route};
use stashgate::spool::Spool;
use stashgate::spool::journal::{Journal, Options, Sync};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use support::logstash::{DEADLINE, Logstash};

const PAUSE: Duration = Duration::from_secs(2);
const BATCHES: u64 = 400;
const EVENTS: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_of_logstash_under_load_loses_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let queue = QueueName::default();
    let options = Options {
        dir: folder.path().join("journal"),
        sync: Sync::Batch,
        segment_bytes: 4 << 20,
        min_free_bytes: 0,
        max_bytes: 1 << 30,
        max_in_flight_bytes: 64 << 20,
        store: "spool",
        retention: Duration::ZERO,
        queues: vec![(queue.clone(), 1 << 30)],
    };
    let spool = Spool::Journal(Journal::open(options).expect("opens"));
    let letters = DeadLetters::open(folder.path(), 1 << 20, 0).expect("opens");
    let mut logstash = Logstash::start().await;
    let output = Output {
        hosts: vec![logstash.address().to_string()],
        ..Output::default()
    };
    let stop = CancellationToken::new();
    let forwarder = Forwarder::start(
        queue.clone(),
        Route::plain(output),
        spool.clone(),
        letters.clone(),
        stop.clone(),
    );

    let load = tokio::spawn(append_all(spool.clone(), queue));
    sleep(Duration::from_secs(1)).await;
    logstash.stop(PAUSE).await;
    logstash.start_again(PAUSE).await;
    load.await.expect("appended");

    let all = BATCHES * EVENTS;
    let confirmed = async {
        while spool.stats()[0].ledger.confirmed < all {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, confirmed).await.expect("confirmed");
    logstash.sink().assert_has(0..all);
    assert_eq!(logstash.sink().faults(), 0);
    assert_eq!(letters.waiting_events(), 0);
    stop.cancel();
    timeout(DEADLINE, forwarder.join()).await.expect("drains");
    assert_eq!(spool.stats()[0].unaccounted_events(), 0);
    spool.close().await;
}

/// Some 5 s of load.
async fn append_all(spool: Spool, queue: QueueName) {
    for batch in 0..BATCHES {
        let numbers = batch * EVENTS..(batch + 1) * EVENTS;
        let payload: String = numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect();
        let batch = Batch {
            id: BatchId::generate(),
            accepted_at: UnixMillis::now(),
            events: EVENTS as u32,
            payload: Bytes::from(payload),
            payload_hash: batch,
            rejected: Box::default(),
            own_metadata: false,
            foreign: false,
            timestamps: stashgate::batch::Timestamps::None,
            origin: stashgate::batch::Origin::Accepted,
        };
        let permit = spool.permit(&queue, batch.payload.len(), None).await;
        permit.expect("room").append(batch).await.expect("appended");
        sleep(Duration::from_millis(12)).await;
    }
}
