//! Filing: from the inbox into the store, whatever happens between.

mod letters_support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use letters_support::*;
use stashgate::batch::{Batch, BatchId, Origin, Timestamps, UnixMillis};
use stashgate::dead_letter::store::{Fate, Options, Store};
use stashgate::dead_letter::{
    DeadLetter, DeadLetterStats, DeadLetters, Place, PlaceStats, Reason, Source, Undeliverable,
    filing,
};
use stashgate::event::RejectReason;
use stashgate::spool::Spool;
use stashgate::spool::journal::{self, Journal, Sync};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(120);

fn inbox(folder: &Path) -> DeadLetters {
    DeadLetters::open(folder, 1 << 30, 0).expect("opens")
}

/// Filing, until it is stopped.
struct Filing {
    closing: CancellationToken,
    task: JoinHandle<()>,
}

impl Filing {
    fn start(letters: &DeadLetters, store: &Store) -> Self {
        let closing = CancellationToken::new();
        let filing = filing::run(letters.clone(), store.clone(), closing.clone());
        let task = tokio::spawn(filing);
        Self { closing, task }
    }

    async fn stop(self) {
        self.closing.cancel();
        self.task.await.expect("ends");
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn unfiled(letters: &DeadLetters) -> u64 {
    DeadLetterStats::of(letters, None).unfiled
}

async fn all_is_filed(letters: &DeadLetters) {
    until("all is filed", || unfiled(letters) == 0).await;
}

async fn keep(letters: &DeadLetters, mut batch: Vec<DeadLetter>) {
    letters.keep(&mut batch).await.expect("kept");
}

fn from(source: Source, n: u64) -> DeadLetter {
    DeadLetter {
        source,
        ..refused(n)
    }
}

/// Puts a record into the inbox as it is.
async fn put_raw(folder: &Path, place: Place, payload: &'static str) {
    let place = queue(place.as_str());
    let options = journal::Options {
        dir: folder.join("dead-letters"),
        sync: Sync::Batch,
        segment_bytes: 8 << 20,
        min_free_bytes: 0,
        max_bytes: 1 << 30,
        max_in_flight_bytes: 32 << 20,
        store: "dead_letters",
        retention: Duration::ZERO,
        queues: vec![(place.clone(), 1 << 30)],
    };
    let spool = Spool::Journal(Journal::open(options).expect("opens"));
    let room = spool.permit(&place, payload.len(), Some(PATIENCE));
    let batch = Batch {
        id: BatchId::generate(),
        accepted_at: UnixMillis::now(),
        events: payload.lines().count() as u32,
        payload_hash: 0,
        payload: Bytes::from_static(payload.as_bytes()),
        rejected: Box::default(),
        own_metadata: false,
        foreign: false,
        timestamps: Timestamps::None,
        origin: Origin::default(),
    };
    room.await
        .expect("room")
        .append(batch)
        .await
        .expect("appended");
    spool.close().await;
}

#[tokio::test]
async fn letters_of_all_places_come_into_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let (letters, store) = (inbox(folder.path()), table_at(folder.path(), options()));
    for source in Source::ALL {
        let of_it = (0..300).map(|n| from(source, n + 1000 * source as u64));
        keep(&letters, of_it.collect()).await;
    }
    let before = DeadLetterStats::of(&letters, Some(&store));
    assert_eq!((before.unfiled, before.held), (2100, 2100));
    let filing = Filing::start(&letters, &store);
    all_is_filed(&letters).await;
    let after = DeadLetterStats::of(&letters, Some(&store));
    assert_eq!((after.unfiled, after.held), (0, 2100));
    assert!(after.places.iter().all(|place| place.unaccounted == 0));
    let held: Vec<_> = after.places.iter().map(|place| place.held).collect();
    assert_eq!(held, [1500, 300, 300]);
    filing.stop().await;
}

#[tokio::test]
async fn what_was_filed_before_a_crash_is_not_filed_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let (letters, store) = (inbox(folder.path()), table_at(folder.path(), options()));
    keep(&letters, (0..100).map(refused).collect()).await;
    // As if the process ended between the store's change and the inbox's.
    file(&store, (0..60).map(refused)).await;
    settle(&store, "id-3", Fate::Discarded).await;
    let filing = Filing::start(&letters, &store);
    all_is_filed(&letters).await;
    let books = logstash(&store);
    assert_eq!((books.received, books.held), (100, 99));
    filing.stop().await;
}

#[tokio::test]
async fn while_the_store_takes_nothing_letters_wait_and_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let letters = inbox(folder.path());
    let low = Options {
        min_free_bytes: u64::MAX,
        ..options()
    };
    let store = table_at(folder.path(), low);
    keep(&letters, (0..10).map(refused).collect()).await;
    let filing = Filing::start(&letters, &store);
    until("the store says so", || store.summary().trouble.is_some()).await;
    let stats = DeadLetterStats::of(&letters, Some(&store));
    assert_eq!((stats.held, stats.unfiled), (10, 10));
    assert!(
        stats
            .trouble
            .is_some_and(|why| why.contains("min_free_bytes"))
    );
    filing.stop().await;
    drop(store);

    let store = table_at(folder.path(), options());
    let filing = Filing::start(&letters, &store);
    all_is_filed(&letters).await;
    assert_eq!(logstash(&store).held, 10);
    filing.stop().await;
}

#[tokio::test]
async fn a_full_budget_holds_up_its_own_place_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let letters = inbox(folder.path());
    let small = Options {
        max_bytes: 20_000,
        ..options()
    };
    let store = table_at(folder.path(), small);
    keep(&letters, (0..100).map(|n| from(Source::Tcp, n)).collect()).await;
    let filing = Filing::start(&letters, &store);
    until("the door is full", || {
        store.summary().full.contains(&Place::Door)
    })
    .await;
    let kept = books(&store, Place::Door).held;
    assert!(kept > 0 && kept < 100, "{kept}");
    let stats = DeadLetterStats::of(&letters, Some(&store));
    assert!(
        stats.full && stats.places[0].full && !stats.places[2].full,
        "{stats:?}"
    );

    keep(&letters, vec![refused(1000)]).await;
    until("another place's is filed", || logstash(&store).held == 1).await;
    // Its record is taken out of the inbox a moment after it is filed.
    until("each letter counts once", || {
        unfiled(&letters) + kept == 100
    })
    .await;

    // Whoever makes room has the rest filed.
    while unfiled(&letters) > 0 {
        let held = held(&store).await;
        let handles: Vec<_> = held.iter().map(|letter| letter.handle()).collect();
        store
            .settle(&handles, Fate::Discarded)
            .await
            .expect("settles");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(books(&store, Place::Door).received, 100);
    filing.stop().await;
}

#[tokio::test]
async fn letters_of_an_earlier_release_are_filed() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = concat!(
        r#"{"at":1795294380120,"queue":"logstash","reason":"invalid_json","detail":"expected ':' at byte 3","source":"tcp","event":"{\"a\" 1}"}"#,
        "\n",
        r#"{"at":1795294380121,"queue":"other","id":"0123","reason":"poison","detail":"closed","source":"forwarder","event_base64":"e30="}"#,
        "\n",
    );
    put_raw(folder.path(), Place::Door, lines).await;
    let (letters, store) = (inbox(folder.path()), table_at(folder.path(), options()));
    let filing = Filing::start(&letters, &store);
    all_is_filed(&letters).await;
    let held = held(&store).await;
    assert_eq!(
        held[0].letter.reason,
        Reason::Rejected(RejectReason::InvalidJson)
    );
    assert_eq!(held[0].letter.event, "{\"a\" 1}");
    let poison = Reason::Undeliverable(Undeliverable::Poison);
    assert_eq!((held[1].letter.reason, held[1].letter.attempt), (poison, 1));
    assert_eq!(
        (held[1].name.as_str(), &held[1].letter.event[..]),
        ("0123", &b"{}"[..])
    );
    filing.stop().await;
}

/// The quarantine of a place's inbox.
fn quarantine(folder: &Path, place: Place) -> PathBuf {
    let inbox = folder.join("dead-letters").join(place.as_str());
    inbox.join("quarantine")
}

/// The only file that was set aside, by the end of its name, and what is in it.
fn set_aside(folder: &Path, place: Place) -> (String, Vec<u8>) {
    let files = std::fs::read_dir(quarantine(folder, place)).expect("a folder");
    let files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let kind = files[0].extension().expect("a kind").to_string_lossy();
    (
        kind.into_owned(),
        std::fs::read(&files[0]).expect("readable"),
    )
}

fn place_of(letters: &DeadLetters, store: &Store, place: Place) -> PlaceStats {
    let stats = DeadLetterStats::of(letters, Some(store));
    let mut places = stats.places.into_iter();
    places
        .find(|stats| stats.place == place.as_str())
        .expect("a place")
}

const READABLE: &str = r#"{"at":1795294380120,"queue":"logstash","reason":"invalid_json","detail":"why","source":"tcp","event":"{\"a\" 1}"}"#;
const UNREADABLE: &str = r#"{"at":1795294380120,"queue":"logstash","reason":"of_the_future","detail":"why","source":"tcp","event":"{}"}"#;

#[tokio::test]
async fn what_makes_no_sense_is_set_aside_and_counted_and_the_rest_is_filed() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = format!("{READABLE}\n{UNREADABLE}\n{{\n");
    put_raw(folder.path(), Place::Door, lines.leak()).await;
    put_raw(folder.path(), Place::Door, lines_of_another()).await;
    let (letters, store) = (inbox(folder.path()), table_at(folder.path(), options()));
    let filing = Filing::start(&letters, &store);
    all_is_filed(&letters).await;
    let door = place_of(&letters, &store, Place::Door);
    assert_eq!(
        (door.received, door.held, door.quarantined, door.unaccounted),
        (4, 2, 2, 0)
    );
    filing.stop().await;
    letters.close().await;
    let (kind, bytes) = set_aside(folder.path(), Place::Door);
    assert_eq!(kind, "unreadable");
    assert_eq!(
        String::from_utf8_lossy(&bytes),
        format!("{UNREADABLE}\n{{\n")
    );
    drop((letters, store));

    let (letters, store) = (inbox(folder.path()), table_at(folder.path(), options()));
    let again = place_of(&letters, &store, Place::Door);
    assert_eq!(
        again,
        PlaceStats {
            bytes: again.bytes,
            ..door
        },
        "as before the restart"
    );
}

/// A letter in a record of its own.
fn lines_of_another() -> &'static str {
    READABLE.replace("{\\\"a", "{\\\"b").leak()
}

#[tokio::test]
async fn what_cannot_be_set_aside_stays_in_the_inbox_and_status_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let lines = format!("{UNREADABLE}\n{READABLE}\n");
    put_raw(folder.path(), Place::Door, lines.leak()).await;
    let (letters, store) = (inbox(folder.path()), table_at(folder.path(), options()));
    // No folder can be made in its place.
    let in_the_way = quarantine(folder.path(), Place::Door);
    std::fs::write(&in_the_way, "").expect("written");
    let filing = Filing::start(&letters, &store);
    let trouble = || DeadLetterStats::of(&letters, Some(&store)).trouble;
    until("status says so", || trouble().is_some()).await;
    let told = trouble().unwrap_or_default();
    assert!(told.contains("the inbox (door)"), "{told}");
    assert!(told.contains("cannot be set aside"), "{told}");
    let door = place_of(&letters, &store, Place::Door);
    assert_eq!((door.quarantined, door.unaccounted), (0, 0));
    keep(&letters, vec![refused(1)]).await;
    until("another place's is filed", || logstash(&store).held == 1).await;

    std::fs::remove_file(&in_the_way).expect("removed");
    all_is_filed(&letters).await;
    until("it is well again", || trouble().is_none()).await;
    let door = place_of(&letters, &store, Place::Door);
    assert_eq!((door.held, door.quarantined), (1, 1));
    filing.stop().await;
}

/// Changes a byte of the event of letter number `n` where the inbox has it.
fn rot(folder: &Path, n: u64) {
    let inbox = folder.join("dead-letters/logstash");
    let needle = format!("id-{n}\"");
    for file in std::fs::read_dir(&inbox).expect("a folder") {
        let path = file.expect("a file").path();
        if path.extension().is_none_or(|kind| kind != "seg") {
            continue;
        }
        let mut bytes = std::fs::read(&path).expect("readable");
        let mut places = bytes.windows(needle.len());
        if let Some(at) = places.position(|place| place == needle.as_bytes()) {
            bytes[at] ^= 1;
            return std::fs::write(&path, bytes).expect("written");
        }
    }
    panic!("no letter {n}");
}

/// Of three records the first was in hand when its bytes rotted.
async fn a_record_rots(restart: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut letters = inbox(folder.path());
    let low = Options {
        min_free_bytes: u64::MAX,
        ..options()
    };
    let store = table_at(folder.path(), low);
    for n in [1, 2, 3] {
        keep(&letters, vec![refused(n)]).await;
    }
    let filing = Filing::start(&letters, &store);
    until("the first is tried", || store.summary().trouble.is_some()).await;
    filing.stop().await;
    drop(store);
    if restart {
        letters.close().await;
        drop(letters);
        rot(folder.path(), 1);
        letters = inbox(folder.path());
    } else {
        rot(folder.path(), 1);
    }

    let store = table_at(folder.path(), options());
    let filing = Filing::start(&letters, &store);
    all_is_filed(&letters).await;
    let stats = place_of(&letters, &store, Place::Logstash);
    assert_eq!(
        (stats.held, stats.quarantined, stats.unaccounted),
        (2, 1, 0)
    );
    let trouble = || DeadLetterStats::of(&letters, Some(&store)).trouble;
    until("all is well", || trouble().is_none()).await;
    filing.stop().await;
    assert_eq!(set_aside(folder.path(), Place::Logstash).0, "damaged");
}

#[tokio::test]
async fn a_record_that_rots_is_set_aside_and_counted_and_the_rest_is_filed() {
    a_record_rots(false).await;
}

#[tokio::test]
async fn a_record_that_rots_between_two_starts_holds_up_nothing_either() {
    a_record_rots(true).await;
}
