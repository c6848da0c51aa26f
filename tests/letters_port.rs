//! Dead letters taken out into a file, and brought back from one.

mod redis_spool_support;
mod redis_support;
mod workbench_support;

use bytes::Bytes;
use serde_json::json;
use stashgate::dead_letter::DeadLetter;
use stashgate::dead_letter::workbench::{Filter, Question, WorkError};
use workbench_support::*;
/// All lines and handles of an export, in small chunks.
async fn exported(bench: &Bench) -> (Vec<u8>, Vec<stashgate::dead_letter::workbench::Handle>) {
    let (mut lines, mut handles) = (Vec::new(), Vec::new());
    let mut after = None;
    loop {
        let export = bench.work.export(&Filter::default(), after, 2).await;
        let export = export.expect("exported");
        lines.extend_from_slice(&export.lines);
        handles.extend(export.handles);
        after = export.next;
        if after.is_none() {
            return (lines, handles);
        }
    }
}

#[tokio::test]
async fn what_is_exported_and_taken_can_be_brought_back_as_it_was() {
    let bench = Bench::with_letters(Kind::Disk, 3).await;
    let other = DeadLetter {
        queue: other_queue(),
        id: None,
        attempt: 2,
        ..letter("", b"\xff\0{".to_vec())
    };
    bench.file(vec![other]).await;
    let question = Question {
        apply: true,
        ..repair(".n += 10")
    };
    assert_eq!(repaired(&bench, question).await.done, 3);
    let before = bench.held().await;

    let (lines, handles) = exported(&bench).await;
    assert_eq!(bench.held().await, before, "an export takes nothing");
    assert_eq!(bench.work.take(&handles).await.expect("taken"), 4);
    assert_eq!(bench.work.take(&handles).await.expect("taken"), 0);
    assert_eq!(bench.books().sent_elsewhere, 4);

    let report = bench.work.import(&lines).await.expect("imported");
    assert_eq!((report.examined, report.done), (4, 4));
    let after = bench.held().await;
    assert_eq!(after.len(), 4);
    for (after, before) in after.iter().zip(&before) {
        assert_eq!((&after.letter, &after.name), (&before.letter, &before.name));
        assert_eq!(
            (&after.original, after.content),
            (&before.original, before.content)
        );
        assert_eq!(
            (after.first_at, after.times),
            (before.first_at, before.times)
        );
    }
    let again = bench.work.import(&lines).await.expect("imported");
    assert_eq!(
        (again.done, again.unchanged),
        (0, 4),
        "twice changes nothing"
    );
    assert_eq!(bench.held().await, after);
    let books = bench.books();
    assert_eq!((books.held, books.received), (4, 8));
}

#[tokio::test]
async fn an_import_brings_in_what_a_person_changed() {
    let bench = Bench::with_letters(Kind::Disk, 1).await;
    bench.file(vec![letter("broken", r#"{"a":"#)]).await;
    let (lines, _) = exported(&bench).await;
    let lines = String::from_utf8(lines).expect("UTF-8");
    assert!(lines.contains(r#""event_text":"{\"a\":""#), "{lines}");
    let mended = lines
        .replace(r#""event_text":"{\"a\":""#, r#""event":{"a": 1}"#)
        .replace(r#""id":"u0""#, r#""id":"0""#);
    let report = bench
        .work
        .import(mended.as_bytes())
        .await
        .expect("imported");
    assert_eq!((report.done, report.failed), (2, 0));
    let held = bench.held().await;
    assert_eq!(held[0].letter.event, r#"{"n":0,"user":{"id":"0"}}"#);
    assert_eq!(held[1].letter.event, r#"{"a": 1}"#);
    assert_eq!(held[1].original, Some(Bytes::from_static(b"{\"a\":")));
    assert_eq!(bench.return_all(&all()).await.done, 2, "both can go now");
    let sent = bench.sent(&queue()).await;
    assert_eq!(sent[0]["user"], json!({"id": "0"}));
}

#[tokio::test]
async fn an_import_with_a_bad_line_changes_nothing_and_names_the_line() {
    let bench = Bench::with_letters(Kind::Disk, 2).await;
    let (lines, handles) = exported(&bench).await;
    bench.work.take(&handles).await.expect("taken");
    for bad in [&b"garbage\n"[..], b"{}\n", b"\xff\n", &b"[".repeat(1 << 20)] {
        let lines = [&lines[..], b"\n", bad].concat();
        let refused = bench.work.import(&lines).await;
        let Err(WorkError::Bad(why)) = refused else {
            panic!("{refused:?}");
        };
        assert!(why.contains("line 4"), "{why}");
        assert_eq!(bench.held().await, []);
    }
}

#[tokio::test]
async fn a_line_with_the_highest_figures_spoils_no_other_letter() {
    for kind in [Kind::Disk, Kind::Redis] {
        let bench = Bench::with_letters(kind, 2).await;
        let (lines, handles) = exported(&bench).await;
        bench.work.take(&handles).await.expect("taken");
        let lines = String::from_utf8(lines).expect("UTF-8");
        let lines = lines.replace("\"revision\":0", "\"revision\":4294967295");
        let lines = lines.replace("\"times\":1", "\"times\":18446744073709551615");
        let changed = lines.replace("\"id\":\"u0\"", "\"id\":\"0\"");
        for lines in [&lines, &changed] {
            bench.work.import(lines.as_bytes()).await.expect("imported");
        }
        assert_eq!(
            bench.held().await[0].letter.event,
            r#"{"n":0,"user":{"id":"0"}}"#
        );
        assert_eq!(listed(&bench, Filter::default()).await.len(), 2);
    }
}
