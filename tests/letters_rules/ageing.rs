//! What becomes of letters as time goes by, and when the clock is wrong.

use stashgate::batch::UnixMillis;
use stashgate::dead_letter::store::{Aged, Fate, Filed, Options, Store};

use super::Maker;
use crate::letters_support::*;

pub(crate) async fn letters_past_their_retention_go(maker: &impl Maker) {
    let store = maker.usual().await;
    file(&store, (0..10).map(refused)).await;
    settle(&store, "id-0", Fate::Discarded).await;
    assert_eq!(expired(&store, 100).await, 0);
    assert_eq!(filed(&store, [refused(0)]).await, [Filed::Buried]);
    drop(store);
    let store = maker.reopen(forgetful()).await;
    // The oldest first, some at a time.
    assert_eq!(expired(&store, 4).await, 4);
    assert_eq!(
        names(&store).await,
        ["id-5", "id-6", "id-7", "id-8", "id-9"]
    );
    assert_eq!(expired(&store, 100).await, 5);
    assert_eq!(expired(&store, 100).await, 0);
    let books = logstash(&store);
    assert_eq!((books.expired, books.discarded, books.bytes), (9, 1, 0));
    assert_eq!(groups(&store).await, []);
    // Neither the settled ones nor those that went are remembered any more.
    file(&store, [refused(0), refused(1)]).await;
}

pub(crate) async fn whoever_looks_is_told_whether_more_is_to_go(maker: &impl Maker) {
    let store = maker.make(forgetful()).await;
    file(&store, (0..4).map(refused)).await;
    for n in 0..2 {
        settle(&store, &format!("id-{n}"), Fate::Discarded).await;
    }
    assert_eq!(expired(&store, 2).await, 2);
    // Of the tombstones, of which each letter has two, two are left.
    let aged = store.expire(2).await.expect("looks");
    assert_eq!((aged.gone, aged.more), (0, true));
    let aged = store.expire(2).await.expect("looks");
    assert_eq!(aged, Aged::default());
    file(&store, (0..4).map(refused)).await;
}

pub(crate) async fn what_is_soon_to_go_is_counted(maker: &impl Maker) {
    for (days, expiring) in [(30, 0), (2, 3)] {
        let store = maker
            .make(Options {
                retention_ms: days * DAY,
                ..options()
            })
            .await;
        file(&store, (0..3).map(refused)).await;
        assert_eq!(store.summary().expiring, expiring);
        settle(&store, "id-0", Fate::Discarded).await;
        assert_eq!(store.summary().expiring, expiring.saturating_sub(1));
    }
}

/// A store with letters and a tombstone, that notes this of the clock; milliseconds since
/// 1970. Opened as one for which all is past its retention.
async fn noted(maker: &impl Maker, notes: &[(&'static str, u64)]) -> Store {
    let store = maker.usual().await;
    file(&store, (0..10).map(refused)).await;
    settle(&store, "id-0", Fate::Discarded).await;
    assert_eq!(expired(&store, 100).await, 0);
    drop(store);
    for (name, at) in notes {
        maker.note(name, *at);
    }
    maker.reopen(forgetful()).await
}

pub(crate) async fn a_clock_that_jumps_lets_nothing_go_for_three_days(maker: &impl Maker) {
    let now = UnixMillis::now().0;
    let store = noted(maker, &[("seen", now - 2 * DAY)]).await;
    for _ in 0..2 {
        assert_eq!(expired(&store, 100).await, 0);
        let aged = store.expire(100).await.expect("looks");
        let kept = aged.kept.expect("told");
        assert_eq!((aged.gone, aged.more, kept.letters), (0, false, 9));
        assert!(kept.until.0 >= now + 3 * DAY, "{kept:?}");
    }
    assert_eq!(store.summary().expiring, 9);
    assert_eq!(filed(&store, [refused(0)]).await, [Filed::Buried]);
    drop(store);
    // Three days later.
    maker.note("stays", now);
    let store = maker.reopen(forgetful()).await;
    assert_eq!(expired(&store, 100).await, 9);
    assert_eq!(store.expire(100).await, Ok(Aged::default()));
}

pub(crate) async fn a_clock_that_was_looked_at_some_hours_ago_did_not_jump(maker: &impl Maker) {
    let store = noted(maker, &[("seen", UnixMillis::now().0 - DAY / 2)]).await;
    assert_eq!(expired(&store, 100).await, 9);
}

pub(crate) async fn a_clock_that_was_mended_lets_letters_go_again(maker: &impl Maker) {
    let wrong = UnixMillis::now().0 + 40 * DAY;
    let notes = [("seen", wrong), ("stays", wrong + 3 * DAY)];
    let store = noted(maker, &notes).await;
    assert_eq!(expired(&store, 100).await, 9);
}

pub(crate) async fn letters_filed_by_a_clock_that_was_ahead_stay_longer(maker: &impl Maker) {
    let wrong = UnixMillis::now().0 + 2 * DAY;
    let store = noted(maker, &[("last", wrong * 1000)]).await;
    file(&store, (100..105).map(refused)).await;
    let letters = held(&store).await;
    assert!(
        letters[9..]
            .iter()
            .all(|letter| letter.filed_at().0 == wrong)
    );
    assert!(letters.is_sorted_by(|a, b| a.number < b.number));
    assert_eq!(expired(&store, 100).await, 9);
    let aged = store.expire(100).await.expect("looks");
    assert!(aged.is_ahead(), "{aged:?}");
    assert_eq!(held(&store).await, letters[9..]);
}
