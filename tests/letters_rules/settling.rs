//! What becomes of letters: settled, repaired, expired, brought back.

use bytes::Bytes;
use stashgate::dead_letter::store::{Books, Fate, Filed, Handle, Options};
use stashgate::dead_letter::{DeadLetter, Place, Source};

use super::Maker;
use crate::letters_support::{self, *};

pub(crate) async fn only_what_is_unchanged_is_settled(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, [refused(1), refused(2)]).await;
    let handles = [
        the(&store, "id-1").await.handle(),
        the(&store, "id-2").await.handle(),
    ];
    let repaired = store.rewrite(vec![(handles[0], Bytes::from_static(b"{}"))]);
    assert_eq!(repaired.await, Ok(1));
    let gone = Handle {
        number: 1,
        revision: 0,
    };
    let twice = [handles[0], handles[1], handles[1], gone];
    assert_eq!(store.settle(&twice, Fate::Discarded).await, Ok(1));
    assert_eq!(names(&store).await, ["id-1"]);
}

pub(crate) async fn the_books_tell_what_became_of_each(maker: &impl Maker) {
    let store = maker.usual().await;
    let from_tcp = DeadLetter {
        source: Source::Tcp,
        ..refused(100)
    };
    file(&store, (0..10).map(refused).chain([from_tcp])).await;
    for (n, fate) in [
        (0, Fate::Returned),
        (1, Fate::Returned),
        (2, Fate::SentElsewhere),
        (3, Fate::Discarded),
        (4, Fate::Expired),
    ] {
        settle(&store, &format!("id-{n}"), fate).await;
    }
    let books = logstash(&store);
    let expected = Books {
        received: 10,
        held: 5,
        bytes: books.bytes,
        returned: 2,
        sent_elsewhere: 1,
        discarded: 1,
        expired: 1,
    };
    assert_eq!(books, expected);
    let door = letters_support::books(&store, Place::Door);
    assert_eq!((door.received, door.held), (1, 1));
    let reasons = store.summary().reasons;
    assert_eq!(reasons, [(refused(0).reason, 6)].into());
    for n in 5..10 {
        settle(&store, &format!("id-{n}"), Fate::Discarded).await;
    }
    assert_eq!(logstash(&store).bytes, 0);
}

pub(crate) async fn a_repair_keeps_the_first_original(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, [refused(1)]).await;
    let before = the(&store, "id-1").await;
    let mut handle = before.handle();
    for event in ["{\"a\":1}", "{\"b\":\"longer than before\"}"] {
        let exchanged = store.rewrite(vec![(handle, Bytes::from(event))]).await;
        assert_eq!(exchanged, Ok(1));
        let stale = store
            .rewrite(vec![(handle, Bytes::from_static(b"{}"))])
            .await;
        assert_eq!(stale, Ok(0), "an old handle");
        let letter = the(&store, "id-1").await;
        assert_eq!(letter.letter.event, event);
        assert_eq!(letter.original, Some(refused(1).event));
        assert_eq!(
            (letter.number, letter.content),
            (before.number, before.content)
        );
        handle = letter.handle();
    }
    assert_eq!(handle.revision, 2);
    assert_eq!(groups(&store).await[0].bytes, logstash(&store).bytes);
    // It is still the same refusal.
    assert_eq!(filed(&store, [refused(1)]).await, [Filed::Known]);
    settle(&store, "id-1", Fate::Returned).await;
    assert_eq!(filed(&store, [refused(1)]).await, [Filed::Buried]);
}

pub(crate) async fn what_was_exported_and_settled_is_held_again(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, [refused(1), refused(2)]).await;
    let exported = the(&store, "id-1").await;
    settle(&store, "id-1", Fate::SentElsewhere).await;
    let mut changed = exported.clone();
    changed.letter.event = Bytes::from_static(b"{\"n\":\"one\"}");
    assert_eq!(
        store.restore(vec![changed.clone()]).await,
        Ok(vec![Filed::Kept])
    );
    let letter = the(&store, "id-1").await;
    assert_eq!(letter.letter.event, changed.letter.event);
    assert!(letter.number > exported.number, "filed anew");
    let books = logstash(&store);
    assert_eq!(
        (books.received, books.held, books.sent_elsewhere),
        (3, 2, 1)
    );
    // The refusal that the file is of is known, not buried.
    assert_eq!(filed(&store, [refused(1)]).await, [Filed::Known]);
    assert_eq!(store.restore(vec![changed]).await, Ok(vec![Filed::Known]));
}

pub(crate) async fn a_held_letter_gets_the_event_of_the_file(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, [refused(1)]).await;
    let mut exported = the(&store, "id-1").await;
    assert_eq!(
        store.restore(vec![exported.clone()]).await,
        Ok(vec![Filed::Known])
    );
    let number = exported.number;
    exported.letter.event = Bytes::from_static(b"{}");
    assert_eq!(store.restore(vec![exported]).await, Ok(vec![Filed::Kept]));
    let letter = the(&store, "id-1").await;
    assert_eq!((letter.number, letter.revision), (number, 1));
    assert_eq!(letter.letter.event, "{}");
    assert_eq!(letter.original, Some(refused(1).event));
    assert_eq!(logstash(&store).received, 1);
}

pub(crate) async fn what_finds_no_room_stays_buried(maker: &impl Maker) {
    let store = maker
        .make(Options {
            max_bytes: 2000,
            ..options()
        })
        .await;
    file(&store, [refused(1)]).await;
    let mut exported = the(&store, "id-1").await;
    settle(&store, "id-1", Fate::SentElsewhere).await;
    // Alone, it would be taken.
    file(&store, [refused(2)]).await;
    exported.letter.event = Bytes::from(vec![b'x'; 3000]);
    assert_eq!(store.restore(vec![exported]).await, Ok(vec![Filed::Full]));
    assert_eq!(filed(&store, [refused(1)]).await, [Filed::Buried]);
}
