//! Disks that fail, fill up, block and lose power.

mod journal_support;

use std::io::ErrorKind;
use std::sync::Arc;

use journal_support::disk::{Disk, Survives};
use journal_support::*;
use stashgate::spool::journal::{Journal, OpenError, Options, Sync};
use stashgate::spool::{AppendError, FullReason, LeaseError, Spool};
use tempfile::TempDir;

fn start() -> (TempDir, Arc<Disk>, Options, Spool) {
    let dir = folder();
    let disk = Disk::new();
    let options = options(dir.path());
    let spool = open_on(&disk, &options);
    (dir, disk, options, spool)
}

fn is_poisoned(result: Result<stashgate::spool::Appended, AppendError>) -> bool {
    matches!(result, Err(AppendError::Poisoned(_)))
}

#[tokio::test]
async fn a_failed_write_poisons_the_queue_but_what_was_synced_is_still_sent() {
    let (_dir, disk, options, spool) = start();
    append_numbers(&spool, 0..2).await;
    disk.set(|f| f.write = Some(ErrorKind::Other));
    assert!(is_poisoned(append(&spool, batch(2)).await));
    disk.set(|f| f.write = None);
    assert!(
        is_poisoned(append(&spool, batch(3)).await),
        "until a restart"
    );
    assert!(stats(&spool).poisoned.is_some());
    ack_numbers(&spool, 0..2).await;
    spool.close().await;
    drop(spool);
    let spool = open_on(&disk, &options);
    append_numbers(&spool, 4..5).await;
    assert_eq!(drain(&spool).await, [4]);
}

#[tokio::test]
async fn a_failed_sync_poisons_the_queue_and_its_round_is_never_leased() {
    let (_dir, disk, options, spool) = start();
    append_numbers(&spool, 0..1).await;
    disk.set(|f| f.sync = true);
    assert!(is_poisoned(append(&spool, batch(1)).await));
    disk.set(|f| f.sync = false);
    assert!(
        is_poisoned(append(&spool, batch(2)).await),
        "a sync is not tried again"
    );
    assert_eq!(drain(&spool).await, [0]);
    drop(spool);
    disk.cut_power(Survives::Nothing);
    let spool = open_on(&disk, &options);
    append_numbers(&spool, 3..4).await;
    assert!(drain(&spool).await.ends_with(&[3]));
}

#[tokio::test]
async fn a_folder_that_cannot_be_synced_poisons_the_queue() {
    let (_dir, disk, _options, spool) = start();
    disk.set(|f| f.sync_dir = true);
    assert!(is_poisoned(append(&spool, batch(0)).await));
    assert_eq!(stats(&spool).waiting_events, 0);
}

#[tokio::test]
async fn a_cursor_that_cannot_be_synced_poisons_the_queue() {
    let (_dir, disk, _options, spool) = start();
    append_numbers(&spool, 0..1).await;
    disk.set(|f| f.sync_cursor = true);
    checkpoint(&spool).await;
    assert!(is_poisoned(append(&spool, batch(1)).await));
    assert_eq!(drain(&spool).await, [0]);
}

#[tokio::test]
async fn short_writes_are_finished() {
    let (_dir, disk, options, spool) = start();
    disk.set(|f| f.short = 13);
    append_numbers(&spool, 0..6).await;
    drop(spool);
    assert_eq!(drain(&open_on(&disk, &options)).await, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let (dir, disk, options, spool) = start();
    append_numbers(&spool, 0..3).await;
    let stored = stats(&spool).stored_bytes;
    disk.set(|f| f.room = 50);
    let refused = append_at_once(&spool, batch(3)).await;
    assert_eq!(refused, Err(AppendError::Full(FullReason::Disk)));
    let file = segments(dir.path()).pop().expect("one");
    assert_eq!(file.metadata().expect("there").len(), stored, "undone");
    assert_eq!(stats(&spool).full, Some(FullReason::Disk));

    let waiting = tokio::spawn({
        let spool = spool.clone();
        async move { append(&spool, batch(4)).await }
    });
    disk.set(|f| f.room = u64::MAX);
    waiting.await.expect("ran").expect("appended");
    assert_eq!(stats(&spool).poisoned, None);
    drop(spool);
    assert_eq!(drain(&open_on(&disk, &options)).await, [0, 1, 2, 4]);
}

#[tokio::test]
async fn batches_given_away_before_the_disk_filled_up_are_stored_in_order_when_there_is_room() {
    let (_dir, disk, options, spool) = start();
    append_numbers(&spool, 0..2).await;
    let mut permits = Vec::new();
    for _ in 2..6 {
        permits.push(spool.permit(&queue(), 1, None).await.expect("room"));
    }
    disk.set(|f| f.room = 50);
    let appends = permits.into_iter().zip(2..);
    let appends = appends.map(|(permit, n)| Box::pin(permit.append(batch(n))));
    let mut appends: Vec<_> = appends.collect();
    for append in &mut appends {
        assert!(poll_once(append).await.is_none());
    }
    until("the disk is found full", || {
        stats(&spool).full == Some(FullReason::Disk)
    })
    .await;
    checkpoint(&spool).await;
    assert_eq!(stats(&spool).ledger.accepted, 1 + 2);
    disk.set(|f| f.room = u64::MAX);
    for append in appends {
        append.await.expect("appended");
    }
    drop(spool);
    assert_eq!(
        drain(&open_on(&disk, &options)).await,
        [0, 1, 2, 3, 4, 5],
        "also on the disk"
    );
}

#[tokio::test]
async fn a_batch_that_waits_on_a_full_disk_is_refused_when_its_patience_is_over() {
    let (_dir, disk, _options, spool) = start();
    let patience = std::time::Duration::from_millis(50);
    let brief = spool.permit(&queue(), 1, Some(patience)).await;
    let endless = spool.permit(&queue(), 1, None).await.expect("room");
    disk.set(|f| f.room = 50);
    let mut endless = Box::pin(endless.append(batch(0)));
    assert!(poll_once(&mut endless).await.is_none());
    let refused = brief.expect("room").append(batch(1)).await;
    assert_eq!(refused, Err(AppendError::Full(FullReason::Disk)));
    disk.set(|f| f.room = u64::MAX);
    endless.await.expect("appended");
    assert_eq!(drain(&spool).await, [0]);
}

#[tokio::test]
async fn a_stop_refuses_what_waits_on_a_full_disk() {
    let (_dir, disk, _options, spool) = start();
    let permit = spool.permit(&queue(), 1, None).await.expect("room");
    disk.set(|f| f.room = 0);
    let mut waiting = Box::pin(permit.append(batch(0)));
    assert!(poll_once(&mut waiting).await.is_none());
    spool.close().await;
    assert_eq!(
        waiting.await,
        Err(AppendError::Full(FullReason::Disk)),
        "not merely closing: nothing was stored"
    );
}

#[tokio::test]
async fn with_sync_os_a_failed_sync_of_a_full_segment_is_never_forgotten() {
    let (dir, disk, _options, spool) = start();
    spool.close().await;
    drop(spool);
    let mut options = options(dir.path());
    options.sync = Sync::Os;
    options.segment_bytes = 600;
    let spool = open_on(&disk, &options);
    append_numbers(&spool, 0..1).await;
    checkpoint(&spool).await;
    disk.set(|f| f.sync = true);
    let mut number = 1;
    while stats(&spool).poisoned.is_none() {
        let _ = append(&spool, batch(number)).await;
        number += 1;
    }
    disk.set(|f| f.sync = false);
    ack_numbers(&spool, 0..1).await;
    checkpoint(&spool).await;
    spool.close().await;
    drop(spool);
    disk.cut_power(Survives::Nothing);
    let spool = open_on(&disk, &options);
    let (got, after) = (drain(&spool).await, stats(&spool));
    assert_eq!(
        after.ledger.quarantined, 0,
        "the cursor showed what was lost"
    );
    assert_eq!(got, [0], "the cursor was not written again");
}

#[tokio::test]
async fn a_refused_batch_does_not_come_back_with_a_power_cut() {
    let (_dir, disk, options, spool) = start();
    append_numbers(&spool, 0..2).await;
    disk.set(|f| f.room = 50);
    disk.reset_counts();
    append_at_once(&spool, batch(2)).await.expect_err("full");
    assert_eq!(disk.counts().segment_syncs, 1, "of the cut");
    disk.set(|f| f.room = u64::MAX);
    append_numbers(&spool, 3..4).await;
    drop(spool);
    disk.cut_power(Survives::Nothing);
    assert_eq!(drain(&open_on(&disk, &options)).await, [0, 1, 3]);
}

#[tokio::test]
async fn a_disk_too_full_for_a_new_segment_or_the_cursor_is_no_failure() {
    let (_dir, disk, options, spool) = start();
    disk.set(|f| f.room = 0);
    let refused = append_at_once(&spool, batch(0)).await;
    assert_eq!(refused, Err(AppendError::Full(FullReason::Disk)));
    disk.set(|f| f.room = u64::MAX);
    checkpoint(&spool).await;
    append_numbers(&spool, 0..2).await;
    disk.set(|f| f.room = 0);
    ack_numbers(&spool, 0..1).await;
    checkpoint(&spool).await;
    disk.set(|f| f.room = u64::MAX);
    append_numbers(&spool, 2..3).await;
    spool.close().await;
    drop(spool);
    assert_eq!(drain(&open_on(&disk, &options)).await, [1, 2]);
}

#[tokio::test]
async fn appends_wait_while_the_disk_has_less_than_min_free_bytes() {
    let (dir, disk, _options, spool) = start();
    spool.close().await;
    drop(spool);
    let mut options = options(dir.path());
    options.min_free_bytes = 1000;
    let spool = open_on(&disk, &options);
    disk.set(|f| f.free = 999);
    checkpoint(&spool).await;
    let refused = spool
        .permit(&queue(), 1, Some(std::time::Duration::ZERO))
        .await;
    assert_eq!(refused.map(drop), Err(AppendError::Full(FullReason::Disk)));
    let waiting = tokio::spawn({
        let spool = spool.clone();
        async move { append(&spool, batch(0)).await }
    });
    disk.set(|f| f.free = 1000);
    waiting.await.expect("ran").expect("appended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_synced_batches_are_leased() {
    let (_dir, disk, _options, spool) = start();
    append_numbers(&spool, 0..1).await;
    disk.set(|f| f.block_sync = true);
    let appending = tokio::spawn({
        let spool = spool.clone();
        async move { append(&spool, batch(1)).await }
    });
    disk.wait_for_blocked_sync();
    assert_eq!(drain(&spool).await, [0]);
    assert_eq!(stats(&spool).waiting_events, 0);
    disk.set(|f| f.block_sync = false);
    appending.await.expect("ran").expect("appended");
    assert_eq!(drain(&spool).await, [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_that_arrive_together_share_a_write_and_a_sync() {
    let (_dir, disk, _options, spool) = start();
    append_numbers(&spool, 0..1).await;
    disk.set(|f| f.block_sync = true);
    let append_one = |number| {
        let spool = spool.clone();
        async move {
            let size = batch(number).payload.len();
            let permit = spool.permit(&queue(), size, None).await.expect("room");
            permit.append(batch(number)).await.expect("appended");
        }
    };
    let first = tokio::spawn(append_one(1));
    disk.wait_for_blocked_sync();
    disk.reset_counts();
    let mut others: Vec<_> = (2..52).map(append_one).map(Box::pin).collect();
    // Polled once, each has given its batch away.
    for other in &mut others {
        assert!(poll_once(other).await.is_none());
    }
    disk.set(|f| f.block_sync = false);
    first.await.expect("ran");
    for other in others {
        other.await;
    }
    let counts = disk.counts();
    assert_eq!(
        (counts.segment_syncs, counts.writes),
        (1, 1),
        "for 50 batches"
    );
    assert_eq!(drain(&spool).await.len(), 52);
}

#[tokio::test]
async fn a_caller_that_stops_waiting_does_not_undo_its_append() {
    let (_dir, disk, _options, spool) = start();
    disk.set(|f| f.block_sync = true);
    let permit = spool.permit(&queue(), 10, None).await.expect("room");
    let mut appending = Box::pin(permit.append(batch(0)));
    assert!(poll_once(&mut appending).await.is_none());
    drop(appending);
    disk.set(|f| f.block_sync = false);
    assert_eq!(lease_number(&spool).await.0, 0);
}

#[tokio::test]
async fn a_power_cut_takes_nothing_that_was_answered() {
    let (_dir, disk, options, spool) = start();
    append_numbers(&spool, 0..5).await;
    ack_numbers(&spool, 0..2).await;
    checkpoint(&spool).await;
    append_numbers(&spool, 5..8).await;
    ack_numbers(&spool, 2..3).await;
    drop(spool);
    disk.cut_power(Survives::Nothing);
    let spool = open_on(&disk, &options);
    assert_eq!(drain(&spool).await, [2, 3, 4, 5, 6, 7]);
}

#[tokio::test]
async fn with_sync_os_the_cursor_never_shows_what_is_not_synced() {
    let (dir, disk, _options, spool) = start();
    spool.close().await;
    drop(spool);
    let mut options = options(dir.path());
    options.sync = Sync::Os;
    let spool = open_on(&disk, &options);
    disk.reset_counts();
    append_numbers(&spool, 0..3).await;
    assert_eq!(disk.counts().segment_syncs, 0);
    ack_numbers(&spool, 0..1).await;
    checkpoint(&spool).await;
    assert!(disk.counts().segment_syncs > 0);
    append_numbers(&spool, 3..6).await;
    ack_numbers(&spool, 1..2).await;
    drop(spool);
    disk.cut_power(Survives::Nothing);
    let spool = open_on(&disk, &options);
    assert_eq!(stats(&spool).ledger.quarantined, 0);
    assert_eq!(drain(&spool).await, [1, 2]);
}

#[tokio::test]
async fn a_start_reads_from_the_last_known_good_end_only() {
    let (dir, disk, _options, spool) = start();
    spool.close().await;
    drop(spool);
    let mut options = options(dir.path());
    options.segment_bytes = 4096;
    let spool = open_on(&disk, &options);
    append_numbers(&spool, 0..500).await;
    spool.close().await;
    let stored = stats(&spool).stored_bytes;
    drop(spool);
    assert!(segments(dir.path()).len() > 20);
    disk.reset_counts();
    let spool = open_on(&disk, &options);
    let read = disk.counts().read_bytes;
    assert!(
        read <= 4096 && read < stored / 10,
        "{read} of {stored} bytes"
    );
    assert_eq!(drain(&spool).await.len(), 500);
}

#[tokio::test]
async fn a_read_error_at_the_start_is_not_taken_for_damage() {
    let (dir, disk, options, spool) = start();
    append_numbers(&spool, 0..3).await;
    drop(spool);
    let before = std::fs::read(&segments(dir.path())[0]).expect("read");
    disk.set(|f| f.read = true);
    let refused = Journal::open_with(options.clone(), disk.clone()).expect_err("refused");
    assert!(matches!(refused, OpenError::Io { .. }), "{refused}");
    assert!(refused.to_string().contains("cannot be read"), "{refused}");
    disk.set(|f| f.read = false);
    assert_eq!(
        std::fs::read(&segments(dir.path())[0]).expect("read"),
        before
    );
    assert!(quarantined(dir.path(), "torn").is_empty());
    assert_eq!(drain(&open_on(&disk, &options)).await, [0, 1, 2]);
}

#[tokio::test]
async fn a_read_error_fails_the_lease_and_loses_nothing() {
    let (_dir, disk, options, spool) = start();
    append_numbers(&spool, 0..3).await;
    let held = lease(&spool).await;
    spool.close().await;
    drop((spool, held));
    let spool = open_on(&disk, &options);
    disk.set(|f| f.read = true);
    for _ in 0..3 {
        let failed = spool.lease(&queue()).await;
        assert!(matches!(failed, Err(LeaseError::Unreadable(_))));
    }
    disk.set(|f| f.read = false);
    let (first, held) = lease_number(&spool).await;
    assert_eq!(first, 0);
    disk.set(|f| f.read = true);
    let failed = spool.lease(&queue()).await;
    assert!(matches!(failed, Err(LeaseError::Unreadable(_))));
    disk.set(|f| f.read = false);
    held.requeue(false).await.expect("settled");
    assert_eq!(drain(&spool).await, [0, 1, 2]);
}
