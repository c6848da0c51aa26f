//! The store of dead letters in a Redis that is full, away, restarted, or fails over; and
//! answers that are lost.

mod letters_redis_support;
mod letters_support;
mod redis_spool_support;
mod redis_support;

use std::time::{Duration, Instant};

use letters_redis_support::*;
use letters_support::*;
use redis_spool_support::proxy::{Cut, Proxy};
use redis_support::cluster::Cluster;
use redis_support::{PATIENCE, RedisServer, ServerKind};
use stashgate::dead_letter::store::{Fate, Filed, Handle, Store};
use stashgate::dead_letter::{DeadLetter, Place};
use stashgate::spool::redis::ServerOptions;

/// Files letters as filing does: again and again until they are held.
async fn file_until_held(store: &Store, letters: &[DeadLetter]) -> Vec<Filed> {
    let until = Instant::now() + PATIENCE;
    loop {
        match store.file(letters.to_vec()).await {
            Ok(filed) => return filed,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn handles(letters: &[stashgate::dead_letter::store::Letter]) -> Vec<Handle> {
    letters.iter().map(|letter| letter.handle()).collect()
}

/// A letter of 64 KiB.
fn long(id: u64) -> DeadLetter {
    DeadLetter {
        event: format!("{{\"text\":\"{id}{}\"}}", "x".repeat(64 << 10)).into(),
        ..refused(id)
    }
}

#[tokio::test]
async fn a_full_redis_takes_no_letter_and_lets_settled_ones_go() {
    let server = RedisServer::start_as(ServerKind {
        maxmemory: 16 << 20,
        ..ServerKind::default()
    });
    let store = store(&server.url());
    let mut kept = 0;
    let refused = loop {
        match store.file((kept..kept + 5).map(long).collect()).await {
            Ok(_) => kept += 5,
            Err(error) => break error,
        }
    };
    assert!(refused.to_string().contains("Redis is full"), "{refused}");
    assert_eq!(store.summary().trouble.as_deref(), Some(&*refused.0));
    let letters = held(&store).await;
    assert_eq!(letters.len() as u64, kept, "a refused call files nothing");
    let repair = vec![(letters[0].handle(), "x".repeat(1 << 20).into())];
    store.rewrite(repair).await.expect_err("it grows");

    let some = handles(&letters[..letters.len() / 2]);
    let settled = store.settle(&some, Fate::Discarded).await;
    assert_eq!(settled.expect("it frees memory"), some.len() as u64);
    assert_eq!(filed(&store, [long(kept)]).await, [Filed::Kept]);
    while store.file(vec![long(kept + 1)]).await.is_ok() {
        kept += 1;
    }
    let store = store_with(&at(&server.url()), 0, forgetful());
    assert!(expired(&store, 1000).await > 0, "it frees memory");
    assert_eq!(store.groups().await.expect("groups"), []);
    assert_eq!(unaccounted(&store), [0, 0, 0]);
}

#[tokio::test]
async fn letters_outlive_redis_and_filing_goes_on_with_it() {
    let mut server = RedisServer::start();
    let store = store(&server.url());
    store.file(refusals(0..100)).await.expect("filed");
    let before = held(&store).await;
    server.kill();
    let error = store.file(refusals(50..150)).await.expect_err("away");
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert!(store.summary().trouble.is_some());
    assert_eq!(store.summary().places[&Place::Logstash].held, 100);
    server.restart();
    let outcomes = file_until_held(&store, &refusals(50..150)).await;
    assert_eq!(outcomes[..50], [Filed::Known; 50]);
    assert_eq!(outcomes[50..], [Filed::Kept; 50]);
    assert_eq!(held(&store).await[..100], before);
    assert_eq!(store.summary().trouble, None);
    // As if somebody had emptied it.
    let _: String = server.ask(&["SCRIPT", "FLUSH"]);
    assert_eq!(filed(&store, [refused(0)]).await, [Filed::Known]);
}

#[tokio::test]
async fn lost_answers_file_nothing_twice_and_settle_nothing_twice() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let store = store(&proxy.url());
    store.file(refusals(0..10)).await.expect("filed");
    // This server knows all scripts: else nothing is done before the answer that is lost.
    assert_eq!(store.settle(&[], Fate::Discarded).await, Ok(0));
    assert_eq!(store.rewrite(Vec::new()).await, Ok(0));
    for (turn, cut) in (0..).zip([Cut::AfterRequest("EVALSHA"), Cut::BeforeAnswer("kept")]) {
        proxy.cut(cut);
        let new = refusals(10 + turn * 10..20 + turn * 10);
        let filed = file_until_held(&store, &new).await;
        assert_eq!(filed, [Filed::Known; 10]);
    }
    assert_eq!(proxy.cuts(), 2);
    assert_eq!(store.groups().await.expect("groups")[0].events, 30);

    let letters = held(&store).await;
    proxy.cut(Cut::AfterRequest("discarded"));
    let settled = store
        .settle(&handles(&letters[..10]), Fate::Discarded)
        .await;
    assert_eq!(settled, Ok(0), "they were gone when it asked again");
    proxy.cut(Cut::AfterRequest("repaired"));
    let repairs = letters[10..20]
        .iter()
        .map(|l| (l.handle(), "repaired".into()));
    let repaired = store.rewrite(repairs.collect()).await;
    assert_eq!(repaired, Ok(0), "they were repaired when it asked again");
    assert_eq!(proxy.cuts(), 4);
    let left = held(&store).await;
    assert_eq!(left.len(), 20);
    assert!(left[..10].iter().all(|l| l.revision == 1));
    assert!(left[..10].iter().all(|l| l.letter.event == "repaired"));
    assert!(left[10..].iter().all(|l| l.revision == 0));
    let books = store.summary().places[&Place::Logstash];
    assert_eq!((books.received, books.discarded), (30, 10));
    assert_eq!(books.unaccounted(), 0);
}

#[tokio::test]
async fn with_min_replicas_a_letter_is_filed_when_they_have_it() {
    let server = RedisServer::start();
    let store = store_with(&at(&server.url()), 1, options());
    let error = store.file(refusals(0..10)).await.expect_err("no replica");
    assert!(error.to_string().contains("0 of 1 replicas"), "{error}");
    let replica = RedisServer::start_as(ServerKind {
        more: vec![format!("replicaof 127.0.0.1 {}", server.port())],
        ..ServerKind::default()
    });
    let filed = file_until_held(&store, &refusals(0..10)).await;
    assert_eq!(filed, [Filed::Known; 10]);
    let names: u64 = replica.ask(&["HLEN", "{stashgate}:letters:names"]);
    assert_eq!(names, 10);
    let handles = handles(&held(&store).await);
    assert_eq!(store.settle(&handles, Fate::Returned).await, Ok(10));
    let names: u64 = replica.ask(&["HLEN", "{stashgate}:letters:names"]);
    assert_eq!(names, 0);
}

#[tokio::test]
async fn in_a_cluster_letters_follow_their_master_through_failovers() {
    let mut cluster = Cluster::start();
    let server = ServerOptions {
        cluster: cluster.seeds(),
        ..ServerOptions::default()
    };
    let store = store_with(&server, 1, options());
    let mut filed = 0;
    for turn in 0..3 {
        match turn {
            1 => cluster.fail_over("{stashgate}"),
            2 => drop(cluster.kill_master_of("{stashgate}")),
            _ => {}
        }
        for _ in 0..10 {
            if turn == 2 {
                // Only one replica was there.
                break;
            }
            file_until_held(&store, &refusals(filed..filed + 50)).await;
            filed += 50;
        }
    }
    // The dead master's replica has all, and takes letters without another one.
    let alone = store_with(&server, 0, options());
    file_until_held(&alone, &refusals(filed..filed + 50)).await;
    filed += 50;
    assert_eq!(held(&alone).await.len() as u64, filed);
    assert_eq!(alone.groups().await.expect("groups")[0].events, filed);
    assert_eq!(unaccounted(&alone), [0, 0, 0]);
}
