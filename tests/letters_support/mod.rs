//! Letters and stores for tests of the store of dead letters.

#![allow(dead_code)]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use stashgate::batch::{QueueName, UnixMillis};
use stashgate::dead_letter::store::{
    Books, Fate, Filed, Group, Letter, Options, Order, Selection, Span, Store, Table,
};
use stashgate::dead_letter::{DeadLetter, Place, Reason, Source, Unindexable};

pub(crate) const DAY: u64 = 24 * 3600 * 1000;
pub(crate) const ALL: Span = Span {
    from: 0,
    to: u64::MAX,
};

pub(crate) fn options() -> Options {
    Options {
        max_bytes: 1 << 30,
        retention_ms: 30 * DAY,
        min_free_bytes: 0,
    }
}

/// All that was filed before this millisecond is past its retention.
pub(crate) fn forgetful() -> Options {
    Options {
        retention_ms: 0,
        ..options()
    }
}

/// How many letters go, once the clock is past all that was done so far.
pub(crate) async fn expired(store: &Store, limit: usize) -> u64 {
    let done = UnixMillis::now();
    while UnixMillis::now() <= done {}
    store.expire(limit).await.expect("looks").gone
}

/// Opens the table in `folder`. A thread may still be at work for one that was dropped.
pub(crate) fn table_at(folder: &Path, options: Options) -> Store {
    let path = folder.join("letters.redb");
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        match Table::open(&path, options) {
            Ok(table) => return Store::Table(table),
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn queue(name: &str) -> QueueName {
    name.parse().expect("a queue's name")
}

/// What Elasticsearch refused: the event `{"n":N}` of the stable id `id-N`.
pub(crate) fn refused(n: u64) -> DeadLetter {
    DeadLetter {
        queue: QueueName::default(),
        id: Some(format!("id-{n}")),
        reason: Reason::Unindexable(Unindexable::MappingConflict),
        field: Some("user.id".into()),
        detail: format!("failed to parse [{n}]"),
        source: Source::Logstash,
        attempt: 1,
        at: UnixMillis(1_795_294_380_000 + n),
        event: Bytes::from(format!("{{\"n\":{n}}}")),
    }
}

/// The same event, refused again after it was returned and repaired.
pub(crate) fn attempt(n: u64, attempt: u32) -> DeadLetter {
    DeadLetter {
        attempt,
        event: Bytes::from(format!("{{\"n\":{n},\"attempt\":{attempt}}}")),
        ..refused(n)
    }
}

/// An event that others sent under the same id.
pub(crate) fn other(n: u64, other: u64) -> DeadLetter {
    DeadLetter {
        event: Bytes::from(format!("{{\"n\":{n},\"other\":{other}}}")),
        ..refused(n)
    }
}

pub(crate) fn with_field(n: u64, field: Option<&str>) -> DeadLetter {
    DeadLetter {
        field: field.map(str::to_owned),
        ..refused(n)
    }
}

pub(crate) async fn file(store: &Store, letters: impl IntoIterator<Item = DeadLetter>) {
    let letters: Vec<_> = letters.into_iter().collect();
    let count = letters.len();
    assert_eq!(filed(store, letters).await, vec![Filed::Kept; count]);
}

pub(crate) async fn filed(
    store: &Store,
    letters: impl IntoIterator<Item = DeadLetter>,
) -> Vec<Filed> {
    store
        .file(letters.into_iter().collect())
        .await
        .expect("files")
}

/// All letters, in the order in which they were filed.
pub(crate) async fn held(store: &Store) -> Vec<Letter> {
    let numbers = numbers(store, &Selection::default(), Order::OldestFirst).await;
    store.read(&numbers).await.expect("reads")
}

pub(crate) async fn numbers(store: &Store, selection: &Selection, order: Order) -> Vec<u64> {
    let numbers = store.numbers(selection, ALL, order, usize::MAX).await;
    numbers.expect("lists")
}

pub(crate) async fn names(store: &Store) -> Vec<String> {
    let letters = held(store).await.into_iter();
    letters.map(|letter| letter.name).collect()
}

/// The letter of this name in the default queue.
pub(crate) async fn find(store: &Store, name: &str) -> Option<Letter> {
    let number = store
        .find(&QueueName::default(), name)
        .await
        .expect("finds")?;
    let mut letters = store.read(&[number]).await.expect("reads");
    assert_eq!(letters.len(), 1, "a name leads to a letter");
    letters.pop()
}

pub(crate) async fn the(store: &Store, name: &str) -> Letter {
    let found = find(store, name).await;
    found.unwrap_or_else(|| panic!("no letter {name}"))
}

pub(crate) async fn settle(store: &Store, name: &str, fate: Fate) {
    let handle = the(store, name).await.handle();
    let settled = store.settle(&[handle], fate).await;
    assert_eq!(settled, Ok(1));
}

/// All groups, by key.
pub(crate) async fn groups(store: &Store) -> Vec<Group> {
    let mut groups = store.groups().await.expect("lists");
    groups.sort_by(|a, b| a.key.cmp(&b.key));
    groups
}

pub(crate) fn books(store: &Store, place: Place) -> Books {
    let summary = store.summary();
    assert_eq!(summary.trouble, None);
    let books = summary.places.get(&place).copied().unwrap_or_default();
    assert_eq!(books.unaccounted(), 0, "{books:?}");
    books
}

pub(crate) fn logstash(store: &Store) -> Books {
    books(store, Place::Logstash)
}
