//! Looking at dead letters, repairing them, throwing them away, and taking them out
//! into a file and back.

mod redis_spool_support;
mod redis_support;
mod workbench_support;

use bytes::Bytes;
use serde_json::{Value, json};
use stashgate::batch::UnixMillis;
use stashgate::dead_letter::store::Filed;
use stashgate::dead_letter::workbench::{Cursor, Filter, Page, Question, Report, WorkError};
use stashgate::dead_letter::{DeadLetter, Reason, Source, Unindexable};
use stashgate::event::RejectReason;
use workbench_support::*;

fn ids(page: &Page) -> Vec<&str> {
    page.letters
        .iter()
        .map(|letter| letter.id.as_str())
        .collect()
}

/// The names that a filter leaves, newest first.
async fn listed(bench: &Bench, filter: Filter) -> Vec<String> {
    let page = bench.work.list(&filter, None, 100).await.expect("listed");
    assert_eq!(page.next, None);
    ids(&page).into_iter().map(str::to_owned).collect()
}

fn repair(expression: &str) -> Question {
    Question {
        expression: Some(expression.into()),
        ..Question::default()
    }
}

async fn repaired(bench: &Bench, question: Question) -> Report {
    bench.work.repair(&question).await.expect("repaired")
}

#[tokio::test]
async fn a_list_goes_back_from_the_newest_and_shows_each_letter_once() {
    let bench = Bench::with_letters(Kind::Disk, 25).await;
    let mut after: Option<Cursor> = None;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let page = bench.work.list(&Filter::default(), after, 10).await;
        let page = page.expect("listed");
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        after = page.next;
        // What is filed meanwhile is newer than the list.
        bench.file(vec![conflict(100 + seen.len() as u32)]).await;
    }
    assert_eq!(after, None);
    let expected: Vec<_> = (0..25).rev().map(|n| format!("id-{n}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn every_part_of_a_filter_leaves_letters_out() {
    let bench = Bench::with_letters(Kind::Disk, 2).await;
    let begun = bench.held().await[1].filed_at();
    while UnixMillis::now() <= begun {}
    let other = DeadLetter {
        queue: other_queue(),
        reason: Reason::Rejected(RejectReason::InvalidJson),
        field: None,
        source: Source::Tcp,
        attempt: 3,
        ..letter("other", "garbage")
    };
    bench.file(vec![other]).await;
    let none = Filter::default();
    assert_eq!(
        listed(&bench, none.clone()).await,
        ["other", "id-1", "id-0"]
    );
    let later = Some(UnixMillis(begun.0 + 1));
    let cases = [
        (
            Filter {
                queue: Some(queue()),
                ..none.clone()
            },
            vec!["id-1", "id-0"],
        ),
        (
            Filter {
                queue: Some("gone".parse().expect("a name")),
                ..none.clone()
            },
            vec![],
        ),
        (
            Filter {
                reason: Reason::named("invalid_json"),
                ..none.clone()
            },
            vec!["other"],
        ),
        (
            Filter {
                field: Some("user.id".into()),
                ..none.clone()
            },
            vec!["id-1", "id-0"],
        ),
        (
            Filter {
                source: Some(Source::Tcp),
                ..none.clone()
            },
            vec!["other"],
        ),
        (
            Filter {
                id: Some("id-1".into()),
                ..none.clone()
            },
            vec!["id-1"],
        ),
        (
            Filter {
                id: Some("id-1".into()),
                queue: Some(other_queue()),
                ..none.clone()
            },
            vec![],
        ),
        (
            Filter {
                id: Some("id-1".into()),
                source: Some(Source::Tcp),
                ..none.clone()
            },
            vec![],
        ),
        (
            Filter {
                id: Some("id-1".into()),
                from: later,
                ..none.clone()
            },
            vec![],
        ),
        (
            Filter {
                from: later,
                ..none.clone()
            },
            vec!["other"],
        ),
        (
            Filter {
                to: later,
                ..none.clone()
            },
            vec!["id-1", "id-0"],
        ),
        (
            Filter {
                parked: Some(true),
                ..none.clone()
            },
            vec!["other"],
        ),
        (
            Filter {
                parked: Some(false),
                ..none.clone()
            },
            vec!["id-1", "id-0"],
        ),
        (
            Filter {
                condition: Some(".n == 1".into()),
                ..none.clone()
            },
            vec!["id-1"],
        ),
        (
            Filter {
                condition: Some("true".into()),
                ..none.clone()
            },
            vec!["id-1", "id-0"],
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(listed(&bench, filter.clone()).await, expected, "{filter:?}");
    }
    let wrong = Filter {
        condition: Some(".n ==".into()),
        ..none
    };
    let wrong = bench.work.list(&wrong, None, 10).await;
    let Err(WorkError::Bad(why)) = wrong else {
        panic!("{wrong:?}");
    };
    assert!(why.contains("position 6"), "{why}");
}

#[tokio::test]
async fn groups_tell_the_most_frequent_first() {
    let bench = Bench::with_letters(Kind::Disk, 3).await;
    let missing = DeadLetter {
        reason: Reason::Unindexable(Unindexable::IndexMissing),
        field: None,
        ..conflict(10)
    };
    bench
        .file(vec![
            missing,
            DeadLetter {
                attempt: 3,
                ..conflict(11)
            },
        ])
        .await;
    let groups = bench.work.groups().await.expect("read");
    let told: Vec<_> = groups
        .iter()
        .map(|entry| {
            (
                entry.group.key.reason.as_str(),
                entry.group.events,
                entry.parked,
            )
        })
        .collect();
    assert_eq!(told, [("mapping_conflict", 4, 1), ("index_missing", 1, 0)]);
}

#[tokio::test]
async fn a_repair_is_shown_first_and_then_done() {
    let bench = Bench::with_letters(Kind::Disk, 3).await;
    let question = repair(".user.id |= ltrimstr(\"u\")");
    let shown = repaired(&bench, question.clone()).await;
    assert_eq!((shown.matched, shown.done, shown.unchanged), (3, 3, 0));
    let samples: Vec<_> = shown
        .samples
        .iter()
        .map(|s| (s.before.get(), s.after.get()))
        .collect();
    assert_eq!(
        samples[1],
        (
            r#"{"n":1,"user":{"id":"u1"}}"#,
            r#"{"n":1,"user":{"id":"1"}}"#
        )
    );
    assert!(bench.held().await.iter().all(|letter| letter.revision == 0));

    let apply = |question| Question {
        apply: true,
        ..question
    };
    let done = repaired(&bench, apply(question.clone())).await;
    assert_eq!((done.matched, done.done), (3, 3));
    let again = repaired(&bench, apply(question)).await;
    assert_eq!((again.done, again.unchanged), (0, 3));
    let was = repaired(&bench, apply(repair(".was = $original.user.id"))).await;
    assert_eq!(was.done, 3);

    let letter = bench.held().await.remove(1);
    assert_eq!(
        letter.letter.event,
        r#"{"n":1,"user":{"id":"1"},"was":"u1"}"#
    );
    assert_eq!(letter.original, Some(conflict(1).event));
    assert_eq!(letter.revision, 2);
    let late = bench.store.file(vec![conflict(1)]).await.expect("filed");
    assert_eq!(late, [Filed::Known], "a late copy changes nothing");
    assert_eq!(bench.held().await[1], letter);
}

#[tokio::test]
async fn a_repair_that_cannot_be_done_changes_nothing() {
    let bench = Bench::with_letters(Kind::Disk, 10).await;
    let held = bench.held().await;
    for (expression, words) in [
        (None, "needs an expression"),
        (Some(".a = (".to_owned()), "parenthesis"),
        (
            Some("last(repeat(.))".to_owned()),
            "longer than 2 s, and so on 4 events; nothing of this was used. Make it cheaper, or leave these events out: id-0, id-1, id-2, id-3",
        ),
        (Some("def f: [f]; f".to_owned()), "recursion"),
    ] {
        let question = Question {
            expression,
            ..all()
        };
        let bad = bench.work.repair(&question).await;
        let Err(WorkError::Bad(why)) = bad else {
            panic!("{bad:?}");
        };
        assert!(why.contains(words), "{why}");
    }
    assert_eq!(bench.held().await, held);
}

#[tokio::test]
async fn a_hostile_event_hinders_the_repair_of_no_other() {
    let bench = Bench::new(Kind::Disk).await;
    let nested = "[".repeat(1 << 20);
    bench
        .file(vec![
            letter("deep", nested.clone()),
            letter("bytes", b"\xff\0\x1b[2J".to_vec()),
            letter("inside", format!(r#"{{"a":"{nested}"}}"#)),
            letter("surrogate", r#"{"a":"\ud800"}"#),
            letter("long", r#"{"a":"{\"x\":\"xxxxxxxxxx\"}"}"#),
            letter("script", r#"{"a":"{\"x\":\"<script>\\u001b[2J\"}"}"#),
        ])
        .await;
    let expression = ".a |= (fromjson | if .x == \"xxxxxxxxxx\" then .x * 1000 else . end)";
    let report = repaired(
        &bench,
        Question {
            apply: true,
            ..repair(expression)
        },
    )
    .await;
    assert_eq!((report.matched, report.done, report.failed), (6, 1, 5));
    let failed: Vec<_> = report.failures.iter().map(|f| f.id.as_str()).collect();
    assert_eq!(failed, ["deep", "bytes", "inside", "surrogate", "long"]);
    let json = serde_json::to_string(&report).expect("writes");
    assert!(!json.contains(char::is_control), "{json}");
    let letter = bench.held().await.remove(5);
    assert_eq!(letter.letter.event, r#"{"a":{"x":"<script>\u001b[2J"}}"#);
}

#[tokio::test]
async fn hostile_letters_are_shown_as_json_without_control_characters() {
    let bench = Bench::new(Kind::Disk).await;
    let told = DeadLetter {
        detail: "\u{1b}]0;owned\u{7}\n".into(),
        field: Some("\u{1b}[31m".into()),
        ..letter("\u{1b}[2J", b"\xff\xfe\0\x1b[2J\r\n".repeat(1000))
    };
    bench
        .file(vec![told, letter("deep", "{\"a\":".repeat(100_000))])
        .await;
    let page = bench
        .work
        .list(&Filter::default(), None, 10)
        .await
        .expect("listed");
    let shown = bench.work.show(None, "\u{1b}[2J").await.expect("read");
    let groups = bench.work.groups().await.expect("read");
    let deep = bench.work.show(Some(&queue()), "deep").await.expect("read");
    for json in [
        serde_json::to_string(&page).expect("writes"),
        serde_json::to_string(&groups).expect("writes"),
        shown[0].get().to_owned(),
        deep[0].get().to_owned(),
    ] {
        assert!(!json.contains(char::is_control), "{json}");
        serde_json::from_str::<Value>(&json).expect("JSON that is not too deep");
    }
    assert!(
        page.letters
            .iter()
            .all(|letter| letter.preview.chars().count() <= 200)
    );
    assert_eq!(
        bench.work.show(None, "nobody").await.expect("read").len(),
        0
    );
}

#[tokio::test]
async fn a_chunk_looks_at_so_many_letters_and_tells_where_to_go_on() {
    let bench = Bench::with_letters(Kind::Disk, 1200).await;
    let mut question = Question {
        filter: Filter {
            condition: Some(".n % 2 == 0".into()),
            ..Filter::default()
        },
        limit: Some(10_000),
        ..Question::default()
    };
    let first = bench.work.discard(&question).await.expect("counted");
    assert!(first.examined <= 500, "{first:?}");
    assert_eq!(
        (first.matched, first.done),
        (first.examined / 2, first.examined / 2)
    );
    question.limit = Some(7);
    question.after = first.next;
    let second = bench.work.discard(&question).await.expect("counted");
    assert_eq!(second.examined, 7);
    let (mut examined, mut matched) = (first.examined + 7, first.matched + second.matched);
    (question.limit, question.after) = (None, second.next);
    while question.after.is_some() {
        let report = bench.work.discard(&question).await.expect("counted");
        examined += report.examined;
        matched += report.matched;
        question.after = report.next;
    }
    assert_eq!((examined, matched), (1200, 600));
    assert_eq!(bench.books().held, 1200, "only counted");
}

#[tokio::test]
async fn what_is_discarded_is_booked_and_does_not_come_back() {
    let bench = Bench::with_letters(Kind::Disk, 4).await;
    let some = Question {
        filter: Filter {
            condition: Some(".n < 2".into()),
            ..Filter::default()
        },
        ..all()
    };
    let report = bench.work.discard(&some).await.expect("discarded");
    assert_eq!((report.examined, report.matched, report.done), (4, 2, 2));
    assert_eq!(bench.names().await, ["id-2", "id-3"]);
    assert_eq!(bench.books().discarded, 2);
    let late = bench.store.file(vec![conflict(0)]).await.expect("filed");
    assert_eq!(late, [Filed::Buried]);
}

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
async fn one_name_in_two_queues_is_two_letters() {
    let bench = Bench::with_letters(Kind::Disk, 1).await;
    let other = DeadLetter {
        queue: other_queue(),
        ..conflict(0)
    };
    bench.file(vec![other]).await;
    assert_eq!(bench.work.show(None, "id-0").await.expect("read").len(), 2);
    let shown = bench
        .work
        .show(Some(&other_queue()), "id-0")
        .await
        .expect("read");
    let shown: Value = serde_json::from_str(shown[0].get()).expect("JSON");
    assert_eq!(
        (&shown["queue"], &shown["event"]),
        (&json!("other"), &json!({"n": 0, "user": {"id": "u0"}}))
    );
    let one = Question {
        filter: Filter {
            id: Some("id-0".into()),
            queue: Some(queue()),
            ..Filter::default()
        },
        ..all()
    };
    assert_eq!(bench.work.discard(&one).await.expect("discarded").done, 1);
    assert_eq!(bench.held().await[0].letter.queue, other_queue());
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
