use super::*;
use crate::batch::{Batch, Timestamps};
use crate::record::{Place, encode_header};
use crate::spool::redis::held::Part;

fn accepted(events: u64) -> Ledger {
    Ledger {
        accepted: events,
        ..Ledger::default()
    }
}

fn held(number: u64, events: u32) -> Held {
    let batch = Batch {
        id: BatchId::new(format!("b{number}").as_bytes()).expect("valid"),
        accepted_at: UnixMillis(number),
        events,
        payload: "{}\n".into(),
        payload_hash: number,
        rejected: Box::default(),
        own_metadata: false,
        foreign: false,
        timestamps: Timestamps::default(),
        origin: crate::batch::Origin::Accepted,
    };
    let header = encode_header(&batch, Place::default(), &mut Vec::new());
    let part = Part {
        number,
        counted: u64::from(events),
        bytes: 100,
    };
    Held {
        parts: [part].into(),
        header: header.into(),
        content: None,
        attempts: 0,
        rejects: Arc::default(),
        refused: 0,
    }
}

fn sorted(batches: Vec<Held>) -> Sorted {
    let mut sorted = Sorted::read([], Vec::new(), 1 << 20);
    sorted.batches = batches;
    sorted
}

/// Books after so many flushes of one batch of 10 events, of which some are leased.
fn books(appends: u64, leased: i64) -> Books {
    let waiting = appends as i64 - leased;
    Books {
        appends,
        ledger: Ledger {
            accepted: appends * 10,
            ..Ledger::default()
        },
        waiting_events: waiting * 10,
        waiting_batches: waiting,
        waiting_bytes: waiting * 100,
        leased_events: leased * 10,
        leased_batches: leased,
        leased_bytes: leased * 100,
        length: waiting as u64,
        ..Books::default()
    }
}

/// Ours is the holder `a`, which fetched batches 1 to 3 of 5.
fn state() -> State {
    let mut state = State::default();
    state.registered("a".into(), books(5, 0));
    assert_eq!(state.reserve(3), 1);
    let sorted = sorted(vec![held(1, 10), held(2, 10), held(3, 10)]);
    state.fetched("a", sorted, books(5, 3));
    state
}

fn unaccounted(state: &State) -> i64 {
    let view = state.view();
    let (waiting, leased) = (view.waiting_events, view.leased_events);
    view.ledger.unaccounted(waiting, leased)
}

#[test]
fn what_is_fetched_and_not_handed_out_waits() {
    let mut state = state();
    assert_eq!(state.view().waiting_events, 50);
    state.take().expect("a batch");
    let view = state.view();
    assert_eq!((view.waiting_events, view.leased_events), (40, 10));
    assert_eq!(view.leased_batches, 1);
}

#[test]
fn an_ack_is_in_the_books_at_once_and_once() {
    let mut state = state();
    state.take().expect("a batch");
    assert!(state.settle(1, Outcome::Settled { dead_letters: 4 }));
    let before = state.view();
    assert_eq!(
        (before.ledger.confirmed, before.ledger.dead_letters),
        (6, 4)
    );
    let told = state.settlements(10);
    let mut after = books(5, 2);
    after.ledger.confirmed = 6;
    after.ledger.dead_letters = 4;
    after.waiting_events = 20;
    after.waiting_batches = 2;
    after.length = 2;
    state.settled(&told, after);
    assert_eq!(state.view().ledger, before.ledger);
    assert_eq!(unaccounted(&state), 0);
    assert!(!state.has_settlements());
}

#[test]
fn an_append_counts_once_whichever_answer_comes_first() {
    let append = |at| Appended {
        at,
        came: accepted(10),
        bytes: 100,
    };
    let mut state = state();
    state.appended(append(6));
    assert_eq!(state.view().ledger.accepted, 60);
    state.apply(books(6, 3));
    assert_eq!(state.view().ledger.accepted, 60);
    state.apply(books(7, 3));
    state.appended(append(7));
    assert_eq!(state.view().ledger.accepted, 70);
    assert_eq!(state.waiting_bytes(), 400);
    assert_eq!(unaccounted(&state), 0);
}

#[test]
fn appends_without_news_of_the_books_take_no_more_memory_and_are_all_counted() {
    let mut state = state();
    let before = state.waiting_bytes();
    for at in 6..=10_005 {
        state.appended(Appended {
            at,
            came: accepted(10),
            bytes: 100,
        });
    }
    assert_eq!(state.waiting_bytes(), before + 1_000_000);
    assert!(state.appended.len() <= APART, "{}", state.appended.len());
    state.ask();
    state.apply(books(10_005, 3));
    assert_eq!(state.view().ledger.accepted, 100_050);
    assert_eq!((unaccounted(&state), state.appended.len()), (0, 0));
}

#[test]
fn a_retired_holder_settles_nothing_and_the_next_one_has_other_numbers() {
    let mut state = state();
    state.take().expect("a batch");
    assert_eq!(state.retire("b"), 0, "somebody else");
    assert_eq!(state.retire("a"), 1);
    assert!(!state.settle(1, Outcome::Settled { dead_letters: 0 }));
    assert!(state.take().is_none());
    assert_eq!(state.former(), Some(&"a".to_owned()));
    state.forget_former("a", books(5, 0));
    state.registered("b".into(), books(5, 0));
    assert_eq!(state.reserve(1), 4);
    assert_eq!(unaccounted(&state), 0);
}

#[test]
fn what_was_fetched_for_a_holder_that_is_retired_is_not_taken() {
    let mut state = state();
    state.retire("a");
    let sorted = sorted(vec![held(9, 10)]);
    state.fetched("a", sorted, books(5, 4));
    assert!(state.take().is_none());
}

#[test]
fn a_holder_finds_on_a_new_connection_what_it_has_and_what_it_never_got() {
    let mut state = state();
    state.take().expect("a batch");
    assert!(state.settle(1, Outcome::Settled { dead_letters: 0 }));
    // The ack was done, and its answer lost; 4 was leased, and its answer lost.
    let resumed = state.resume(&[2, 3, 4], books(5, 3));
    assert_eq!(resumed, Resumed::With(vec![4]));
    assert!(!state.has_settlements());
    assert_eq!(state.resume(&[2], books(5, 1)), Resumed::Other);
}

#[test]
fn a_requeued_batch_comes_before_later_ones_and_remembers_its_attempts() {
    let mut state = state();
    state.take().expect("a batch");
    state.take().expect("a batch");
    assert!(state.settle(1, Outcome::Unknown));
    let again = state.take().expect("a batch");
    assert_eq!((again.number(), again.attempts), (1, 1));
    assert!(state.settle(1, Outcome::Returned));
    let later = Instant::now() + Duration::from_secs(2);
    let mut given_back = state.withdraw_idle(later, Duration::from_secs(1));
    given_back.sort_unstable();
    assert_eq!(given_back, [1, 3]);
    let sorted = sorted(vec![Held {
        header: held(1, 10).header,
        ..held(7, 10)
    }]);
    state.fetched("a", sorted, books(5, 2));
    let again = state.take().expect("a batch");
    assert_eq!((again.number(), again.attempts), (7, 1));
}

#[test]
fn books_of_an_older_redis_are_believed_and_reported() {
    let mut state = state();
    let append = Appended {
        at: 9,
        came: accepted(10),
        bytes: 100,
    };
    state.appended(append);
    state.ask();
    state.apply(books(4, 3));
    assert_eq!(state.view().ledger.accepted, 40);
    let told = state
        .set_back()
        .map(|back| (back.appends_before, back.appends_after));
    assert_eq!((told, state.set_back()), (Some((9, 4)), None));
}

#[test]
fn an_append_that_was_answered_after_the_question_is_not_forgotten() {
    let mut state = state();
    state.ask();
    let append = Appended {
        at: 9,
        came: accepted(10),
        bytes: 100,
    };
    state.appended(append);
    state.apply(books(5, 3));
    assert_eq!(state.view().ledger.accepted, 60);
    assert_eq!(state.set_back(), None);
}
