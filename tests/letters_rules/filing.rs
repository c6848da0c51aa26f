//! What is filed: known, buried, beside, or in the place of another.

use std::collections::BTreeSet;

use bytes::Bytes;
use stashgate::batch::UnixMillis;
use stashgate::dead_letter::store::{Fate, Filed, Options};
use stashgate::dead_letter::{DeadLetter, Place, Source};

use super::Maker;
use crate::letters_support::*;

pub(crate) async fn a_letter_is_read_as_it_was_filed(maker: &impl Maker) {
    let store = maker.usual().await;
    let odd = DeadLetter {
        event: Bytes::from_static(b"\xff\0{\"a\n"),
        id: None,
        source: Source::Tcp,
        ..refused(2)
    };
    file(&store, [refused(1), odd.clone()]).await;
    let letters = held(&store).await;
    assert_eq!(letters[0].letter, refused(1));
    assert_eq!(letters[0].name, "id-1");
    assert_eq!((letters[0].times, letters[0].revision), (1, 0));
    assert_eq!(letters[0].first_at, refused(1).at);
    assert_eq!(letters[0].original, None);
    assert_eq!(letters[1].letter, odd);
    // xxh3-128 of the event, in hexadecimal digits.
    assert_eq!(letters[1].name, format!("{:032x}", letters[1].content));
}

pub(crate) async fn numbers_are_the_order_and_the_time_of_filing(maker: &impl Maker) {
    let store = maker.usual().await;
    let before = UnixMillis::now();
    for n in 0..5 {
        file(&store, (n * 100..n * 100 + 100).map(refused)).await;
    }
    let letters = held(&store).await;
    let ids: Vec<_> = letters.iter().map(|letter| letter.name.clone()).collect();
    let expected: Vec<_> = (0..500).map(|n| format!("id-{n}")).collect();
    assert_eq!(ids, expected);
    for pair in letters.windows(2) {
        assert!(pair[0].number < pair[1].number);
    }
    let after = UnixMillis::now();
    assert!(
        letters
            .iter()
            .all(|l| before <= l.filed_at() && l.filed_at() <= after)
    );
}

pub(crate) async fn a_number_is_never_given_twice(maker: &impl Maker) {
    let store = maker.usual().await;
    let mut seen = BTreeSet::new();
    for n in 0..20 {
        file(&store, [refused(n)]).await;
        assert!(seen.insert(the(&store, &format!("id-{n}")).await.number));
        settle(&store, &format!("id-{n}"), Fate::Discarded).await;
    }
}

pub(crate) async fn the_same_refusal_again_is_known(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, [refused(1)]).await;
    let first = the(&store, "id-1").await;
    let again = filed(&store, [refused(1), refused(1)]).await;
    assert_eq!(again, [Filed::Known, Filed::Known]);
    assert_eq!(the(&store, "id-1").await, first, "nothing changed");
    assert_eq!(logstash(&store).received, 1);
}

pub(crate) async fn a_later_refusal_of_the_same_counts_times(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, [refused(1)]).await;
    let first = the(&store, "id-1").await;
    let later = |ms| DeadLetter {
        at: UnixMillis(refused(1).at.0 + ms),
        ..refused(1)
    };
    assert_eq!(
        filed(&store, [later(10), later(5)]).await,
        [Filed::Known; 2]
    );
    let letter = the(&store, "id-1").await;
    assert_eq!((letter.times, letter.letter.at), (2, later(10).at));
    assert_eq!(
        (letter.first_at, letter.number),
        (first.first_at, first.number)
    );
    let group = &groups(&store).await[0];
    assert_eq!((group.events, group.bytes), (1, logstash(&store).bytes));
}

pub(crate) async fn what_was_settled_is_buried(maker: &impl Maker) {
    for fate in [Fate::Returned, Fate::SentElsewhere, Fate::Discarded] {
        let store = maker.usual().await;
        file(&store, [refused(1), refused(2)]).await;
        settle(&store, "id-1", fate).await;
        assert_eq!(filed(&store, [refused(1)]).await, [Filed::Buried]);
        assert_eq!(names(&store).await, ["id-2"]);
        // Another queue's, another attempt, other bytes: not the same.
        let elsewhere = DeadLetter {
            queue: queue("other"),
            ..refused(1)
        };
        file(&store, [elsewhere, attempt(1, 2), other(1, 1)]).await;
    }
}

pub(crate) async fn a_letter_without_an_id_is_known_by_its_bytes(maker: &impl Maker) {
    let store = maker.usual().await;
    let nameless = |n| DeadLetter {
        id: None,
        ..refused(n)
    };
    file(&store, [nameless(1), nameless(2)]).await;
    assert_eq!(filed(&store, [nameless(1)]).await, [Filed::Known]);
    let name = names(&store).await[0].clone();
    settle(&store, &name, Fate::Discarded).await;
    assert_eq!(filed(&store, [nameless(1)]).await, [Filed::Buried]);
}

pub(crate) async fn another_event_of_the_same_id_is_kept_beside(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, [refused(1), other(1, 1), other(1, 2)]).await;
    let letters = held(&store).await;
    let expected = letters[1..].iter().map(|letter| {
        let digits = format!("{:032x}", letter.content);
        format!("id-1~{}", &digits[..8])
    });
    let expected: Vec<_> = expected.collect();
    assert_eq!(names(&store).await[1..], expected);
    for n in 0..3 {
        let again = [refused(1), other(1, 1), other(1, 2)][n].clone();
        assert_eq!(filed(&store, [again]).await, [Filed::Known]);
    }
    // Also when the first of them is gone.
    settle(&store, "id-1", Fate::Discarded).await;
    assert_eq!(filed(&store, [other(1, 1)]).await, [Filed::Known]);
    settle(&store, &expected[0], Fate::Discarded).await;
    assert_eq!(filed(&store, [other(1, 1)]).await, [Filed::Buried]);
    assert_eq!(names(&store).await, expected[1..]);
}

pub(crate) async fn a_later_attempt_takes_the_place_of_an_earlier(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, [refused(1), refused(2)]).await;
    file(&store, [attempt(1, 2)]).await;
    assert_eq!(names(&store).await, ["id-2", "id-1"]);
    assert_eq!(the(&store, "id-1").await.letter, attempt(1, 2));
    let books = logstash(&store);
    assert_eq!((books.received, books.held, books.returned), (3, 2, 1));
    assert_eq!(filed(&store, [refused(1)]).await, [Filed::Buried]);
}

pub(crate) async fn an_earlier_attempt_does_not_push_out_a_later(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, [attempt(1, 2)]).await;
    file(&store, [refused(1)]).await;
    assert_eq!(the(&store, "id-1").await.letter, attempt(1, 2));
    assert_eq!(held(&store).await.len(), 2);
    // The same bytes are held already.
    let before = held(&store).await;
    let earlier = DeadLetter {
        attempt: 1,
        at: UnixMillis(u64::MAX),
        ..attempt(1, 2)
    };
    assert_eq!(filed(&store, [earlier]).await, [Filed::Known]);
    assert_eq!(held(&store).await, before);
}

/// Two events under one id: the later attempt may be of either, so neither is dropped.
pub(crate) async fn a_later_attempt_under_a_shared_id_pushes_out_nothing(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, [refused(1), other(1, 1)]).await;
    let beside = names(&store).await[1].clone();
    settle(&store, &beside, Fate::Returned).await;
    let second = DeadLetter {
        attempt: 2,
        ..other(1, 1)
    };
    file(&store, [second.clone()]).await;
    assert_eq!(the(&store, "id-1").await.letter, refused(1));
    // Its name is longer; it is the same event for all to see, so there the rule holds.
    let third = DeadLetter {
        attempt: 3,
        ..other(1, 1)
    };
    file(&store, [third.clone()]).await;
    assert_eq!(names(&store).await, ["id-1", beside.as_str()]);
    assert_eq!(the(&store, &beside).await.letter, third);
}

/// The event that has the id's own name was refused once more, and has it again.
pub(crate) async fn an_id_stays_shared_when_its_own_name_goes_to_a_later_attempt(
    maker: &impl Maker,
) {
    let store = maker.usual().await;
    let second = DeadLetter {
        attempt: 2,
        ..refused(1)
    };
    file(&store, [refused(1), other(1, 1), second.clone()]).await;
    assert_eq!(the(&store, "id-1").await.letter, second);
    file(&store, [attempt(1, 3)]).await;
    let letters = held(&store).await.into_iter();
    let letters: Vec<_> = letters.map(|letter| letter.letter).collect();
    assert_eq!(letters, [other(1, 1), second, attempt(1, 3)]);
}

pub(crate) async fn a_full_place_does_not_take_the_room_of_another(maker: &impl Maker) {
    let store = maker
        .make(Options {
            max_bytes: 2000,
            ..options()
        })
        .await;
    let outcomes = filed(&store, (0..20).map(refused)).await;
    let kept = outcomes
        .iter()
        .filter(|filed| **filed == Filed::Kept)
        .count();
    assert!((2..10).contains(&kept), "{outcomes:?}");
    assert_eq!(outcomes[kept..], vec![Filed::Full; 20 - kept]);
    let books = logstash(&store);
    assert!(books.bytes <= 2000 && books.bytes > 1000, "{books:?}");
    assert_eq!((books.received, books.held), (kept as u64, kept as u64));
    assert_eq!(store.summary().full, [Place::Logstash].into());

    // What is known or buried needs no room.
    assert_eq!(filed(&store, [refused(0)]).await, [Filed::Known]);
    let from_tcp = DeadLetter {
        source: Source::Tcp,
        ..refused(100)
    };
    file(&store, [from_tcp]).await;
    settle(&store, "id-0", Fate::Discarded).await;
    assert_eq!(store.summary().full, [].into());
    assert_eq!(filed(&store, [refused(0)]).await, [Filed::Buried]);
    file(&store, [refused(19)]).await;
}

pub(crate) async fn ids_made_to_look_like_longer_names_hide_nothing(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, [refused(1), other(1, 1)]).await;
    let taken = names(&store).await[1].clone();
    let like = DeadLetter {
        id: Some(taken.clone()),
        ..refused(7)
    };
    file(&store, [like.clone()]).await;
    assert_eq!(held(&store).await.len(), 3);
    assert_eq!(filed(&store, [like]).await, [Filed::Known]);
    assert_eq!(the(&store, &taken).await.letter, other(1, 1));
    let all: BTreeSet<_> = names(&store).await.into_iter().collect();
    assert_eq!(all.len(), 3, "each has a name of its own: {all:?}");
}

pub(crate) async fn nothing_is_no_change(maker: &impl Maker) {
    let store = maker.usual().await;
    assert_eq!(filed(&store, []).await, []);
    assert_eq!(store.settle(&[], Fate::Discarded).await, Ok(0));
    assert_eq!(store.rewrite(vec![]).await, Ok(0));
    assert_eq!(store.restore(vec![]).await, Ok(vec![]));
    assert_eq!(store.read(&[]).await, Ok(vec![]));
    assert_eq!(store.groups().await, Ok(vec![]));
    assert_eq!(find(&store, "").await, None);
}

/// A client reuses its ids: while one event is on its way again, another is refused.
pub(crate) async fn a_later_attempt_that_was_returned_pushes_out_no_other_event(
    maker: &impl Maker,
) {
    let store = maker.make(options()).await;
    file(&store, [refused(1)]).await;
    settle(&store, "id-1", Fate::Returned).await;
    file(&store, [other(1, 1)]).await;
    file(&store, [attempt(1, 2)]).await;
    let letters = held(&store).await;
    let events: Vec<_> = letters.iter().map(|l| &l.letter.event).collect();
    assert_eq!(events, [&other(1, 1).event, &attempt(1, 2).event]);
    assert_eq!(logstash(&store).returned, 1);
}

/// It is on its way again all the same: sent to another queue whose refusals come to this one,
/// sent from a file, or what settled it after it was sent did not come to its end.
pub(crate) async fn a_later_attempt_of_what_left_otherwise_pushes_out_no_other_event(
    maker: &impl Maker,
) {
    for fate in [Fate::SentElsewhere, Fate::Discarded] {
        let store = maker.make(options()).await;
        file(&store, [refused(1)]).await;
        settle(&store, "id-1", fate).await;
        file(&store, [other(1, 1)]).await;
        file(&store, [attempt(1, 2)]).await;
        let letters = held(&store).await;
        let events: Vec<_> = letters.iter().map(|l| &l.letter.event).collect();
        assert_eq!(
            events,
            [&other(1, 1).event, &attempt(1, 2).event],
            "{fate:?}"
        );
    }
}

/// The pipeline for dead letters brings what was refused to one queue, wherever it was sent.
pub(crate) async fn a_later_attempt_from_another_queue_pushes_out_no_other_event(
    maker: &impl Maker,
) {
    let store = maker.make(options()).await;
    let elsewhere = DeadLetter {
        queue: queue("other"),
        ..refused(1)
    };
    file(&store, [elsewhere]).await;
    let handle = held(&store).await[0].handle();
    assert_eq!(store.settle(&[handle], Fate::Returned).await, Ok(1));
    file(&store, [other(1, 1)]).await;
    file(&store, [attempt(1, 2)]).await;
    let letters = held(&store).await;
    let events: Vec<_> = letters.iter().map(|l| &l.letter.event).collect();
    assert_eq!(events, [&other(1, 1).event, &attempt(1, 2).event]);
}

/// Somebody repaired it while it was on its way again as it was.
pub(crate) async fn a_later_attempt_leaves_one_that_was_repaired(maker: &impl Maker) {
    let same = |n, attempt| DeadLetter {
        attempt,
        ..refused(n)
    };
    let store = maker.usual().await;
    file(&store, [refused(1), refused(2)]).await;
    for name in ["id-1", "id-2"] {
        let handle = the(&store, name).await.handle();
        let repair = vec![(handle, Bytes::from_static(b"{\"repaired\":1}"))];
        assert_eq!(store.rewrite(repair).await, Ok(1));
    }
    // One comes back with other bytes, one with the same.
    file(&store, [attempt(1, 2), same(2, 2)]).await;
    for name in ["id-1", "id-2"] {
        let letter = the(&store, name).await;
        assert_eq!(letter.letter.event, "{\"repaired\":1}");
        assert_eq!((letter.letter.attempt, letter.revision), (1, 1));
    }
    let beside = held(&store).await.split_off(2);
    assert_eq!(beside[0].letter, attempt(1, 2));
    assert_eq!(beside[1].letter, same(2, 2));
    let known = [refused(1), attempt(1, 2), refused(2), same(2, 2)];
    assert_eq!(filed(&store, known).await, [Filed::Known; 4]);
    settle(&store, "id-1", Fate::Returned).await;
    settle(&store, "id-2", Fate::Returned).await;
    let known = [refused(1), attempt(1, 2), refused(2), same(2, 2)];
    use Filed::{Buried, Known};
    assert_eq!(filed(&store, known).await, [Buried, Known, Buried, Known]);
    assert_eq!(logstash(&store).returned, 2);
}

/// One that is repaired each time while it is on its way as it was, beside another event.
pub(crate) async fn attempts_that_stay_beside_each_other_are_known_again(maker: &impl Maker) {
    let store = maker.usual().await;
    let same = |attempt| DeadLetter {
        attempt,
        ..refused(1)
    };
    file(&store, [other(1, 1)]).await;
    for attempt in 1..4 {
        file(&store, [same(attempt)]).await;
        let handle = held(&store).await.pop().expect("held").handle();
        let repair = vec![(handle, Bytes::from_static(b"{\"repaired\":1}"))];
        assert_eq!(store.rewrite(repair).await, Ok(1));
    }
    for attempt in 1..4 {
        assert_eq!(filed(&store, [same(attempt)]).await, [Filed::Known]);
    }
    assert_eq!(held(&store).await.len(), 4);
}

pub(crate) async fn what_comes_from_a_file_pushes_out_no_other_event(maker: &impl Maker) {
    let store = maker.make(options()).await;
    file(&store, [attempt(1, 2)]).await;
    let exported = held(&store).await;
    settle(&store, "id-1", Fate::SentElsewhere).await;
    file(&store, [other(1, 1)]).await;
    let restored = store.restore(exported).await.expect("restored");
    assert_eq!(restored, [Filed::Kept]);
    let letters = held(&store).await;
    let events: Vec<_> = letters.iter().map(|l| &l.letter.event).collect();
    assert_eq!(events, [&other(1, 1).event, &attempt(1, 2).event]);
}

/// The inbox took it, since there it is a little shorter; nothing behind it would be filed.
pub(crate) async fn a_letter_as_long_as_the_budget_is_filed_alone(maker: &impl Maker) {
    let options = Options {
        max_bytes: 2000,
        ..options()
    };
    let store = maker.make(options).await;
    let long = DeadLetter {
        event: Bytes::from(vec![b'x'; 2000]),
        ..refused(1)
    };
    assert_eq!(filed(&store, [long]).await, [Filed::Kept]);
    assert_eq!(filed(&store, [refused(2)]).await, [Filed::Full]);
    settle(&store, "id-1", Fate::Discarded).await;
    assert_eq!(filed(&store, [refused(2)]).await, [Filed::Kept]);
}
