//! What a journal holds after a stop, a crash, and a crash at a bad moment.

mod journal_support;

use std::fs;

use journal_support::*;
use stashgate::batch::{Batch, Origin};
use stashgate::ledger::Ledger;
use stashgate::spool::Spool;
use stashgate::spool::journal::{Journal, OpenError};

#[tokio::test]
async fn a_lease_that_nobody_waited_for_counts_as_never_handed_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = options(dir.path());
    let spool = open(&options);
    append_numbers(&spool, 0..2).await;
    let (_, held) = lease_number(&spool).await;
    spool.close().await;
    drop((spool, held));
    // Its header has to be read from the disk, which may be done before the
    // first look is over: then it was handed out, and that says nothing.
    for _ in 0..50 {
        let spool = open(&options);
        let queue = queue();
        let mut begun = Box::pin(spool.lease(&queue));
        let handed_out = poll_once(&mut begun).await.is_some();
        drop(begun);
        let (number, lease) = lease_number(&spool).await;
        assert_eq!(number, 0);
        if !handed_out {
            assert_eq!(lease.attempts(), 0);
            return;
        }
    }
    panic!("every lease was handed out at once");
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
async fn the_books_know_after_a_crash_how_each_batch_came() {
    let dir = tempfile::tempdir().expect("a folder");
    let options = options(dir.path());
    let spool = open(&options);
    let mut number = 0..;
    let mut append_each = async |spool: &Spool| {
        for origin in [Origin::Accepted, Origin::Returned, Origin::Replayed] {
            let number = number.next().expect("endless");
            let batch = Batch {
                origin,
                ..batch(number)
            };
            append(spool, batch).await.expect("appended");
        }
    };
    append_each(&spool).await;
    ack_numbers(&spool, 0..2).await;
    checkpoint(&spool).await;
    // These the cursor does not know.
    append_each(&spool).await;
    let before = stats(&spool).ledger;
    let came = |ledger: &Ledger| (ledger.accepted, ledger.returned, ledger.replayed);
    assert_eq!(came(&before), (1 + 4, 2 + 5, 3 + 6));
    let crashed = tempfile::tempdir().expect("a folder");
    copy_dir(dir.path(), crashed.path());
    drop(spool);

    let mut options = options.clone();
    options.dir = crashed.path().join("journal");
    let spool = open(&options);
    assert_eq!(stats(&spool).ledger, before);
    drop(spool);
    // Nor without any cursor.
    fs::remove_file(options.dir.join("logstash/cursor")).expect("removed");
    let spool = open(&options);
    assert_eq!(came(&stats(&spool).ledger), came(&before));
    ack_numbers(&spool, 0..6).await;
    assert_eq!(stats(&spool).oldest_unsettled, None);
}
