//! Returning dead letters to their queue: what is sent, what stays, and that nothing is
//! lost whenever it ends. On the local disk, and in Redis.

mod redis_spool_support;
mod redis_support;
mod workbench_support;

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::Poll;

use stashgate::batch::UnixMillis;
use stashgate::dead_letter::DeadLetter;
use stashgate::dead_letter::store::Filed;
use stashgate::dead_letter::workbench::{Filter, Question, Report, WorkError};
use workbench_support::*;

async fn a_returned_event_has_its_old_id_and_the_next_attempt(kind: Kind) {
    let bench = Bench::new(kind).await;
    let dated = r#"{"@timestamp":"2026-11-22T00:00:00Z","a":1}"#;
    let own = r#"{"a": 1.0, "@metadata":{"_id":"own","attempt":7,"x":true}}"#;
    let without_id = DeadLetter {
        id: None,
        attempt: 2,
        ..letter("", r#"{"a":2}"#)
    };
    bench
        .file(vec![
            letter("first", dated),
            letter("second", own),
            without_id,
        ])
        .await;
    let hash = bench.names().await.remove(2);

    let dry = bench
        .work
        .return_(&Question::default())
        .await
        .expect("counted");
    assert_eq!((dry.matched, dry.done, dry.next), (3, 3, None));
    assert_eq!(bench.waiting(&queue()), 0, "only counted");

    let report = bench.return_all(&all()).await;
    assert_eq!((report.matched, report.done, report.failed), (3, 3, 0));
    let sent = bench.sent(&queue()).await;
    let accepted = UnixMillis(1_795_294_380_120).to_string();
    let expected = [
        serde_json::json!({"@metadata": {"_id": "first", "attempt": 2},
            "@timestamp": "2026-11-22T00:00:00Z", "a": 1}),
        serde_json::json!({"@metadata": {"_id": "own", "attempt": 2, "x": true,
            "accepted_at": accepted}, "a": 1.0}),
        serde_json::json!({"@metadata": {"_id": hash, "attempt": 3,
            "accepted_at": accepted}, "a": 2}),
    ];
    assert_eq!(sent, expected);
    assert_eq!(bench.names().await, Vec::<String>::new());
    let books = bench.books();
    assert_eq!((books.received, books.returned, books.held), (3, 3, 0));
    let stats = bench.spool.stats().remove(0);
    assert_eq!((stats.ledger.returned, stats.ledger.accepted), (3, 0));
}

async fn a_late_copy_of_a_returned_event_does_not_come_back_but_its_next_refusal_does(kind: Kind) {
    let bench = Bench::with_letters(kind, 1).await;
    bench.return_all(&all()).await;
    let late = bench.store.file(vec![conflict(0)]).await.expect("filed");
    assert_eq!(late, [Filed::Buried]);
    let again = DeadLetter {
        attempt: 2,
        ..conflict(0)
    };
    bench.file(vec![again]).await;
    assert_eq!(bench.held().await[0].letter.attempt, 2);
}

async fn what_would_be_rejected_again_stays_and_is_told(kind: Kind) {
    let bench = Bench::with_letters(kind, 1).await;
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_EVENT_BYTES));
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    bench
        .file(vec![
            letter("broken", r#"{"a":"#),
            letter("bytes", b"\xff\0\x1b[2J".to_vec()),
            letter("array", "[{}]"),
            letter("long", long),
            letter("deep", deep),
            letter("metadata", r#"{"@metadata":1}"#),
        ])
        .await;
    let report = bench.return_all(&all()).await;
    assert_eq!((report.matched, report.done, report.failed), (7, 1, 6));
    let told: Vec<_> = report.failures.iter().map(|f| f.id.as_str()).collect();
    let names = ["broken", "bytes", "array", "long", "deep", "metadata"];
    assert_eq!(told, names);
    let reasons = [
        "invalid_json",
        "invalid_utf8",
        "not_an_object",
        "too_large",
        "too_deep",
    ];
    for (failure, reason) in report.failures.iter().zip(reasons) {
        assert!(failure.why.contains(reason), "{failure:?}");
    }
    assert_eq!(bench.names().await, names);
    assert_eq!(bench.sent(&queue()).await.len(), 1);
    assert_eq!(bench.books().held, 6);
}

async fn parked_letters_stay_unless_they_are_asked_for(kind: Kind) {
    let bench = Bench::new(kind).await;
    let attempt = |n: u32, attempt| DeadLetter {
        attempt,
        ..conflict(n)
    };
    bench
        .file(vec![
            attempt(0, 2),
            attempt(1, 3),
            attempt(2, 3),
            attempt(3, 4),
        ])
        .await;
    let report = bench.return_all(&all()).await;
    assert_eq!((report.matched, report.done, report.parked), (4, 1, 3));
    let groups = bench.work.groups().await.expect("read");
    assert_eq!((groups[0].group.events, groups[0].parked), (3, 3));

    let by_name = Filter {
        id: Some("id-2".into()),
        ..Filter::default()
    };
    let report = bench
        .return_all(&Question {
            filter: by_name,
            ..all()
        })
        .await;
    assert_eq!((report.done, report.parked), (1, 0));
    assert_eq!(bench.names().await, ["id-1", "id-3"]);

    let parked = Filter {
        parked: Some(true),
        ..Filter::default()
    };
    let report = bench
        .return_all(&Question {
            filter: parked,
            ..all()
        })
        .await;
    assert_eq!((report.done, report.parked), (2, 0));
    let attempts = bench.sent(&queue()).await;
    let attempts: Vec<_> = attempts
        .iter()
        .map(|e| e["@metadata"]["attempt"].clone())
        .collect();
    assert_eq!(attempts, [3, 4, 4, 5]);
}

async fn letters_can_go_to_another_queue_that_is_there(kind: Kind) {
    let bench = Bench::with_letters(kind, 2).await;
    let gone = DeadLetter {
        queue: "gone".parse().expect("a name"),
        ..conflict(2)
    };
    bench.file(vec![gone]).await;
    let to = |to| Question {
        to_queue: Some(to),
        ..all()
    };
    let nowhere = bench
        .work
        .return_(&to("nowhere".parse().expect("a name")))
        .await;
    let Err(WorkError::Bad(why)) = nowhere else {
        panic!("{nowhere:?}");
    };
    assert!(
        why.contains("nowhere") && why.contains("logstash, other"),
        "{why}"
    );

    let own = bench.return_all(&Question::default()).await;
    assert_eq!((own.done, own.failed), (2, 1), "its own queue is gone");
    let report = bench.return_all(&to(other_queue())).await;
    assert_eq!((report.done, report.failed), (3, 0));
    assert_eq!(bench.sent(&other_queue()).await.len(), 3);
    assert_eq!(bench.waiting(&queue()), 0);
    let books = bench.books();
    assert_eq!((books.returned, books.sent_elsewhere), (0, 3));
}

async fn a_full_queue_is_told_and_every_letter_stays_or_is_sent(kind: Kind) {
    let bench = Bench::with_spool_of(kind, 60 << 10).await;
    // Nothing that could be compressed much.
    let letters = (0..200).map(|n| {
        let text: String = (0..1000).map(|_| fastrand::alphanumeric()).collect();
        letter(&format!("id-{n}"), format!(r#"{{"a":"{text}"}}"#))
    });
    bench.file(letters.collect()).await;
    let mut question = Question {
        limit: Some(50),
        ..all()
    };
    let first = bench.work.return_(&question).await.expect("there is room");
    assert_eq!(first.done, 50);
    question.after = first.next;
    let full = bench.work.return_(&question).await;
    assert!(matches!(full, Err(WorkError::Unavailable(_))), "{full:?}");
    assert_eq!(bench.books().held, 150);
    let mut known: BTreeSet<_> = bench.names().await.into_iter().collect();
    known.extend(bench.sent_ids().await.into_keys());
    assert_eq!(known.len(), 200);
}

async fn what_is_told_of_a_return_is_what_was_done_also_if_a_queue_is_full(kind: Kind) {
    let bench = Bench::with_spool_of(kind, 60 << 10).await;
    let long = |n: u32| {
        let text: String = (0..1800).map(|_| fastrand::alphanumeric()).collect();
        letter(&format!("id-{n}"), format!(r#"{{"a":"{text}"}}"#))
    };
    bench.file((1000..1040).map(long).collect()).await;
    assert_eq!(bench.return_all(&all()).await.done, 40, "now it is full");
    let letters = (0..200u32).map(|n| {
        let id = format!("id-{n}");
        match n % 4 {
            0 if n > 20 => long(n),
            1 => letter(&id, "no JSON"),
            2 => DeadLetter {
                attempt: MAX_ATTEMPTS,
                ..letter(&id, "{}")
            },
            _ => DeadLetter {
                queue: other_queue(),
                ..letter(&id, "{}")
            },
        }
    });
    bench.file(letters.collect()).await;
    let (mut sum, mut question) = (Report::default(), all());
    let full = loop {
        match bench.work.return_(&question).await {
            Ok(report) => {
                question.after = report.next;
                assert!(question.after.is_some(), "it is not through: {report:?}");
                add(&mut sum, &report);
            }
            Err(full) => break full,
        }
    };
    assert!(matches!(full, WorkError::Unavailable(_)), "{full}");
    let books = bench.books();
    assert_eq!(
        (sum.done, books.returned),
        (56, 40 + 56),
        "the other queue has room"
    );
    while question.after.is_some() {
        // Logstash takes what was waiting.
        bench.sent(&queue()).await;
        question.limit = Some(30);
        let report = bench.work.return_(&question).await.expect("there is room");
        add(&mut sum, &report);
        question.after = report.next;
    }
    // Each of them was counted once.
    let told = (sum.examined, sum.matched, sum.done, sum.failed, sum.parked);
    assert_eq!(told, (200, 200, 100, 50, 50));
    assert_eq!(bench.books().held, 100);
}

/// Drops a return at each of its points of waiting in turn.
async fn a_return_that_ends_anywhere_loses_nothing(kind: Kind) {
    const LETTERS: u32 = 20;
    for polls in 1.. {
        let bench = Bench::with_letters(kind, LETTERS).await;
        let question = all();
        let ended = {
            let mut work = pin!(bench.work.return_(&question));
            let mut left = polls;
            std::future::poll_fn(|context| match work.as_mut().poll(context) {
                Poll::Ready(report) => Poll::Ready(Some(report.expect("returned"))),
                Poll::Pending => {
                    left -= 1;
                    match left {
                        0 => Poll::Ready(None),
                        _ => Poll::Pending,
                    }
                }
            })
            .await
        };
        let sent = bench.sent_ids().await;
        let held: BTreeSet<_> = bench.names().await.into_iter().collect();
        let both = held.iter().filter(|id| sent.contains_key(*id)).count();
        assert_eq!(
            held.len() + sent.len() - both,
            LETTERS as usize,
            "after {polls} polls"
        );
        // What was begun may still come to its end.
        bench.return_all(&all()).await;
        assert_eq!(bench.names().await, Vec::<String>::new());
        let again = bench.sent_ids().await;
        let known: BTreeSet<_> = sent.keys().chain(again.keys()).collect();
        assert_eq!(known.len(), LETTERS as usize);
        // A settling whose return was dropped tells nobody when it is done.
        while bench.books().returned < u64::from(LETTERS) {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.books().returned, u64::from(LETTERS));
        if ended.is_some() {
            break;
        }
    }
}

async fn a_return_that_ends_between_append_and_settling_sends_each_event_twice_at_most(kind: Kind) {
    const LETTERS: u32 = 20;
    let ids: Vec<_> = (0..LETTERS).map(|n| format!("id-{n}")).collect();
    let mut tries = 0..100;
    let bench = loop {
        tries.next().expect("never between append and settling");
        let bench = Bench::with_letters(kind, LETTERS).await;
        let question = all();
        let mut work = Box::pin(bench.work.return_(&question));
        // Ends when the append is done, and mostly before the return is told of it.
        std::future::poll_fn(|context| match bench.waiting(&queue()) {
            0 => work.as_mut().poll(context).map(drop),
            _ => Poll::Ready(()),
        })
        .await;
        drop(work);
        if bench.names().await == ids {
            break bench;
        }
    };
    bench.return_all(&all()).await;
    let twice = ids.into_iter().map(|id| (id, 2)).collect();
    assert_eq!(bench.sent_ids().await, twice);
    assert_eq!(bench.books().returned, u64::from(LETTERS));
    assert_eq!(bench.held().await, []);
}

async fn two_who_return_the_same_letters_lose_none_and_book_each_once(kind: Kind) {
    const LETTERS: u32 = 1000;
    let bench = Bench::with_letters(kind, LETTERS).await;
    let small = Question {
        limit: Some(70),
        ..all()
    };
    let (one, other) = tokio::join!(bench.return_all(&small), bench.return_all(&small));
    assert_eq!(one.done + other.done, u64::from(LETTERS));
    let sent = bench.sent_ids().await;
    assert_eq!(sent.len(), LETTERS as usize);
    assert!(sent.values().all(|times| *times <= 2));
    assert_eq!(bench.books().returned, u64::from(LETTERS));
    assert_eq!(bench.held().await, []);
}

async fn one_who_repairs_and_one_who_returns_leave_no_repair_behind(kind: Kind) {
    const LETTERS: u32 = 1000;
    let bench = Bench::with_letters(kind, LETTERS).await;
    let repair = async {
        let mut question = Question {
            expression: Some(".user.id |= ltrimstr(\"u\")".into()),
            limit: Some(90),
            ..all()
        };
        loop {
            let report = bench.work.repair(&question).await.expect("repaired");
            question.after = report.next;
            if question.after.is_none() {
                return;
            }
        }
    };
    let small = Question {
        limit: Some(70),
        ..all()
    };
    tokio::join!(repair, bench.return_all(&small));
    // A letter that was repaired while it was sent is still held, repaired.
    let held = bench.held().await;
    assert!(held.iter().all(|letter| letter.revision == 1), "{held:?}");
    let sent = bench.sent_ids().await;
    let mut known: BTreeSet<_> = held.into_iter().map(|letter| letter.name).collect();
    known.extend(sent.into_keys());
    assert_eq!(known.len(), LETTERS as usize);
    bench.return_all(&all()).await;
    assert_eq!(bench.books().returned, u64::from(LETTERS));
}

/// An event that is refused for ever must not be met again by the return that sent it.
async fn what_comes_back_during_a_return_is_left_for_the_next_one(kind: Kind) {
    const LETTERS: u32 = 100;
    let bench = Bench::with_letters(kind, LETTERS).await;
    let mut question = Question {
        limit: Some(7),
        ..all()
    };
    let mut done = 0;
    loop {
        let report = bench.work.return_(&question).await.expect("returned");
        done += report.done;
        for event in bench.sent(&queue()).await {
            let attempt = event["@metadata"]["attempt"].as_u64().expect("a number");
            let refused = DeadLetter {
                id: Some(event["@metadata"]["_id"].as_str().expect("an id").into()),
                attempt: attempt as u32,
                event: event.to_string().into(),
                ..conflict(0)
            };
            bench.file(vec![refused]).await;
        }
        question.after = report.next;
        if question.after.is_none() {
            break;
        }
    }
    assert_eq!(done, u64::from(LETTERS));
    let held = bench.held().await;
    assert_eq!(held.len(), LETTERS as usize);
    assert!(held.iter().all(|letter| letter.letter.attempt == 2));
    // And it ends: the third refusal parks it.
    for (attempt, done) in [(3, u64::from(LETTERS)), (3, 0)] {
        let report = bench.return_all(&all()).await;
        assert_eq!(report.done, done);
        for (n, _) in (0..).zip(bench.sent(&queue()).await) {
            bench
                .file(vec![DeadLetter {
                    attempt,
                    ..conflict(n)
                }])
                .await;
        }
    }
    assert_eq!(bench.held().await.len(), LETTERS as usize);
}

/// An attempt above it has no number: the tombstone of this one would swallow its refusal.
async fn the_highest_attempt_stays_and_is_told(kind: Kind) {
    let bench = Bench::new(kind).await;
    let last = DeadLetter {
        attempt: u32::MAX,
        ..conflict(0)
    };
    bench.file(vec![last]).await;
    let question = Question {
        filter: Filter {
            id: Some("id-0".into()),
            ..Filter::default()
        },
        ..all()
    };
    let report = bench.return_all(&question).await;
    assert_eq!((report.done, report.failed), (0, 1));
    assert!(report.failures[0].why.contains("`attempt`"), "{report:?}");
    assert_eq!(bench.waiting(&queue()), 0);
    assert_eq!(bench.names().await, ["id-0"]);
}

macro_rules! on_both {
    ($($test:ident)*) => {
        mod on_the_disk {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test(super::Kind::Disk).await;
            })*
        }
        mod in_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                super::$test(super::Kind::Redis).await;
            })*
        }
    };
}

on_both! {
    a_returned_event_has_its_old_id_and_the_next_attempt
    a_late_copy_of_a_returned_event_does_not_come_back_but_its_next_refusal_does
    what_would_be_rejected_again_stays_and_is_told
    parked_letters_stay_unless_they_are_asked_for
    letters_can_go_to_another_queue_that_is_there
    a_full_queue_is_told_and_every_letter_stays_or_is_sent
    what_is_told_of_a_return_is_what_was_done_also_if_a_queue_is_full
    a_return_that_ends_anywhere_loses_nothing
    a_return_that_ends_between_append_and_settling_sends_each_event_twice_at_most
    two_who_return_the_same_letters_lose_none_and_book_each_once
    one_who_repairs_and_one_who_returns_leave_no_repair_behind
    what_comes_back_during_a_return_is_left_for_the_next_one
    the_highest_attempt_stays_and_is_told
}
