//! Room: what waits is bounded for each queue and in all, and so is what is in
//! flight; who has to wait goes on when there is room again.

mod journal_support;

use std::time::Duration;

use journal_support::disk::Disk;
use journal_support::*;
use stashgate::batch::QueueName;
use stashgate::spool::journal::Options;
use stashgate::spool::{AppendError, FullReason, Permit, Spool};
use tempfile::TempDir;

fn start(change: impl FnOnce(&mut Options)) -> (TempDir, Spool) {
    let dir = folder();
    let mut options = options(dir.path());
    options.queues.push((other(), 1 << 40));
    change(&mut options);
    let spool = open_on(&Disk::new(), &options);
    (dir, spool)
}

fn other() -> QueueName {
    "other".parse().expect("valid")
}

fn has_room(got: Result<Permit, AppendError>) -> bool {
    got.is_ok()
}

async fn at_once(spool: &Spool, queue: &QueueName, bytes: usize) -> Result<Permit, AppendError> {
    spool.permit(queue, bytes, Some(Duration::ZERO)).await
}

fn reason(refused: Result<Permit, AppendError>) -> Option<FullReason> {
    match refused {
        Err(AppendError::Full(reason)) => Some(reason),
        _ => None,
    }
}

/// Unsettled bytes of the first batches.
async fn size_of(numbers: std::ops::Range<u64>) -> u64 {
    let (_dir, spool) = start(|_| ());
    append_numbers(&spool, numbers).await;
    spool.stats()[0].waiting_bytes
}

#[tokio::test]
async fn a_full_queue_waits_for_an_ack_and_leaves_others_alone() {
    let three = size_of(0..3).await;
    let (_dir, spool) = start(|o| o.queues[0].1 = three);
    append_numbers(&spool, 0..3).await;
    assert_eq!(
        reason(at_once(&spool, &queue(), 1).await),
        Some(FullReason::QueueBytes)
    );
    assert_eq!(spool.stats()[0].full, Some(FullReason::QueueBytes));
    assert!(has_room(at_once(&spool, &other(), 1).await));

    let (_, held) = lease_number(&spool).await;
    assert!(
        at_once(&spool, &queue(), 1).await.is_err(),
        "leased is not settled"
    );
    let mut waiting = Box::pin(append(&spool, batch(3)));
    assert!(poll_once(&mut waiting).await.is_none());
    held.ack(0).await.expect("settled");
    waiting.await.expect("appended");
}

#[tokio::test]
async fn a_queue_is_full_while_somebody_waits_for_its_room_or_was_just_refused() {
    let (_dir, spool) = start(|o| o.queues[0].1 = 1000);
    append_numbers(&spool, 0..1).await;
    assert_eq!(spool.stats()[0].full, None);
    {
        let queue = queue();
        let mut waiting = Box::pin(spool.permit(&queue, 990, None));
        assert!(poll_once(&mut waiting).await.is_none());
        assert_eq!(spool.stats()[0].full, Some(FullReason::QueueBytes));
        assert_eq!(spool.stats()[1].full, None);
    }
    assert_eq!(spool.stats()[0].full, None, "nobody waits any longer");
    at_once(&spool, &queue(), 990).await.expect_err("full");
    assert_eq!(spool.stats()[0].full, Some(FullReason::QueueBytes));
}

#[tokio::test]
async fn all_queues_together_are_bounded_too() {
    let three = size_of(0..3).await;
    let (_dir, spool) = start(|o| o.max_bytes = three);
    append_numbers(&spool, 0..3).await;
    assert_eq!(
        reason(at_once(&spool, &other(), 1).await),
        Some(FullReason::SpoolBytes)
    );
    ack_numbers(&spool, 0..1).await;
    assert!(has_room(at_once(&spool, &other(), 1).await));
}

#[tokio::test]
async fn room_that_was_got_counts_until_it_is_used_or_given_back() {
    let (_dir, spool) = start(|o| o.queues[0].1 = 1000);
    let first = at_once(&spool, &queue(), 600).await.expect("room");
    assert_eq!(
        reason(at_once(&spool, &queue(), 600).await),
        Some(FullReason::QueueBytes)
    );
    drop(first);
    assert!(has_room(at_once(&spool, &queue(), 600).await));
}

#[tokio::test]
async fn a_batch_larger_than_the_limit_goes_into_an_empty_queue() {
    let (_dir, spool) = start(|o| {
        o.queues[0].1 = 10;
        o.max_in_flight_bytes = 10;
    });
    append_numbers(&spool, 0..1).await;
    assert!(at_once(&spool, &queue(), 1).await.is_err());
    ack_numbers(&spool, 0..1).await;
    append_numbers(&spool, 1..2).await;
}

#[tokio::test]
async fn what_is_in_flight_is_bounded_and_a_full_queue_holds_none_of_it() {
    let (_dir, spool) = start(|o| {
        o.max_in_flight_bytes = 4096;
        o.queues[1].1 = 1;
    });
    let filled = at_once(&spool, &other(), 1)
        .await
        .expect("room")
        .append(batch(0))
        .await;
    filled.expect("appended");
    let blocked = tokio::spawn({
        let spool = spool.clone();
        async move { spool.permit(&other(), 4096, None).await.map(drop) }
    });
    tokio::task::yield_now().await;

    let first = at_once(&spool, &queue(), 3000)
        .await
        .expect("the memory is free");
    assert_eq!(
        reason(at_once(&spool, &queue(), 3000).await),
        Some(FullReason::InFlight)
    );
    drop(first);
    assert!(has_room(at_once(&spool, &queue(), 3000).await));
    blocked.abort();
}

#[tokio::test]
async fn who_waits_for_room_is_told_of_the_end() {
    let (_dir, spool) = start(|o| o.queues[0].1 = 1);
    append_numbers(&spool, 0..1).await;
    let waiting = [0; 3].map(|_| {
        let spool = spool.clone();
        tokio::spawn(async move { spool.permit(&queue(), 1, None).await.map(drop) })
    });
    tokio::task::yield_now().await;
    spool.close().await;
    for waiting in waiting {
        assert_eq!(waiting.await.expect("ran"), Err(AppendError::Closing));
    }
}
