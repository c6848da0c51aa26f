//! What a journal holds after a stop, a crash, and a crash at a bad moment.

mod journal_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal_support::*;
use stashgate::spool::journal::{Journal, OpenError};

fn segments(dir: &Path) -> Vec<PathBuf> {
    let dir = dir.join("journal/logstash");
    let paths = fs::read_dir(dir)
        .expect("listed")
        .map(|e| e.expect("listed").path());
    let mut paths: Vec<_> = paths
        .filter(|p| p.extension().is_some_and(|e| e == "seg"))
        .collect();
    paths.sort();
    paths
}

#[tokio::test]
async fn what_is_not_settled_comes_again_after_a_stop() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = options(dir.path());
    let spool = open(&options);
    append_numbers(&spool, 0..10).await;
    ack_numbers(&spool, 0..3).await;
    let (_, held) = lease_number(&spool).await;
    ack_numbers(&spool, 4..6).await;
    let before = stats(&spool).ledger;
    spool.close().await;
    drop(held);

    let spool = open(&options);
    assert_eq!(stats(&spool).ledger, before);
    ack_numbers(&spool, [3, 6, 7, 8, 9]).await;
    append_numbers(&spool, 10..12).await;
    ack_numbers(&spool, 10..12).await;
    assert_eq!(stats(&spool).oldest_unsettled, None);
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = options(dir.path());
    for round in 0..4 {
        let spool = open(&options);
        append_numbers(&spool, round * 10..round * 10 + 10).await;
        drop(spool);
    }
    let spool = open(&options);
    ack_numbers(&spool, 0..40).await;
}

#[tokio::test]
async fn batches_lie_in_segments_of_the_length_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = options(dir.path());
    options.segment_bytes = 1000;
    let spool = open(&options);
    append_numbers(&spool, 0..40).await;
    spool.close().await;
    let lengths = segments(dir.path())
        .into_iter()
        .map(|p| fs::metadata(p).expect("there").len());
    let lengths: Vec<u64> = lengths.collect();
    assert!(lengths.len() > 5, "{lengths:?}");
    assert!(
        lengths.iter().all(|&len| len > 0 && len <= 1000),
        "{lengths:?}"
    );
    let spool = open(&options);
    ack_numbers(&spool, 0..40).await;
}

#[tokio::test]
async fn a_second_journal_on_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = options(dir.path());
    let spool = open(&options);
    let second = Journal::open(options.clone()).expect_err("locked");
    assert!(matches!(second, OpenError::Locked { .. }), "{second}");
    assert!(second.to_string().contains("in use by another process"));
    spool.close().await;
    open(&options).close().await;
}

#[tokio::test]
async fn a_log_torn_at_any_byte_keeps_what_was_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = Arc::new(options(dir.path()));
    let spool = open(&options);
    append_numbers(&spool, 0..3).await;
    spool.close().await;
    let spool = open(&options);
    append_numbers(&spool, 3..5).await;
    drop(spool);
    let segment = segments(dir.path()).pop().expect("one");
    let whole = fs::read(&segment).expect("read");
    let end = whole.iter().rposition(|&b| b != 0).expect("written") + 1;
    for cut in 0..end {
        let copy = tempfile::tempdir().expect("a folder");
        copy_dir(dir.path(), copy.path());
        let segment = segments(copy.path()).pop().expect("one");
        fs::write(&segment, &whole[..cut]).expect("cut");
        let options = journal_support::options(copy.path());
        let spool = open(&options);
        let left = stats(&spool);
        assert_eq!(left.ledger.quarantined, 0, "cut at {cut}");
        let mut numbers = Vec::new();
        while stats(&spool).waiting_events > 0 {
            let (number, lease) = lease_number(&spool).await;
            numbers.push(number);
            lease.ack(0).await.expect("settled");
        }
        assert!(numbers.len() >= 3, "cut at {cut}");
        assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
        append_numbers(&spool, 50..51).await;
        ack_numbers(&spool, 50..51).await;
        spool.close().await;
        assert_eq!(stats(&open(&options)).waiting_events, 0);
    }
}
