//! The offline tools: look without touching, repair once.

mod journal_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use journal_support::disk::Disk;
use journal_support::*;
use stashgate::spool::journal::OpenError;
use stashgate::spool::journal::tools::{
    CursorState, Filter, ProblemKind, ToolError, check, dump, repair, stat,
};
use tempfile::TempDir;

/// Batches 0 to 29 in several segments; the first 20 settled but for 3.
async fn make(closed: bool) -> TempDir {
    let dir = folder();
    let mut options = options(dir.path());
    options.segment_bytes = 900;
    let spool = open_on(&Disk::new(), &options);
    append_numbers(&spool, 0..25).await;
    ack_numbers(&spool, 0..3).await;
    let (_, held) = lease_number(&spool).await;
    ack_numbers(&spool, 4..20).await;
    checkpoint(&spool).await;
    append_numbers(&spool, 25..30).await;
    if closed {
        spool.close().await;
    }
    drop((held, spool));
    dir
}

fn journal(dir: &TempDir) -> PathBuf {
    dir.path().join("journal")
}

fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("listed") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            all.extend(content(&path));
        } else {
            all.insert(path.clone(), fs::read(path).expect("read"));
        }
    }
    all
}

fn flip(path: &Path, at: usize) {
    let mut content = fs::read(path).expect("read");
    content[at] ^= 0x10;
    fs::write(path, content).expect("written");
}

fn events(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers
        .into_iter()
        .map(|n| u64::from(batch(n).events))
        .sum()
}

async fn reopened(dir: &TempDir) -> stashgate::spool::Spool {
    let mut options = options(dir.path());
    options.segment_bytes = 900;
    open_on(&Disk::new(), &options)
}

#[tokio::test]
async fn a_sound_journal_is_clean_and_looking_changes_nothing() {
    for closed in [true, false] {
        let dir = make(closed).await;
        let before = content(&journal(&dir));
        let report = check(&journal(&dir)).expect("checked");
        assert!(report.is_clean(), "{report:?}");
        let queue = &report.queues[0];
        assert_eq!((queue.records, queue.events), (30, events(0..30)));
        assert_eq!(queue.segments, segments(dir.path()).len());
        assert_eq!(queue.cursor, CursorState::Good);
        stat(&journal(&dir)).expect("looked");
        dump(&journal(&dir), &queue_name(), Filter::default())
            .expect("looked")
            .for_each(drop);
        assert_eq!(content(&journal(&dir)), before);
    }
}

fn queue_name() -> stashgate::batch::QueueName {
    journal_support::queue()
}

#[tokio::test]
async fn damage_in_an_old_segment_is_found_and_set_aside_once() {
    let dir = make(true).await;
    flip(&segments(dir.path())[0], 300);
    flip(&segments(dir.path())[3], 100);
    let found = check(&journal(&dir)).expect("checked").queues.remove(0);
    assert!(!found.is_clean());
    assert_eq!(found.records, 28);
    assert_eq!(found.problems.len(), 2);
    let kinds = found.problems.iter().map(|p| (p.kind, p.set_aside));
    assert!(kinds.eq([(ProblemKind::Damaged, false); 2]));
    let lost: u64 = found.problems.iter().map(|problem| problem.events).sum();
    assert_eq!(lost + found.events, events(0..30));

    let done = repair(&journal(&dir)).expect("repaired").queues.remove(0);
    assert_eq!(done.set_aside, found.problems);
    assert_eq!(quarantined(dir.path(), "damaged").len(), 2);
    assert!(check(&journal(&dir)).expect("checked").is_clean());
    let again = repair(&journal(&dir)).expect("repaired").queues.remove(0);
    assert!(again.set_aside.is_empty());

    let spool = reopened(&dir).await;
    let got = drain(&spool).await;
    assert!(got.starts_with(&[3]) && got.ends_with(&[29]));
    assert_eq!(quarantined(dir.path(), "damaged").len(), 2, "once");
}

#[tokio::test]
async fn a_torn_end_is_called_so_and_cut_by_repair() {
    let dir = make(false).await;
    let last = segments(dir.path()).pop().expect("one");
    let mut content = fs::read(&last).expect("read");
    content.truncate(content.len() - 2);
    content.extend_from_slice(&[0; 300]);
    fs::write(&last, &content).expect("written");
    let found = check(&journal(&dir)).expect("checked").queues.remove(0);
    assert_eq!(found.problems.len(), 1);
    assert_eq!(found.problems[0].kind, ProblemKind::Torn);
    let done = repair(&journal(&dir)).expect("repaired").queues.remove(0);
    assert_eq!(done.set_aside, found.problems);
    assert_eq!(quarantined(dir.path(), "torn").len(), 1);
    assert!(check(&journal(&dir)).expect("checked").is_clean());
    let spool = reopened(&dir).await;
    assert!(drain(&spool).await.ends_with(&[28]));
}

#[tokio::test]
async fn allocated_room_is_no_problem() {
    let dir = make(false).await;
    let last = segments(dir.path()).pop().expect("one");
    let mut content = fs::read(&last).expect("read");
    content.extend_from_slice(&[0; 3000]);
    fs::write(&last, &content).expect("written");
    assert!(check(&journal(&dir)).expect("checked").is_clean());
}

#[tokio::test]
async fn lost_segments_are_known_by_what_is_missing() {
    let made = make(true).await;
    let count = segments(made.path()).len();
    for lost in 1..count {
        let dir = folder();
        copy_dir(made.path(), dir.path());
        fs::remove_file(&segments(dir.path())[lost]).expect("removed");
        let found = check(&journal(&dir)).expect("checked").queues.remove(0);
        assert_eq!(found.problems.len(), 1, "{lost}: {:?}", found.problems);
        let problem = &found.problems[0];
        assert_eq!((problem.kind, problem.bytes), (ProblemKind::Damaged, 0));
        assert_eq!(problem.events + found.events, events(0..30));
        assert!(!found.is_clean());
        repair(&journal(&dir)).expect("repaired");
        assert_eq!(quarantined(dir.path(), "lost").len(), 1);
        assert!(check(&journal(&dir)).expect("checked").is_clean());
    }
}

#[tokio::test]
async fn a_damaged_cursor_is_rebuilt_and_kept() {
    let dir = make(true).await;
    flip(&journal(&dir).join("logstash/cursor"), 20);
    let found = check(&journal(&dir)).expect("checked").queues.remove(0);
    assert_eq!(
        (found.cursor, found.is_clean()),
        (CursorState::Damaged, false)
    );
    let done = repair(&journal(&dir)).expect("repaired").queues.remove(0);
    assert!(done.cursor_rebuilt);
    assert_eq!(done.unsettled_events, events(0..30));
    assert!(journal(&dir).join("logstash/quarantine/cursor").exists());
    assert!(check(&journal(&dir)).expect("checked").is_clean());
    assert_eq!(
        drain(&reopened(&dir).await).await,
        (0..30).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn records_can_be_listed_with_what_is_known_of_them() {
    let dir = make(true).await;
    let all = dump(&journal(&dir), &queue_name(), Filter::default()).expect("looked");
    let all: Vec<_> = all.map(|record| record.expect("readable")).collect();
    assert_eq!(all.len(), 30);
    assert_eq!(all[7].batch_id, "b7");
    assert_eq!(all[7].payload, batch(7).payload);
    assert_eq!(all[7].sequence, 8);
    let unsettled = Filter {
        unsettled: true,
        ..Filter::default()
    };
    let waiting = dump(&journal(&dir), &queue_name(), unsettled).expect("looked");
    let waiting: Vec<u64> = waiting.map(|r| r.expect("readable").sequence - 1).collect();
    assert_eq!(waiting, [3].into_iter().chain(20..30).collect::<Vec<_>>());
    let late = Filter {
        accepted_from: Some(stashgate::batch::UnixMillis(u64::MAX)),
        ..Filter::default()
    };
    let mut late = dump(&journal(&dir), &queue_name(), late).expect("looked");
    assert!(late.next().is_none());
    let json = serde_json::to_value(&all[7]).expect("JSON");
    assert_eq!(json["payload_hash"], "0000000000000007");
    assert!(json.get("payload").is_none());
}

#[tokio::test]
async fn stat_says_what_the_next_start_finds() {
    for closed in [true, false] {
        let dir = make(closed).await;
        let stat = stat(&journal(&dir)).expect("looked").remove(0);
        let spool = reopened(&dir).await;
        let stats = stats(&spool);
        assert_eq!(stat.ledger, stats.ledger);
        assert_eq!(stat.waiting_events, stats.waiting_events);
        assert_eq!(stat.stored_bytes, stats.stored_bytes);
        assert_eq!(stat.next_sequence, 31);
    }
}

#[tokio::test]
async fn an_open_journal_and_a_folder_without_one_are_refused() {
    let dir = folder();
    let nothing = check(dir.path()).expect_err("empty");
    assert!(matches!(nothing, ToolError::NoJournal(_)), "{nothing}");
    let spool = open_on(&Disk::new(), &options(dir.path()));
    let refused = check(&journal(&dir)).expect_err("in use");
    assert!(
        matches!(refused, ToolError::Open(OpenError::Locked { .. })),
        "{refused}"
    );
    spool.close().await;
    let other = "other".parse().expect("valid");
    let refused = dump(&journal(&dir), &other, Filter::default()).expect_err("unknown");
    assert!(matches!(refused, ToolError::NoQueue(_)), "{refused}");
}
