//! The store of dead letters in a file: opened again, damaged, in use, without room.

mod letters_support;

use std::fs;
use std::io::{Seek, Write};

use bytes::Bytes;
use letters_support::*;
use redb::{Database, TableDefinition};
use stashgate::dead_letter::store::{Fate, Filed, Options, Table};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Why the table in this folder does not open.
fn refusal(folder: &tempfile::TempDir) -> String {
    let opened = Table::open(&folder.path().join("letters.redb"), options());
    opened.expect_err("refused").to_string()
}

#[tokio::test]
async fn all_is_there_when_the_file_is_opened_again() {
    let folder = folder();
    let store = table_at(folder.path(), options());
    file(&store, (0..100).map(refused)).await;
    file(&store, [attempt(3, 2), other(4, 1)]).await;
    for (n, fate) in [(1, Fate::Returned), (2, Fate::Discarded)] {
        settle(&store, &format!("id-{n}"), fate).await;
    }
    let handle = the(&store, "id-5").await.handle();
    let repaired = store.rewrite(vec![(handle, Bytes::from_static(b"{}"))]);
    assert_eq!(repaired.await, Ok(1));
    let before = (held(&store).await, groups(&store).await, store.summary());
    drop(store);

    let store = table_at(folder.path(), options());
    let after = (held(&store).await, groups(&store).await, store.summary());
    assert_eq!(after, before);
    assert_eq!(
        filed(&store, [refused(1), refused(6)]).await,
        [Filed::Buried, Filed::Known]
    );
    file(&store, [refused(1000)]).await;
    let letters = held(&store).await;
    assert_eq!(
        letters.last().map(|letter| letter.name.as_str()),
        Some("id-1000")
    );
}

#[tokio::test]
async fn a_file_in_use_is_refused() {
    let folder = folder();
    let store = table_at(folder.path(), options());
    let error = refusal(&folder);
    assert!(error.contains("in use by another process"), "{error}");
    file(&store, [refused(1)]).await;
}

#[test]
fn a_file_of_something_else_is_refused_with_what_to_do() {
    let folder = folder();
    fs::write(
        folder.path().join("letters.redb"),
        "no letters here\n".repeat(1000),
    )
    .expect("writes");
    let error = refusal(&folder);
    assert!(
        error.contains("letters.redb is damaged") && error.contains("move it away"),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_refused_with_what_to_do() {
    let folder = folder();
    let store = table_at(folder.path(), options());
    file(&store, (0..1000).map(refused)).await;
    drop(store);
    let path = folder.path().join("letters.redb");
    let len = fs::metadata(&path).expect("is there").len();
    let cut = fs::File::options().write(true).open(&path).expect("opens");
    cut.set_len(len / 2 - 100).expect("cuts");
    let error = refusal(&folder);
    assert!(
        error.contains("letters.redb is damaged") && error.contains("move it away"),
        "{error}"
    );
}

#[tokio::test]
async fn a_damaged_head_is_refused_with_what_to_do() {
    let folder = folder();
    let store = table_at(folder.path(), options());
    file(&store, (0..10).map(refused)).await;
    drop(store);
    let path = folder.path().join("letters.redb");
    let mut head = fs::File::options().write(true).open(&path).expect("opens");
    head.seek(std::io::SeekFrom::Start(64)).expect("seeks");
    head.write_all(&[0xa5; 256]).expect("writes");
    let error = refusal(&folder);
    assert!(
        error.contains("letters.redb is damaged") && error.contains("move it away"),
        "{error}"
    );
}

#[tokio::test]
async fn a_letter_that_rotted_is_found_at_the_start() {
    let folder = folder();
    let store = table_at(folder.path(), options());
    file(&store, (0..100).map(refused)).await;
    drop(store);
    let path = folder.path().join("letters.redb");
    let mut bytes = fs::read(&path).expect("reads");
    let letter = b"failed to parse [57]";
    let places = bytes.windows(letter.len()).enumerate();
    let places: Vec<_> = places
        .filter_map(|(at, found)| (found == letter).then_some(at))
        .collect();
    for at in places {
        bytes[at] ^= 1;
    }
    fs::write(&path, bytes).expect("writes");
    let error = refusal(&folder);
    assert!(
        error.contains("letters.redb is damaged") && error.contains("move it away"),
        "{error}"
    );
}

#[test]
fn a_file_of_another_release_is_refused() {
    const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
    let folder = folder();
    drop(table_at(folder.path(), options()));
    let database = Database::open(folder.path().join("letters.redb")).expect("opens");
    let txn = database.begin_write().expect("begins");
    let mut numbers = txn.open_table(NUMBERS).expect("opens");
    numbers.insert("format", 99).expect("writes");
    drop(numbers);
    txn.commit().expect("commits");
    drop(database);
    let error = refusal(&folder);
    assert!(
        error.contains("of another release") && error.contains("99"),
        "{error}"
    );
}

#[tokio::test]
async fn below_the_room_that_the_disk_is_to_keep_nothing_is_added_and_all_can_go() {
    let folder = folder();
    let store = table_at(folder.path(), options());
    file(&store, [refused(1), refused(2)]).await;
    drop(store);
    let low = Options {
        min_free_bytes: u64::MAX,
        ..options()
    };
    let store = table_at(folder.path(), low);
    let error = store.file(vec![refused(3)]).await.expect_err("no room");
    assert!(error.to_string().contains("min_free_bytes"), "{error}");
    assert!(store.summary().trouble.is_some());
    let letter = the(&store, "id-1").await;
    let repair = store.rewrite(vec![(letter.handle(), Bytes::new())]).await;
    assert!(repair.is_err());
    assert!(store.restore(vec![letter]).await.is_err());
    settle(&store, "id-1", Fate::Discarded).await;
    assert_eq!(expired(&store, 10).await, 0);
    assert!(store.summary().trouble.is_some(), "it is still so");
    assert_eq!(names(&store).await, ["id-2"]);
}

#[tokio::test]
async fn who_does_not_wait_for_a_change_does_not_break_it() {
    let folder = folder();
    let store = table_at(folder.path(), options());
    for n in 0..50 {
        let letters = (n * 10..n * 10 + 10).map(refused).collect();
        let change = store.file(letters);
        let _ = tokio::time::timeout(std::time::Duration::from_micros(n * 40), change).await;
    }
    file(&store, [refused(9999)]).await;
    let count = logstash(&store).held;
    assert_eq!(count as usize, held(&store).await.len());
    assert_eq!(count % 10, 1, "each change is whole");
}
