//! What the benches of the spool share: batches like those of a busy gateway.
#![allow(dead_code, reason = "each bench uses its own part")]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use stashgate::batch::{Batch, BatchId, QueueName, UnixMillis};
use stashgate::spool::Spool;
use stashgate::spool::journal::{Journal, Options, Sync};

/// Events of a batch.
pub(crate) const EVENTS: u64 = 500;

/// 150 KB of events of 300 bytes each, as different from each other as log
/// events are: a store that compresses has what to do.
pub(crate) fn payload() -> Bytes {
    let mut random = fastrand::Rng::with_seed(7);
    let event = |_| {
        let text: String = (0..150).map(|_| random.alphanumeric()).collect();
        let (user, micros) = (random.u32(..1_000_000), random.u32(..100_000));
        let second = random.u32(..60);
        format!(
            "{{\"@timestamp\":\"2026-11-21T20:53:{second:02}.120Z\",\"level\":\"INFO\",\
             \"service\":\"checkout\",\"user\":{user:06},\"micros\":{micros:05},\
             \"message\":\"order placed\",\"trace\":\"{text}\"}}\n"
        )
    };
    Bytes::from((0..EVENTS).map(event).collect::<String>())
}

/// A batch that was accepted long ago, so that retention takes it when settled.
pub(crate) fn batch(payload: &Bytes) -> Batch {
    Batch {
        id: BatchId::generate(),
        accepted_at: UnixMillis(1),
        events: EVENTS as u32,
        payload: payload.clone(),
        payload_hash: 0,
        rejected: Box::default(),
        own_metadata: false,
        foreign: false,
        timestamps: stashgate::batch::Timestamps::None,
        origin: stashgate::batch::Origin::Accepted,
    }
}

/// A journal that keeps nothing once it is settled.
pub(crate) fn journal(dir: &Path, sync: Sync) -> Spool {
    let options = Options {
        dir: dir.join("journal"),
        sync,
        segment_bytes: 128 << 20,
        min_free_bytes: 0,
        max_bytes: 1 << 40,
        max_in_flight_bytes: 64 << 20,
        store: "spool",
        retention: Duration::ZERO,
        queues: vec![(QueueName::default(), 1 << 40)],
    };
    Spool::Journal(Journal::open(options).expect("opens"))
}

/// Appends `batches`, `callers` at a time, each answered when durable.
pub(crate) async fn append(spool: &Spool, payload: &Bytes, batches: usize, callers: usize) {
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (spool, payload) = (spool.clone(), payload.clone());
            let share = (batches + caller) / callers;
            tokio::spawn(async move {
                let queue = QueueName::default();
                for _ in 0..share {
                    let permit = spool.permit(&queue, payload.len(), None).await;
                    let appended = permit.expect("room").append(batch(&payload)).await;
                    appended.expect("appended");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("appended");
    }
}

/// Leases, reads and acknowledges `batches`.
pub(crate) async fn drain(spool: &Spool, batches: usize) {
    let queue = QueueName::default();
    for _ in 0..batches {
        let lease = spool.lease(&queue).await.expect("leased");
        std::hint::black_box(lease.payload().await.expect("readable"));
        lease.ack(0).await.expect("settled");
    }
}
