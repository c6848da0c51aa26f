//! Disks without a free block, and processes without a free descriptor: nothing
//! is lost, and all goes on by itself.

mod journal_support;

use std::fs;
use std::sync::Arc;

use journal_support::disk::Disk;
use journal_support::*;
use stashgate::spool::journal::Options;
use stashgate::spool::{AppendError, FullReason, Spool};
use tempfile::TempDir;

/// With a few batches a segment.
fn start() -> (TempDir, Arc<Disk>, Options, Spool) {
    let dir = folder();
    let disk = Disk::new();
    let mut options = options(dir.path());
    options.segment_bytes = 600;
    let spool = open_on(&disk, &options);
    (dir, disk, options, spool)
}

async fn recovered(spool: &Spool) {
    let permit = spool.permit(&queue(), 1, Some(PATIENCE)).await;
    let appended = permit.expect("room").append(batch(99)).await;
    appended.expect("appended");
    assert_eq!(stats(spool).poisoned, None);
}

#[tokio::test]
async fn a_disk_without_a_free_block_takes_batches_again_when_its_own_are_settled() {
    let (_dir, disk, options, spool) = start();
    append_numbers(&spool, 0..20).await;
    disk.set(|f| f.room = 0);
    let refused = append_at_once(&spool, batch(20)).await;
    assert_eq!(refused, Err(AppendError::Full(FullReason::Disk)));
    ack_numbers(&spool, 0..20).await;
    recovered(&spool).await;
    checkpoint(&spool).await;
    drop(spool);
    assert_eq!(drain(&open_on(&disk, &options)).await, [99]);
}

#[tokio::test]
async fn a_journal_on_a_disk_without_a_free_block_opens_and_is_drained() {
    let (_dir, disk, options, spool) = start();
    append_numbers(&spool, 0..20).await;
    drop(spool);
    disk.set(|f| f.room = 0);
    let spool = open_on(&disk, &options);
    ack_numbers(&spool, 0..20).await;
    recovered(&spool).await;
}

#[tokio::test]
async fn a_journal_without_a_reserve_opens_on_a_full_disk_and_takes_nothing_until_there_is_room() {
    let (dir, disk, options, spool) = start();
    append_numbers(&spool, 0..20).await;
    drop(spool);
    fs::remove_file(reserve(dir.path())).expect("was there");
    disk.set(|f| f.room = 0);
    let spool = open_on(&disk, &options);
    assert_eq!(stats(&spool).full, Some(FullReason::Disk));
    ack_numbers(&spool, 0..1).await;
    disk.set(|f| f.room = 50_000);
    checkpoint(&spool).await;
    let refused = append_at_once(&spool, batch(20)).await;
    assert_eq!(refused, Err(AppendError::Full(FullReason::Disk)));
    assert!(
        !reserve(dir.path()).exists(),
        "made as a whole or not at all"
    );
    disk.set(|f| f.room = u64::MAX);
    recovered(&spool).await;
    drop(spool);
    let expected: Vec<u64> = (1..20).chain([99]).collect();
    assert_eq!(drain(&open_on(&disk, &options)).await, expected);
}

#[tokio::test]
async fn without_free_descriptors_appends_wait_and_the_archive_stays() {
    // Either the segment or, once it is made, its folder cannot be opened.
    for opens in [0, 1] {
        let (dir, disk, _options, spool) = start();
        append_numbers(&spool, 0..20).await;
        ack_numbers(&spool, 0..20).await;
        checkpoint(&spool).await;
        let archive = segments(dir.path());
        let mut number = 20;
        disk.set(|f| f.opens = opens);
        let mut waiting = loop {
            let permit = spool.permit(&queue(), 1, None).await.expect("room");
            let mut append = Box::pin(permit.append(batch(number)));
            number += 1;
            tokio::select! {
                appended = &mut append => drop(appended.expect("appended")),
                () = until("it waits", || stats(&spool).full.is_some()) => break append,
            }
        };
        checkpoint(&spool).await;
        checkpoint(&spool).await;
        let now = stats(&spool);
        assert_eq!(
            (now.poisoned, now.full),
            (None, Some(FullReason::Resources))
        );
        assert!(segments(dir.path()).starts_with(&archive));
        disk.set(|f| f.opens = u64::MAX);
        (&mut waiting).await.expect("appended");
        recovered(&spool).await;
        let expected: Vec<u64> = (20..number).chain([99]).collect();
        assert_eq!(drain(&spool).await, expected);
    }
}

#[tokio::test]
async fn a_cursor_that_could_not_be_written_for_want_of_descriptors_is_written_later() {
    // None, then too few for its folder.
    for opens in [0, 1] {
        let (_dir, disk, options, spool) = start();
        append_numbers(&spool, 0..3).await;
        ack_numbers(&spool, 0..2).await;
        disk.set(|f| f.opens = opens);
        checkpoint(&spool).await;
        assert_eq!(stats(&spool).poisoned, None);
        disk.set(|f| f.opens = u64::MAX);
        checkpoint(&spool).await;
        drop(spool);
        assert_eq!(drain(&open_on(&disk, &options)).await, [2]);
    }
}

fn reserve(dir: &std::path::Path) -> std::path::PathBuf {
    dir.join("journal")
        .join(queue().as_str())
        .join("cursor.reserve")
}
