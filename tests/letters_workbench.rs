//! Looking at dead letters, repairing them, and throwing them away.

mod redis_spool_support;
mod redis_support;
mod workbench_support;

use serde_json::{Value, json};
use stashgate::batch::UnixMillis;
use stashgate::dead_letter::store::{Filed, MOST_GROUPS};
use stashgate::dead_letter::workbench::{Cursor, Filter, Question, WorkError};
use stashgate::dead_letter::{DeadLetter, Reason, Source, Unindexable};
use stashgate::event::RejectReason;
use workbench_support::*;

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

async fn a_field_is_found_also_where_it_has_no_group_of_its_own(kind: Kind) {
    let bench = Bench::new(kind).await;
    let long = "f".repeat(300);
    let fields = (0..MOST_GROUPS + 5).map(|n| format!("field_{n}"));
    let fields: Vec<_> = fields.chain([long.clone()]).collect();
    let letters = fields.iter().enumerate().map(|(n, field)| DeadLetter {
        field: Some(field.clone()),
        ..letter(&format!("id-{n}"), "{}")
    });
    let unnamed = DeadLetter {
        field: None,
        ..letter("unnamed", "{}")
    };
    bench.file(letters.chain([unnamed]).collect()).await;
    let last = MOST_GROUPS + 4;
    let of = |field: &str| Filter {
        field: Some(field.to_owned()),
        ..Filter::default()
    };
    for n in [0, last, last + 1] {
        let found = listed(&bench, of(&fields[n])).await;
        assert_eq!(found, [format!("id-{n}")]);
    }
    let others = listed(&bench, of("*")).await;
    assert_eq!(others.len(), 6, "{others:?}");
    let question = Question {
        filter: of(&fields[last]),
        ..all()
    };
    assert_eq!(bench.return_all(&question).await.done, 1);
    assert_eq!(bench.books().held, fields.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_is_found_where_its_group_is_full_on_the_disk() {
    a_field_is_found_also_where_it_has_no_group_of_its_own(Kind::Disk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_is_found_where_its_group_is_full_in_redis() {
    a_field_is_found_also_where_it_has_no_group_of_its_own(Kind::Redis).await;
}

#[tokio::test]
async fn a_repair_that_is_asked_for_again_is_not_made_twice() {
    let bench = Bench::new(Kind::Disk).await;
    let letters = (0..3).map(|n| letter(&format!("id-{n}"), r#"{"n":1}"#));
    bench.file(letters.collect()).await;
    let repair = |expression: &str| Question {
        apply: true,
        ..repair(expression)
    };
    let first = repaired(&bench, repair(".n += 1")).await;
    assert_eq!((first.done, first.unchanged), (3, 0));
    let again = repaired(&bench, repair(".n += 1")).await;
    assert_eq!((again.done, again.unchanged), (0, 3));
    let other = repaired(&bench, repair(".n += 5")).await;
    assert_eq!((other.done, other.unchanged), (3, 0));
    let held = bench.held().await;
    assert!(
        held.iter()
            .all(|letter| letter.letter.event == r#"{"n":7}"#)
    );
}
