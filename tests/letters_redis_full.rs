//! A Redis that gets full in the middle of a return, or of filing: what it does not take
//! stays where it is, and all goes on when there is room.

mod letters_redis_support;
mod letters_support;
mod redis_spool_support;
mod redis_support;
mod workbench_support;

use std::time::{Duration, Instant};

use letters_redis_support::{refusals, store, unaccounted};
use letters_support::names;
use redis_support::{PATIENCE, RedisServer};
use stashgate::dead_letter::store::Store;
use stashgate::dead_letter::workbench::{Question, WorkError};
use stashgate::dead_letter::{DeadLetters, filing};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use workbench_support::{Bench, Kind, all, queue};

const LETTERS: u32 = 1000;

/// `maxmemory`, in bytes; 0: no limit.
fn limit(server: &RedisServer, bytes: u64) {
    let bytes = bytes.to_string();
    let _: String = server.ask(&["CONFIG", "SET", "maxmemory", &bytes]);
}

/// Each letter of the bench was sent, once.
async fn were_sent_once(bench: &Bench) {
    let sent = bench.sent_ids().await;
    let ids = (0..LETTERS).map(|n| format!("id-{n}"));
    let others: Vec<_> = ids.filter(|id| sent.get(id) != Some(&1)).take(10).collect();
    assert_eq!(others, [""; 0]);
    assert_eq!(bench.held().await, []);
    assert_eq!(bench.books().returned, u64::from(LETTERS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_into_a_full_redis_sends_nothing_and_goes_on_when_there_is_room() {
    let bench = Bench::with_letters(Kind::Redis, LETTERS).await;
    let mut question = Question {
        limit: Some(100),
        ..all()
    };
    let first = bench.work.return_(&question).await.expect("there is room");
    question.after = first.next;
    limit(bench.server(), 1 << 20);
    let full = bench.work.return_(&question).await;
    assert!(matches!(full, Err(WorkError::Unavailable(_))), "{full:?}");
    assert_eq!(bench.waiting(&queue()), 100);
    assert_eq!(bench.held().await.len() as u32, LETTERS - 100);
    limit(bench.server(), 0);
    let rest = bench.return_all(&question).await;
    assert_eq!(rest.done, u64::from(LETTERS - 100));
    were_sent_once(&bench).await;
}

/// Whatever it is in the middle of: what was appended can be settled.
#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_full_in_each_part_of_a_return_doubles_nothing() {
    let bench = Bench::with_letters(Kind::Redis, LETTERS).await;
    let fill = async || {
        sleep(Duration::from_micros(fastrand::u64(0..20_000))).await;
        limit(bench.server(), 1 << 20);
        sleep(Duration::from_millis(100)).await;
        limit(bench.server(), 0);
    };
    let until = Instant::now() + PATIENCE;
    let mut question = Question {
        limit: Some(100),
        ..all()
    };
    loop {
        let (report, ()) = tokio::join!(bench.work.return_(&question), fill());
        match report {
            Ok(report) if report.next.is_none() => break,
            Ok(report) => question.after = report.next,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
    }
    were_sent_once(&bench).await;
}

/// Waits until filing was refused for want of memory.
async fn is_refused(store: &Store) {
    let until = Instant::now() + PATIENCE;
    loop {
        let trouble = store.summary().trouble.unwrap_or_default();
        if trouble.contains("Redis is full") {
            return;
        }
        assert!(Instant::now() < until, "it is never full: {trouble}");
        // What looks in between finds nothing wrong.
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_a_redis_refuses_when_it_gets_full_are_filed_later() {
    const COUNT: u64 = 10_000;
    let server = RedisServer::start();
    let store = store(&server.url());
    let folder = tempfile::tempdir().expect("a folder");
    let inbox = DeadLetters::open(folder.path(), 1 << 30, 0).expect("opened");
    inbox.keep(&mut refusals(0..COUNT)).await.expect("kept");
    let used: String = server.ask(&["INFO", "memory"]);
    let used = used
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let used: u64 = used
        .and_then(|used| used.trim().parse().ok())
        .expect("told");
    limit(&server, used + (6 << 20));
    let filing = filing::run(inbox.clone(), store.clone(), CancellationToken::new());
    let filing = tokio::spawn(filing);
    is_refused(&store).await;
    let some = names(&store).await.len() as u64;
    assert!(some > 0 && some < COUNT, "in the middle: {some}");
    limit(&server, 0);
    let until = Instant::now() + PATIENCE;
    while names(&store).await.len() as u64 != COUNT {
        assert!(Instant::now() < until, "{}", names(&store).await.len());
        sleep(Duration::from_millis(20)).await;
    }
    let mut there = names(&store).await;
    there.sort_unstable();
    let mut wanted: Vec<_> = (0..COUNT).map(|n| format!("id-{n}")).collect();
    wanted.sort_unstable();
    assert_eq!(there, wanted);
    store.expire(1).await.expect("looked");
    assert_eq!(unaccounted(&store), [0, 0, 0]);
    filing.abort();
}
