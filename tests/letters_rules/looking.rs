//! What a person finds: letters, groups, lists.

use bytes::Bytes;
use stashgate::dead_letter::store::{Fate, MOST_GROUPS, Order, Selection, Span};
use stashgate::dead_letter::{DeadLetter, Reason, Source, Unindexable};

use super::Maker;
use crate::letters_support::{self, *};

pub(crate) async fn a_name_leads_to_the_letter_of_its_queue(maker: &impl Maker) {
    let store = maker.usual().await;
    let elsewhere = DeadLetter {
        queue: queue("other"),
        event: Bytes::from_static(b"{}"),
        ..refused(1)
    };
    file(&store, [refused(1), elsewhere.clone()]).await;
    assert_eq!(the(&store, "id-1").await.letter, refused(1));
    let number = store.find(&queue("other"), "id-1").await.expect("finds");
    let letters = store.read(&[number.expect("found")]).await.expect("reads");
    assert_eq!(letters[0].letter, elsewhere);
    assert_eq!(find(&store, "id-2").await, None);
    assert_eq!(store.find(&queue("none"), "id-1").await, Ok(None));
}

pub(crate) async fn what_is_gone_is_left_out(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, (0..3).map(refused)).await;
    let letters = held(&store).await;
    settle(&store, "id-1", Fate::Discarded).await;
    let numbers: Vec<_> = letters.iter().rev().map(|letter| letter.number).collect();
    let read = store.read(&numbers).await.expect("reads");
    assert_eq!(read, [letters[2].clone(), letters[0].clone()]);
    assert_eq!(find(&store, "id-1").await, None);
}

pub(crate) async fn groups_are_kept_up_with_each_change(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, [refused(1), attempt(2, 2), with_field(3, None)]).await;
    let missing = DeadLetter {
        reason: Reason::Unindexable(Unindexable::IndexMissing),
        ..refused(4)
    };
    file(&store, [missing, refused(5)]).await;
    let letters = held(&store).await;
    let all = groups(&store).await;
    let counts: Vec<_> = all.iter().map(|group| group.events).collect();
    assert_eq!(counts, [1, 3, 1]);
    let bytes: u64 = all.iter().map(|group| group.bytes).sum();
    assert_eq!(bytes, logstash(&store).bytes);
    let group = &all[1];
    assert_eq!(group.key.field.as_deref(), Some("user.id"));
    assert_eq!(group.attempts, [(1, 2), (2, 1)].into());
    assert_eq!(group.first, letters[0].filed_at());
    assert_eq!(group.last, letters[4].filed_at());
    assert_eq!(group.detail, refused(5).detail);

    settle(&store, "id-5", Fate::Discarded).await;
    settle(&store, "id-1", Fate::Discarded).await;
    settle(&store, "id-3", Fate::Discarded).await;
    let all = groups(&store).await;
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!(
        (all[0].events, all[0].attempts.clone()),
        (1, [(2, 1)].into())
    );
    assert_eq!(
        (all[0].first, all[0].last),
        (letters[1].filed_at(), letters[1].filed_at())
    );
    assert_eq!(all[0].detail, refused(2).detail);
}

pub(crate) async fn a_group_shows_the_beginning_of_a_long_detail(maker: &impl Maker) {
    let store = maker.usual().await;
    let long = DeadLetter {
        detail: "ä".repeat(10_000),
        ..refused(1)
    };
    file(&store, [long]).await;
    assert_eq!(groups(&store).await[0].detail, "ä".repeat(500));
}

pub(crate) async fn fields_beyond_the_most_groups_share_one(maker: &impl Maker) {
    let store = maker.usual().await;
    let most = MOST_GROUPS as u64;
    let with_own = |n: u64| with_field(n, Some(&format!("field_{n}")));
    file(&store, (0..most + 10).map(with_own)).await;
    file(&store, [with_field(most + 10, Some("field_0"))]).await;
    let groups = groups(&store).await;
    assert_eq!(groups.len(), MOST_GROUPS + 1);
    let others = groups.iter().find(|g| g.key.field.as_deref() == Some("*"));
    assert_eq!(others.expect("a group of other fields").events, 10);
    let events: u64 = groups.iter().map(|group| group.events).sum();
    assert_eq!(events, most + 11);
    // A letter is in the group where it was counted, and leaves that one.
    settle(&store, &format!("id-{most}"), Fate::Discarded).await;
    let of_it = Selection {
        field: Some(format!("field_{most}")),
        ..Selection::default()
    };
    let left = numbers(&store, &of_it, Order::OldestFirst).await;
    assert!(left.is_empty(), "{left:?}");
    let groups = letters_support::groups(&store).await;
    let others = groups.iter().find(|g| g.key.field.as_deref() == Some("*"));
    assert_eq!(others.expect("a group of other fields").events, 9);
    // A letter that blames no field is not among them.
    file(&store, [with_field(most + 11, None)]).await;
    let groups = letters_support::groups(&store).await;
    let without = groups.iter().find(|group| group.key.field.is_none());
    assert_eq!(without.expect("a group without a field").events, 1);
}

pub(crate) async fn a_very_long_field_has_no_group_of_its_own(maker: &impl Maker) {
    let store = maker.usual().await;
    let long = "f".repeat(100_000);
    file(&store, [with_field(1, Some(&long))]).await;
    assert_eq!(groups(&store).await[0].key.field.as_deref(), Some("*"));
    assert_eq!(the(&store, "id-1").await.letter.field, Some(long));
}

pub(crate) async fn numbers_come_for_a_selection_in_order_and_span(maker: &impl Maker) {
    let store = maker.usual().await;
    let letters = (0..60).map(|n| DeadLetter {
        queue: queue(["logstash", "other"][n as usize % 2]),
        source: [Source::Logstash, Source::Tcp, Source::Forwarder][n as usize % 3],
        ..with_field(n, [None, Some("a"), Some("b")][n as usize / 2 % 3])
    });
    file(&store, letters).await;
    let all = held(&store).await;
    let other = Selection {
        queue: Some(queue("other")),
        ..Selection::default()
    };
    let field = Selection {
        field: Some("a".into()),
        ..Selection::default()
    };
    let none = Selection {
        reason: Some(Reason::Unindexable(Unindexable::Other)),
        ..Selection::default()
    };
    for selection in [Selection::default(), other, field, none] {
        let mut expected: Vec<u64> = all
            .iter()
            .filter(|letter| {
                selection
                    .queue
                    .as_ref()
                    .is_none_or(|q| *q == letter.letter.queue)
            })
            .filter(|letter| selection.reason.is_none_or(|r| r == letter.letter.reason))
            .filter(|letter| selection.field.is_none() || selection.field == letter.letter.field)
            .map(|letter| letter.number)
            .collect();
        let oldest = numbers(&store, &selection, Order::OldestFirst).await;
        assert_eq!(oldest, expected);
        let span = Span {
            from: all[10].number,
            to: all[40].number,
        };
        expected.retain(|number| (span.from..=span.to).contains(number));
        let within = store.numbers(&selection, span, Order::OldestFirst, 4).await;
        assert_eq!(within.expect("lists"), expected[..expected.len().min(4)]);
        expected.reverse();
        let within = store.numbers(&selection, span, Order::NewestFirst, 4).await;
        assert_eq!(within.expect("lists"), expected[..expected.len().min(4)]);
        let empty = Span { from: 2, to: 1 };
        let empty = store
            .numbers(&selection, empty, Order::OldestFirst, 4)
            .await;
        assert_eq!(empty, Ok(vec![]));
    }
}
