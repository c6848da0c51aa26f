//! Torn ends, flipped bytes, lost files: never wrong data, never stuck, always
//! counted.

mod journal_support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use journal_support::disk::Disk;
use journal_support::*;
use stashgate::spool::Spool;
use stashgate::spool::journal::{Journal, OpenError, Options};

/// A folder with a journal of batches 0 to 8, of which 2 and 3 are settled, in
/// several segments; closed or crashed.
async fn make(closed: bool) -> tempfile::TempDir {
    let dir = folder();
    let disk = Disk::new();
    let options = small(dir.path());
    let spool = open_on(&disk, &options);
    append_numbers(&spool, 0..5).await;
    let (_, first) = lease_number(&spool).await;
    let (_, second) = lease_number(&spool).await;
    ack_numbers(&spool, 2..4).await;
    checkpoint(&spool).await;
    append_numbers(&spool, 5..9).await;
    if closed {
        spool.close().await;
    }
    drop((first, second, spool));
    dir
}

const WAITING: [u64; 7] = [0, 1, 4, 5, 6, 7, 8];

fn small(dir: &Path) -> Options {
    let mut options = options(dir);
    options.segment_bytes = 600;
    options
}

fn copy(from: &tempfile::TempDir) -> tempfile::TempDir {
    let copy = folder();
    copy_dir(from.path(), copy.path());
    copy
}

fn reopen(dir: &Path) -> Spool {
    open_on(&Disk::new(), &small(dir))
}

fn events_in(numbers: &[u64]) -> u64 {
    numbers.iter().map(|n| u64::from(batch(*n).events)).sum()
}

/// Every byte of every file below `dir`, as `(file, offset)`.
fn bytes_of(dir: &Path) -> Vec<(String, usize)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("listed") {
        let path = entry.expect("listed").path();
        if path.is_file() {
            let name = path
                .file_name()
                .expect("named")
                .to_string_lossy()
                .into_owned();
            let len = fs::metadata(&path).expect("there").len() as usize;
            all.extend((0..len).map(|at| (name.clone(), at)));
        }
    }
    all
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_served_right_or_set_aside_and_counted() {
    let made = make(true).await;
    let queue_dir = Path::new("journal/logstash");
    for (file, at) in bytes_of(&made.path().join(queue_dir)) {
        let dir = copy(&made);
        let path = dir.path().join(queue_dir).join(&file);
        let mut content = fs::read(&path).expect("read");
        content[at] ^= 1 << (at % 8);
        fs::write(&path, content).expect("written");

        let spool = reopen(dir.path());
        let got = drain(&spool).await;
        let left = stats(&spool);
        if file == "cursor" {
            assert_eq!(
                got,
                (0..9).collect::<Vec<_>>(),
                "{file} at {at}: all comes again"
            );
            continue;
        }
        assert!(
            got.iter().all(|n| WAITING.contains(n)),
            "{file} at {at}: {got:?}"
        );
        assert_eq!(
            events_in(&got) + left.ledger.quarantined,
            events_in(&WAITING),
            "{file} at {at}: {got:?}"
        );
        assert!(left.ledger.quarantined == 0 || left.quarantined_records == 1);
        assert_eq!(
            left.quarantined_records as usize,
            quarantined(dir.path(), "damaged").len(),
            "{file} at {at}"
        );
        append_numbers(&spool, 100..101).await;
        ack_numbers(&spool, 100..101).await;
    }
}

#[tokio::test]
async fn a_flipped_byte_after_a_crash_never_gives_wrong_data_or_blocks() {
    let made = make(false).await;
    let queue_dir = Path::new("journal/logstash");
    for (file, at) in bytes_of(&made.path().join(queue_dir)) {
        let dir = copy(&made);
        let path = dir.path().join(queue_dir).join(&file);
        let mut content = fs::read(&path).expect("read");
        content[at] ^= 1 << (at % 8);
        fs::write(&path, content).expect("written");

        let spool = reopen(dir.path());
        let got = drain(&spool).await;
        let mut ordered = got.clone();
        ordered.sort_unstable();
        ordered.dedup();
        assert_eq!(got, ordered, "{file} at {at}");
        let lost = 9 - got.len() - if got.contains(&2) { 0 } else { 2 };
        assert!(lost <= 1, "{file} at {at}: {got:?}");
        append_numbers(&spool, 100..101).await;
        ack_numbers(&spool, 100..101).await;
        stats(&spool);
    }
}

#[tokio::test]
async fn a_log_torn_at_any_byte_keeps_what_was_whole() {
    let made = make(false).await;
    let last = segments(made.path()).pop().expect("one");
    let whole = fs::read(&last).expect("read");
    for cut in 0..whole.len() {
        let dir = copy(&made);
        let path = segments(dir.path()).pop().expect("one");
        fs::write(&path, &whole[..cut]).expect("cut");
        let spool = reopen(dir.path());
        assert_eq!(stats(&spool).ledger.quarantined, 0, "cut at {cut}");
        let got = drain(&spool).await;
        assert_eq!(got, WAITING[..got.len()], "cut at {cut}");
        let kept: u64 = segments(dir.path())
            .iter()
            .map(|p| p.metadata().expect("there").len())
            .sum();
        assert_eq!(stats(&spool).stored_bytes, kept);
        append_numbers(&spool, 50..51).await;
        spool.close().await;
        drop(spool);
        assert_eq!(drain(&reopen(dir.path())).await, [50]);
    }
}

#[tokio::test]
async fn what_is_cut_from_a_torn_log_is_kept_unless_it_is_all_zeros() {
    let made = make(false).await;
    let dir = copy(&made);
    let last = segments(dir.path()).pop().expect("one");
    let mut content = fs::read(&last).expect("read");
    let whole = content.len();
    content.extend_from_slice(&[0; 5000]);
    fs::write(&last, &content).expect("written");
    drop(reopen(dir.path()));
    assert_eq!(fs::metadata(&last).expect("there").len() as usize, whole);
    assert!(quarantined(dir.path(), "torn").is_empty());

    let dir = copy(&made);
    let last = segments(dir.path()).pop().expect("one");
    content.truncate(whole - 3);
    content.extend_from_slice(&[0; 5000]);
    fs::write(&last, &content).expect("written");
    drop(reopen(dir.path()));
    let kept = quarantined(dir.path(), "torn");
    let kept = fs::read(&kept[0]).expect("read");
    assert!(content[..whole - 3].ends_with(&kept) && !kept.is_empty());
}

#[tokio::test]
async fn sequences_of_a_torn_end_are_not_used_again() {
    let made = make(false).await;
    let last = segments(made.path()).pop().expect("one");
    let content = fs::read(&last).expect("read");
    fs::write(&last, &content[..content.len() - 1]).expect("cut");
    let spool = reopen(made.path());
    append_numbers(&spool, 20..21).await;
    let mut sequences = Vec::new();
    while stats(&spool).waiting_events > 0 {
        let lease = lease(&spool).await;
        sequences.push(lease.header().place.sequence);
        lease.ack(0).await.expect("settled");
    }
    // Batch 8 had sequence 9.
    assert_eq!(sequences, [1, 2, 5, 6, 7, 8, 10]);
    spool.close().await;
    drop(spool);
    let spool = reopen(made.path());
    assert_eq!(stats(&spool).waiting_events, 0);
}

#[tokio::test]
async fn a_damaged_record_below_a_later_durable_through_does_not_cut_the_log() {
    let dir = folder();
    let options = options(dir.path());
    let spool = open_on(&Disk::new(), &options);
    append_numbers(&spool, 0..6).await;
    drop(spool);
    let path = segments(dir.path()).pop().expect("one");
    let mut content = fs::read(&path).expect("read");
    content[200] ^= 0xFF;
    fs::write(&path, content).expect("written");
    let spool = open_on(&Disk::new(), &options);
    let got = drain(&spool).await;
    assert_eq!(got.len(), 5);
    assert!(got.ends_with(&[3, 4, 5]));
    assert_eq!(stats(&spool).quarantined_records, 1);
    assert_eq!(quarantined(dir.path(), "damaged").len(), 1);
    assert!(quarantined(dir.path(), "torn").is_empty());
}

#[tokio::test]
async fn no_whole_record_is_cut_off_whatever_record_of_the_last_round_is_damaged() {
    for damaged in 0..4 {
        let dir = folder();
        let disk = Disk::new();
        let options = options(dir.path());
        let spool = open_on(&disk, &options);
        append_numbers(&spool, 0..1).await;
        disk.set(|f| f.block_sync = true);
        let mut round: Vec<_> = (1..6)
            .map(|n| {
                let spool = spool.clone();
                Box::pin(async move { append(&spool, batch(n)).await })
            })
            .collect();
        for append in &mut round {
            assert!(poll_once(append).await.is_none());
        }
        disk.set(|f| f.block_sync = false);
        for append in round {
            append.await.expect("answered");
        }
        drop(spool);

        let path = segments(dir.path()).pop().expect("one");
        let mut content = fs::read(&path).expect("read");
        let begins: Vec<usize> = memchr::memmem::find_iter(&content, b"\xF5SG").collect();
        content[begins[damaged + 1] + 100] ^= 1;
        fs::write(&path, content).expect("written");
        let spool = open_on(&Disk::new(), &options);
        let lost = damaged as u64 + 1;
        let kept: Vec<u64> = (0..6).filter(|n| *n != lost).collect();
        assert_eq!(drain(&spool).await, kept, "{lost} is damaged");
        assert_eq!(stats(&spool).ledger.quarantined, events_in(&[lost]));
        assert_eq!(quarantined(dir.path(), "damaged").len(), 1);
        assert!(quarantined(dir.path(), "torn").is_empty());
    }
}

#[tokio::test]
async fn a_lost_or_empty_segment_is_counted_and_the_rest_is_served() {
    let made = make(true).await;
    let count = segments(made.path()).len();
    assert!(count >= 3);
    for at in 0..count {
        for empty in [false, true] {
            let dir = copy(&made);
            let path = &segments(dir.path())[at];
            if empty {
                fs::write(path, b"").expect("emptied");
            } else {
                fs::remove_file(path).expect("removed");
            }
            let spool = reopen(dir.path());
            let got = drain(&spool).await;
            let left = stats(&spool);
            assert!(got.iter().all(|n| WAITING.contains(n)) && got.is_sorted());
            assert!(left.ledger.quarantined > 0);
            assert_eq!(
                events_in(&got) + left.ledger.quarantined,
                events_in(&WAITING)
            );
            append_numbers(&spool, 70..71).await;
            ack_numbers(&spool, 70..71).await;
        }
    }
}

#[tokio::test]
async fn zeros_before_the_last_record_do_not_cut_it_off() {
    let dir = folder();
    let spool = open_on(&Disk::new(), &small(dir.path()));
    let mut count = 0;
    while segments(dir.path()).len() < 3 {
        append_numbers(&spool, count..count + 1).await;
        count += 1;
    }
    drop(spool);
    let before_last = &segments(dir.path())[1];
    let mut content = fs::read(before_last).expect("read");
    content.extend_from_slice(&[0; 400]);
    fs::write(before_last, content).expect("written");
    let spool = reopen(dir.path());
    assert_eq!(drain(&spool).await, (0..count).collect::<Vec<_>>());
    assert_eq!(stats(&spool).quarantined_records, 0);
}

#[tokio::test]
async fn a_journal_without_its_cursor_sends_everything_again() {
    let made = make(true).await;
    fs::remove_file(made.path().join("journal/logstash/cursor")).expect("removed");
    let spool = reopen(made.path());
    assert_eq!(
        stats(&spool).ledger.accepted,
        events_in(&(0..9).collect::<Vec<_>>())
    );
    assert_eq!(drain(&spool).await, (0..9).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_payload_that_rots_while_it_is_leased_is_set_aside() {
    let dir = folder();
    let spool = open_on(&Disk::new(), &options(dir.path()));
    append_numbers(&spool, 0..2).await;
    let (_, held) = lease_number(&spool).await;
    let path = segments(dir.path()).pop().expect("one");
    let mut content = fs::read(&path).expect("read");
    content[90] ^= 1;
    fs::write(&path, content).expect("written");
    assert!(held.payload().await.is_err());
    held.requeue(true).await.expect("settled");
    assert_eq!(drain(&spool).await, [1]);
    assert_eq!(stats(&spool).quarantined_records, 1);
    assert_eq!(quarantined(dir.path(), "damaged").len(), 1);
}

#[tokio::test]
async fn a_record_of_another_version_stops_the_start_and_is_left_alone() {
    let made = make(false).await;
    let path = segments(made.path()).pop().expect("one");
    let mut content = fs::read(&path).expect("read");
    content[4] = 9;
    let header = u32::from_le_bytes(content[8..12].try_into().expect("four")) as usize;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&content[..68]), &content[72..header]);
    content[68..72].copy_from_slice(&crc.to_le_bytes());
    fs::write(&path, &content).expect("written");
    let refused = Journal::open_with(small(made.path()), Disk::new()).expect_err("refused");
    assert!(
        matches!(refused, OpenError::Version { version: 9, .. }),
        "{refused}"
    );
    assert_eq!(fs::read(&path).expect("read"), content);
}

#[tokio::test]
async fn batches_of_a_queue_that_is_no_longer_configured_stop_the_start() {
    let made = make(true).await;
    let mut other = small(made.path());
    other.queues = vec![("other".parse().expect("valid"), 1 << 30)];
    let refused = Journal::open_with(other.clone(), Disk::new()).expect_err("refused");
    assert!(
        matches!(&refused, OpenError::Stranded { events, .. } if *events == events_in(&WAITING)),
        "{refused}"
    );
    let spool = reopen(made.path());
    drain(&spool).await;
    spool.close().await;
    Journal::open_with(other, Disk::new()).expect("nothing waits there");
}

#[tokio::test]
async fn allocated_room_is_given_back_when_the_journal_is_closed() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut options = options(dir.path());
    options.segment_bytes = 1 << 20;
    let spool = Spool::Journal(
        Journal::open_with(options, Arc::new(stashgate::spool::journal::files::OsFiles))
            .expect("opens"),
    );
    append_numbers(&spool, 0..1).await;
    let path = segments(dir.path()).pop().expect("one");
    assert_eq!(fs::metadata(&path).expect("there").len(), 1 << 20);
    let stored = stats(&spool).stored_bytes;
    spool.close().await;
    assert_eq!(fs::metadata(&path).expect("there").len(), stored);
}
