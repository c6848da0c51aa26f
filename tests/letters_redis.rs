//! Dead letters in Redis: what a table in a file does not have to cope with.

mod letters_redis_support;
mod letters_support;
mod redis_support;

use letters_redis_support::*;
use letters_support::*;
use redis_support::RedisServer;
use stashgate::dead_letter::store::{Fate, Filed, Order, Selection};
use stashgate::dead_letter::{DeadLetter, Place};

#[tokio::test]
async fn two_gateways_that_file_at_once_hold_each_letter_once() {
    let server = RedisServer::start();
    let stores = [store(&server.url()), store(&server.url())];
    let filing = stores.clone().map(|store| {
        tokio::spawn(async move {
            let mut kept = 0;
            for chunk in refusals(0..2000).chunks(50) {
                let filed = store.file(chunk.to_vec()).await.expect("filed");
                kept += filed.iter().filter(|filed| **filed == Filed::Kept).count();
            }
            kept
        })
    });
    let [one, other] = filing;
    let kept = one.await.expect("ran") + other.await.expect("ran");
    assert_eq!(kept, 2000);
    let [one, other] = &stores;
    assert_eq!(held(one).await, held(other).await);
    let groups = one.groups().await.expect("groups");
    assert_eq!(groups, other.groups().await.expect("groups"));
    assert_eq!(groups[0].events, 2000);
    assert_eq!(groups[0].attempts, [(1, 2000)].into());
    let books = one.summary().places[&Place::Logstash];
    assert_eq!((books.received, books.held), (2000, 2000));
    let bytes: u64 = groups.iter().map(|group| group.bytes).sum();
    assert_eq!(books.bytes, bytes);
}

#[tokio::test]
async fn what_one_gateway_settles_the_other_one_cannot() {
    let server = RedisServer::start();
    let stores = [store(&server.url()), store(&server.url())];
    stores[0].file(refusals(0..1000)).await.expect("filed");
    let handles: Vec<_> = held(&stores[0]).await.iter().map(|l| l.handle()).collect();
    let settling = stores.clone().map(|store| {
        let handles = handles.clone();
        tokio::spawn(async move {
            let mut settled = 0;
            for chunk in handles.chunks(10) {
                settled += store.settle(chunk, Fate::Discarded).await.expect("settled");
            }
            settled
        })
    });
    let [one, other] = settling;
    assert_eq!(one.await.expect("ran") + other.await.expect("ran"), 1000);
    let store = &stores[0];
    store.expire(10).await.expect("looked");
    let summary = store.summary();
    assert_eq!(summary.places[&Place::Logstash].discarded, 1000);
    assert_eq!(summary.places[&Place::Logstash].bytes, 0);
    assert_eq!(unaccounted(store), [0, 0, 0]);
    assert_eq!(summary.reasons, [].into());
    assert_eq!(store.groups().await.expect("groups"), []);
    let filed = store.file(refusals(0..1000)).await.expect("filed");
    assert_eq!(filed, [Filed::Buried; 1000]);
    let left: Vec<String> = server.ask(&["KEYS", "*"]);
    let mut left: Vec<_> = left.iter().map(String::as_str).collect();
    left.sort_unstable();
    assert_eq!(
        left,
        ["{stashgate}:letters:books", "{stashgate}:letters:tombs"]
    );
    let store = store_with(&at(&server.url()), 0, forgetful());
    while store.expire(1000).await.expect("looked").more {}
    let left: Vec<String> = server.ask(&["KEYS", "*"]);
    assert_eq!(left, ["{stashgate}:letters:books"]);
}

#[tokio::test]
async fn whoever_never_had_a_letter_finds_nothing_of_them_in_redis() {
    let server = RedisServer::start();
    let store = store(&server.url());
    assert_eq!(store.expire(10).await, Ok(Default::default()));
    let left: Vec<String> = server.ask(&["KEYS", "*"]);
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn numbers_of_many_groups_come_in_order_and_none_is_missing() {
    let server = RedisServer::start();
    let store = store(&server.url());
    // Most are in one group, the others are strewn between.
    let letters: Vec<_> = (0..3000)
        .map(|id| match id % 10 {
            7 => with_field(id, Some(&format!("field{}", id % 97))),
            _ => refused(id),
        })
        .collect();
    store.file(letters).await.expect("filed");
    let every = numbers(&store, &Selection::default(), Order::OldestFirst).await;
    assert_eq!(every.len(), 3000);
    assert!(every.is_sorted_by(|a, b| a < b));
    let selection = Selection {
        queue: Some(Default::default()),
        ..Default::default()
    };
    for limit in [1, 2, 17, 100, 1000, 2999, 3000, 5000] {
        let span = ALL;
        let oldest = store.numbers(&selection, span, Order::OldestFirst, limit);
        let wanted = &every[..limit.min(3000)];
        assert_eq!(oldest.await.expect("numbers"), wanted, "{limit}");
        let newest = store.numbers(&selection, span, Order::NewestFirst, limit);
        let mut wanted = every[3000 - limit.min(3000)..].to_vec();
        wanted.reverse();
        assert_eq!(newest.await.expect("numbers"), wanted, "{limit}");
    }
}

#[tokio::test]
async fn long_letters_are_read_whole_and_whatever_their_bytes() {
    let server = RedisServer::start();
    let store = store(&server.url());
    for id in 0..10 {
        let mut event = vec![0xff_u8; 1 << 20];
        event[id] = 0;
        let long = DeadLetter {
            id: Some(format!("id{id}\u{0}\n")),
            event: event.into(),
            ..with_field(0, Some("user\u{0}id"))
        };
        assert_eq!(filed(&store, [long]).await, [Filed::Kept]);
    }
    let letters = held(&store).await;
    assert_eq!(letters.len(), 10);
    for (id, letter) in letters.iter().enumerate() {
        assert_eq!(letter.letter.event.len(), 1 << 20);
        assert_eq!(letter.letter.event[id], 0);
        assert_eq!(letter.name, format!("id{id}\u{0}\n"));
        let found = store.find(&Default::default(), &letter.name).await;
        assert_eq!(found, Ok(Some(letter.number)));
    }
}

#[tokio::test]
async fn keys_that_somebody_changed_are_said_to_be() {
    let server = RedisServer::start();
    let store = store(&server.url());
    store.file(refusals(0..1)).await.expect("filed");
    let group: Vec<String> = server.ask(&["HKEYS", "{stashgate}:letters:groups"]);
    let key = "{stashgate}:letters:groups";
    let _: u64 = server.ask(&["HSET", key, &group[0], "s3cret"]);
    let error = store.groups().await.expect_err("no key").to_string();
    assert!(error.contains("somebody changed it"), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
    let _: u64 = server.ask(&["DEL", key]);
    let _: u64 = server.ask(&["RPUSH", key, "x"]);
    let error = store.groups().await.expect_err("a list").to_string();
    assert!(error.contains("WRONGTYPE"), "{error}");
}
