//! How long settled batches are kept, and reading them again.

mod journal_support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use journal_support::disk::{Disk, Survives};
use journal_support::*;
use stashgate::batch::{Origin, UnixMillis};
use stashgate::spool::Spool;
use stashgate::spool::journal::Options;
use tempfile::TempDir;

fn start(change: impl FnOnce(&mut Options)) -> (TempDir, Arc<Disk>, Options, Spool) {
    let dir = folder();
    let disk = Disk::new();
    let mut options = options(dir.path());
    options.segment_bytes = 700;
    change(&mut options);
    let spool = open_on(&disk, &options);
    (dir, disk, options, spool)
}

/// Appends batches that were accepted `age` ago.
async fn append_old(spool: &Spool, numbers: std::ops::Range<u64>, age: Duration) {
    for number in numbers {
        let mut batch = batch(number);
        batch.accepted_at.0 -= age.as_millis() as u64;
        append(spool, batch).await.expect("appended");
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn scanned(spool: &Spool, from: u64, to: u64) -> Vec<u64> {
    let Spool::Journal(journal) = spool else {
        panic!("a journal");
    };
    let scan = journal
        .scan(&queue(), UnixMillis(from)..=UnixMillis(to))
        .expect("known");
    let records = scan.map(|record| record.expect("readable"));
    records
        .map(|(header, payload)| number(&header, &payload))
        .collect()
}

#[tokio::test]
async fn settled_segments_go_when_they_are_past_their_time() {
    let (dir, _disk, _options, spool) = start(|o| o.retention = HOUR);
    append_old(&spool, 0..20, 2 * HOUR).await;
    append_numbers(&spool, 20..30).await;
    let all = segments(dir.path()).len();
    checkpoint(&spool).await;
    assert_eq!(segments(dir.path()).len(), all, "unsettled");
    ack_numbers(&spool, 0..30).await;
    checkpoint(&spool).await;
    let left = scanned(&spool, 0, u64::MAX);
    assert!(
        left.len() < 15 && left.ends_with(&(20..30).collect::<Vec<_>>()),
        "{left:?}"
    );
    let stored = stats(&spool);
    let len: u64 = segments(dir.path())
        .iter()
        .map(|p| p.metadata().expect("there").len())
        .sum();
    assert_eq!(stored.stored_bytes, len);
    assert!(stored.stored_since > Some(UnixMillis(0)));
}

#[tokio::test]
async fn an_unsettled_batch_keeps_its_segment_and_those_after_it() {
    let (dir, _disk, _options, spool) = start(|o| o.retention = Duration::ZERO);
    append_old(&spool, 0..30, HOUR).await;
    let all = segments(dir.path()).len();
    let (_, held) = lease_number(&spool).await;
    ack_numbers(&spool, 1..30).await;
    checkpoint(&spool).await;
    assert_eq!(segments(dir.path()).len(), all);
    held.requeue(false).await.expect("settled");
    ack_numbers(&spool, 0..1).await;
    checkpoint(&spool).await;
    assert_eq!(segments(dir.path()).len(), 0);
    assert_eq!(stats(&spool).stored_since, None);
    append_numbers(&spool, 30..31).await;
    ack_numbers(&spool, 30..31).await;
}

#[tokio::test]
async fn sequences_and_books_go_on_after_everything_was_deleted() {
    let (dir, disk, options, spool) = start(|o| o.retention = Duration::ZERO);
    append_old(&spool, 0..10, HOUR).await;
    ack_numbers(&spool, 0..10).await;
    checkpoint(&spool).await;
    assert!(segments(dir.path()).is_empty());
    let before = stats(&spool).ledger;
    drop(spool);
    disk.cut_power(Survives::Nothing);
    let spool = open_on(&disk, &options);
    assert_eq!(stats(&spool).ledger, before);
    append_numbers(&spool, 10..11).await;
    assert_eq!(lease(&spool).await.header().place.sequence, 11);
}

#[tokio::test]
async fn settled_segments_give_way_when_the_spool_holds_too_much() {
    let (dir, _disk, _options, spool) = start(|o| o.max_bytes = 3000);
    for number in 0..40 {
        append_numbers(&spool, number..number + 1).await;
        ack_numbers(&spool, number..number + 1).await;
    }
    checkpoint(&spool).await;
    assert!(stats(&spool).stored_bytes <= 3000);
    assert!(segments(dir.path()).len() > 1, "no more than needed");
}

#[tokio::test]
async fn settled_segments_give_way_one_by_one_when_the_disk_is_full() {
    let (dir, disk, _options, spool) = start(|o| o.min_free_bytes = 100);
    append_numbers(&spool, 0..20).await;
    ack_numbers(&spool, 0..20).await;
    checkpoint(&spool).await;
    disk.set(|f| f.free = 99);
    while !segments(dir.path()).is_empty() {
        let (before, looks) = (segments(dir.path()).len(), disk.counts().looks);
        checkpoint(&spool).await;
        // At its own time it looks, too, and did so just before.
        let gone = (before - segments(dir.path()).len()) as u64;
        let looks = disk.counts().looks - looks + 1;
        assert!((1..=looks).contains(&gone), "{gone} in {looks} looks");
    }
}

#[tokio::test]
async fn a_full_disk_takes_no_second_segment_before_the_first_is_gone() {
    let (_dir, disk, _options, spool) = start(|o| o.min_free_bytes = 100);
    append_numbers(&spool, 0..30).await;
    ack_numbers(&spool, 0..30).await;
    checkpoint(&spool).await;
    let stored = stats(&spool).stored_bytes;
    disk.reset_counts();
    disk.set(|f| {
        f.block_remove = true;
        f.free = 99;
    });
    until("several looks at the disk", || disk.counts().looks > 3).await;
    let left = stats(&spool).stored_bytes;
    disk.set(|f| {
        f.block_remove = false;
        f.free = 100;
    });
    checkpoint(&spool).await;
    assert!(left >= stored - 700, "more than one went");
    assert_eq!(stats(&spool).stored_bytes, left, "one was enough");
}

#[tokio::test]
async fn the_cursor_is_written_before_a_segment_goes() {
    let (_dir, disk, _options, spool) = start(|o| o.retention = Duration::ZERO);
    append_old(&spool, 0..10, HOUR).await;
    ack_numbers(&spool, 0..10).await;
    checkpoint(&spool).await;
    let done = disk.done();
    let removed = done
        .iter()
        .position(|d| d.starts_with("remove 0"))
        .expect("removed");
    let acked = done
        .iter()
        .rposition(|d| d.starts_with("sync 0"))
        .expect("synced");
    let cursor = done[acked..removed].iter().any(|d| d == "rename cursor");
    assert!(cursor, "{done:?}");
}

#[tokio::test]
async fn no_segment_goes_while_the_cursor_cannot_be_written() {
    let (dir, disk, _options, spool) = start(|o| o.retention = Duration::ZERO);
    append_old(&spool, 0..10, HOUR).await;
    checkpoint(&spool).await;
    let all = segments(dir.path()).len();
    // Not even in the room that is kept for it.
    disk.set(|f| f.write = Some(ErrorKind::StorageFull));
    ack_numbers(&spool, 0..10).await;
    checkpoint(&spool).await;
    assert_eq!(segments(dir.path()).len(), all);
    disk.set(|f| f.write = None);
    checkpoint(&spool).await;
    assert!(segments(dir.path()).is_empty());
}

#[tokio::test]
async fn appends_go_on_while_a_segment_is_being_removed() {
    let (dir, disk, _options, spool) = start(|o| o.retention = Duration::ZERO);
    append_old(&spool, 0..10, HOUR).await;
    ack_numbers(&spool, 0..10).await;
    disk.set(|f| f.block_remove = true);
    until("a segment is given to be removed", || {
        stats(&spool).stored_bytes == 0
    })
    .await;
    assert!(!segments(dir.path()).is_empty());
    append_numbers(&spool, 10..12).await;
    disk.set(|f| f.block_remove = false);
    checkpoint(&spool).await;
    assert_eq!(segments(dir.path()).len(), 1);
    ack_numbers(&spool, 10..12).await;
}

#[tokio::test]
async fn the_archive_is_read_by_acceptance_time_settled_or_not() {
    let (dir, disk, options, spool) = start(|_| ());
    let now = UnixMillis::now().0;
    let hour = HOUR.as_millis() as u64;
    append_old(&spool, 0..10, 3 * HOUR).await;
    append_old(&spool, 10..20, 2 * HOUR).await;
    let old = segments(dir.path());
    append_numbers(&spool, 20..30).await;
    ack_numbers(&spool, 0..15).await;
    assert_eq!(scanned(&spool, 0, u64::MAX), (0..30).collect::<Vec<_>>());
    assert_eq!(
        scanned(&spool, now - 2 * hour - hour / 2, now - hour),
        (10..20).collect::<Vec<_>>()
    );
    spool.close().await;
    drop(spool);
    // Where both kinds met, the last one stays as it is.
    for path in &old[..old.len() - 1] {
        let file = std::fs::File::options().append(true).open(path);
        let then = SystemTime::now() - 2 * HOUR;
        file.and_then(|file| file.set_modified(then))
            .expect("as if written then");
    }
    let spool = open_on(&disk, &options);
    checkpoint(&spool).await;
    disk.reset_counts();
    assert_eq!(
        scanned(&spool, now - hour, u64::MAX),
        (20..30).collect::<Vec<_>>()
    );
    let read = disk.counts().read_bytes;
    assert!(read < stats(&spool).stored_bytes * 2 / 3, "{read}");
    assert_eq!(scanned(&spool, now + hour, u64::MAX), [0; 0]);
}

#[tokio::test]
async fn a_batch_that_was_long_on_its_way_hides_nothing_that_is_stored_before_it() {
    let (_dir, disk, options, spool) = start(|_| ());
    append_numbers(&spool, 0..10).await;
    spool.close().await;
    drop(spool);
    // It begins a segment.
    let spool = open_on(&disk, &options);
    append_old(&spool, 10..11, 3 * HOUR).await;
    append_numbers(&spool, 11..20).await;
    let since = UnixMillis::now().0 - HOUR.as_millis() as u64;
    let all: Vec<u64> = (0..20).filter(|number| *number != 10).collect();
    assert_eq!(scanned(&spool, since, u64::MAX), all);
}

#[tokio::test]
async fn a_scan_reports_what_it_misses_and_ends_where_it_began() {
    let (dir, _disk, _options, spool) = start(|_| ());
    append_numbers(&spool, 0..20).await;
    let Spool::Journal(journal) = &spool else {
        panic!("a journal");
    };
    let mut scan = journal
        .scan(&queue(), UnixMillis(0)..=UnixMillis(u64::MAX))
        .expect("known");
    append_numbers(&spool, 20..25).await;
    std::fs::remove_file(&segments(dir.path())[1]).expect("removed");
    let got: Vec<u64> = scan
        .by_ref()
        .map(|record| record.expect("readable").0.payload_hash)
        .collect();
    let missing = (0..20)
        .filter(|n| !got.contains(n))
        .map(|n| u64::from(batch(n).events));
    assert!(got.len() < 20 && got.iter().all(|n| *n < 20));
    assert_eq!(scan.missing_events(), missing.sum::<u64>());
}

/// Settles ten batches that were accepted ten minutes ago and a replay of ten that
/// were accepted a day ago, which begins each segment but the first, one after another.
async fn settle_live_and_replayed(spool: &Spool) {
    for number in 0..10 {
        append_old(spool, number..number + 1, Duration::from_secs(600)).await;
        let mut replayed = batch(number + 10);
        replayed.accepted_at.0 -= 24 * HOUR.as_millis() as u64;
        replayed.origin = Origin::Replayed;
        append(spool, replayed).await.expect("appended");
        ack_numbers(spool, [number, number + 10]).await;
    }
}

#[tokio::test]
async fn replayed_batches_take_no_segment_away_before_its_time() {
    let (dir, disk, options, spool) = start(|o| {
        o.retention = HOUR;
        // The live batch fills what is left of a segment: the replayed one begins the next.
        o.segment_bytes = 250;
    });
    settle_live_and_replayed(&spool).await;
    checkpoint(&spool).await;
    assert_eq!(scanned(&spool, 0, u64::MAX), (0..10).collect::<Vec<_>>());
    let all = segments(dir.path()).len();
    // Who has to look at the records says the same.
    spool.close().await;
    drop(spool);
    let spool = open_on(&disk, &options);
    checkpoint(&spool).await;
    assert_eq!(segments(dir.path()).len(), all);
    assert_eq!(scanned(&spool, 0, u64::MAX), (0..10).collect::<Vec<_>>());
    let stored = stats(&spool).stored_since.expect("something is stored");
    assert!(stored.0 + 2 * HOUR.as_millis() as u64 > UnixMillis::now().0);
}

#[tokio::test]
async fn replayed_batches_hide_nothing_from_a_scan_by_time() {
    let (_dir, disk, options, spool) = start(|o| o.segment_bytes = 250);
    settle_live_and_replayed(&spool).await;
    spool.close().await;
    drop(spool);
    let spool = open_on(&disk, &options);
    let now = UnixMillis::now().0;
    let hour = HOUR.as_millis() as u64;
    let all: Vec<u64> = (0..10).collect();
    assert_eq!(scanned(&spool, now - hour, now), all);
    // Of what was replayed nothing comes twice.
    assert_eq!(scanned(&spool, 0, now - hour), [0; 0]);
}

#[tokio::test]
async fn what_only_a_replay_brought_goes_after_its_time_too() {
    let (dir, disk, options, spool) = start(|o| o.retention = HOUR);
    for number in 0..20 {
        let mut replayed = batch(number);
        replayed.accepted_at.0 -= 24 * HOUR.as_millis() as u64;
        replayed.origin = Origin::Replayed;
        append(&spool, replayed).await.expect("appended");
    }
    ack_numbers(&spool, 0..20).await;
    checkpoint(&spool).await;
    assert!(segments(dir.path()).len() > 1, "it arrived just now");
    spool.close().await;
    drop(spool);
    // Nothing arrived since an hour: of replayed records nobody knows when they did.
    let spool = open_on(
        &disk,
        &Options {
            retention: Duration::ZERO,
            ..options
        },
    );
    checkpoint(&spool).await;
    assert_eq!(segments(dir.path()).len(), 0);
    assert_eq!(stats(&spool).stored_since, None);
}

#[tokio::test]
async fn the_archive_is_read_on_where_an_earlier_reader_had_come_also_after_a_restart() {
    let (dir, disk, options, mut spool) = start(|_| ());
    append_numbers(&spool, 0..30).await;
    let range = || UnixMillis(0)..=UnixMillis(u64::MAX);
    let mut archive = spool.archive(&queue(), range()).await.expect("opens");
    let mut got = Vec::new();
    for taken in [1, 4, 9, 20] {
        for _ in 0..taken {
            let next = archive.next().await.expect("read");
            got.extend(next.map(|(header, payload)| number(&header, &payload)));
        }
        let mark = serde_json::to_string(&archive.mark()).expect("written");
        drop(archive);
        // Of what comes later nothing is in it.
        append_numbers(&spool, 100..103).await;
        drop(spool);
        disk.cut_power(Survives::Nothing);
        spool = open_on(&disk, &options);
        let mark = serde_json::from_str(&mark).expect("read");
        archive = spool
            .archive_from(&queue(), range(), &mark)
            .await
            .expect("opens");
    }
    assert_eq!(archive.next().await.expect("read"), None);
    assert_eq!((got, archive.missing()), ((0..30).collect(), 0));
    assert!(segments(dir.path()).len() > 3);
}

#[tokio::test]
async fn a_reader_that_goes_on_later_tells_what_retention_took_meanwhile() {
    let (dir, _disk, _options, spool) = start(|o| o.retention = HOUR);
    append_old(&spool, 0..20, 2 * HOUR).await;
    append_numbers(&spool, 20..30).await;
    let range = || UnixMillis(0)..=UnixMillis(u64::MAX);
    let mut archive = spool.archive(&queue(), range()).await.expect("opens");
    archive.next().await.expect("read").expect("there");
    let mark = archive.mark();
    drop(archive);
    let all = segments(dir.path()).len();
    ack_numbers(&spool, 0..30).await;
    checkpoint(&spool).await;
    assert!(segments(dir.path()).len() < all);
    let mut later = spool
        .archive_from(&queue(), range(), &mark)
        .await
        .expect("opens");
    let mut got = 0;
    while let Some((header, _)) = later.next().await.expect("read") {
        got += u64::from(header.events);
    }
    let whole: u64 = (1..30).map(|n| u64::from(batch(n).events)).sum();
    assert_eq!(got + later.missing(), whole);
    assert!(later.missing() > 0);
}
