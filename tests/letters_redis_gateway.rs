//! The real program with its dead letters in a real Redis.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
mod letters_redis_support;
mod letters_support;
mod redis_support;

use std::net::SocketAddr;

use gateway::{Setup, eventually};
use http::ask;
use letters_redis_support::{store, unaccounted};
use letters_support::{ALL, DAY, held};
use redis_support::RedisServer;
use serde_json::Value;
use stashgate::batch::UnixMillis;
use stashgate::dead_letter::Place;
use stashgate::dead_letter::store::{Fate, Order, Selection, Store};

/// A gateway whose spool is at `server`.
fn setup(server: &RedisServer) -> Setup {
    // Nothing is forwarded.
    let nowhere: SocketAddr = ([127, 0, 0, 1], 9).into();
    let url = server.url();
    Setup::new(
        nowhere,
        &format!(
            "[spool]\nkind = \"redis\"\n[spool.journal]\nmin_free_bytes = 0\n[spool.redis]\nurl = \"{url}\"\n"
        ),
    )
}

/// Sends what is no event: `count` dead letters of the door, all different.
fn send_garbage(setup: &Setup, what: &str, count: usize) {
    let garbage: String = (0..count).map(|n| format!("{{{what}{n}\n")).collect();
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson",
        setup.http
    );
    let answer = ask(setup.http, &head, &garbage);
    assert!(answer.body.contains("\"kept\":true"), "{}", answer.body);
}

/// What the status says of them, once the gateway has opened everything.
async fn letters(setup: &Setup) -> Value {
    loop {
        let seen = setup.status().await["dead_letters"].take();
        if !seen.is_null() {
            return seen;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Waits until the store has so many letters, and the gateway none to be filed.
async fn are_filed(setup: &Setup, store: &Store, count: usize) {
    let (mut most, mut until) = (0, std::time::Instant::now() + gateway::PATIENCE);
    loop {
        let selection = Selection::default();
        let numbers = store.numbers(&selection, ALL, Order::OldestFirst, usize::MAX);
        let there = numbers.await.map_or(0, |numbers| numbers.len());
        let unfiled = letters(setup).await["unfiled"].as_u64();
        if there == count && unfiled == Some(0) {
            return;
        }
        if there > most {
            (most, until) = (there, std::time::Instant::now() + gateway::PATIENCE);
        }
        assert!(
            std::time::Instant::now() < until,
            "{there} of {count} letters, {unfiled:?} unfiled: {}",
            setup.log()
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_wait_for_a_redis_that_is_away_and_are_filed_when_it_comes() {
    let mut server = RedisServer::start();
    let setup = setup(&server);
    server.kill();
    let gateway = setup.start_and_wait().await;
    send_garbage(&setup, "away", 100);
    let until = std::time::Instant::now() + gateway::PATIENCE;
    while letters(&setup).await["trouble"].is_null() {
        assert!(std::time::Instant::now() < until, "{}", setup.log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let seen = letters(&setup).await;
    assert_eq!(seen["unfiled"], 100, "{seen}");
    server.restart();
    let store = store(&server.url());
    are_filed(&setup, &store, 100).await;
    eventually("the trouble is over", || {
        setup.log().contains("filed again")
    })
    .await;
    let seen = letters(&setup).await;
    assert_eq!(seen["held"], 100, "{seen}");
    assert_eq!(gateway.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_show_the_same_letters_and_each_may_be_killed_while_it_files() {
    let server = RedisServer::start();
    let setups = [setup(&server), setup(&server)];
    let mut sent = 0;
    for turn in 0..3 {
        let gateways = [
            setups[0].start_and_wait().await,
            setups[1].start_and_wait().await,
        ];
        for (nth, setup) in setups.iter().enumerate() {
            send_garbage(setup, &format!("{turn} {nth} "), 3000);
            // The same from both: the second one changes nothing.
            send_garbage(setup, &format!("{turn} both "), 500);
        }
        sent += 6500;
        for gateway in gateways {
            gateway.kill();
        }
    }
    let _gateways = [
        setups[0].start_and_wait().await,
        setups[1].start_and_wait().await,
    ];
    let store = store(&server.url());
    for setup in &setups {
        are_filed(setup, &store, sent).await;
    }
    assert_eq!(held(&store).await.len(), sent);
    store.expire(1).await.expect("looked");
    assert_eq!(unaccounted(&store), [0, 0, 0]);
    let groups = store.groups().await.expect("groups");
    let events: u64 = groups.iter().map(|group| group.events).sum();
    assert_eq!(events, sent as u64);
    for setup in &setups {
        let mut seen = letters(setup).await;
        while seen["held"] != sent {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            seen = letters(setup).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_keeps_what_is_old_after_redis_clock_jumped_and_says_so() {
    let server = RedisServer::start();
    let setup = setup(&server);
    let gateway = setup.start_and_wait().await;
    send_garbage(&setup, "old", 100);
    let store = store(&server.url());
    are_filed(&setup, &store, 100).await;
    assert_eq!(gateway.terminate().await, Some(0));

    let books = "{stashgate}:letters:books";
    let now = UnixMillis::now().0;
    let _: u64 = server.ask(&["HSET", books, "seen", &(now - 2 * DAY).to_string()]);
    let settings = std::fs::read_to_string(setup.config_file()).expect("read");
    let settings = settings + "[dead_letters]\nretention = \"1ms\"\n";
    std::fs::write(setup.config_file(), settings).expect("written");
    let gateway = setup.start_and_wait().await;
    let said = "the clock moved on by more than a day at once";
    eventually("that is said", || setup.log().contains(said)).await;
    assert_eq!(held(&store).await.len(), 100);
    let seen = letters(&setup).await;
    assert_eq!(
        (&seen["held"], &seen["expiring"]),
        (&100.into(), &100.into())
    );
    assert_eq!(gateway.terminate().await, Some(0));

    // Three days later.
    let _: u64 = server.ask(&["HSET", books, "stays", &now.to_string()]);
    let _gateway = setup.start_and_wait().await;
    eventually("that is said", || setup.log().contains("and are gone")).await;
    assert_eq!(held(&store).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_the_file_move_to_redis_and_those_in_redis_are_not_left_there_unseen() {
    let server = RedisServer::start();
    let setup = setup(&server);
    let in_redis = std::fs::read_to_string(setup.config_file()).expect("read");
    let in_journal = in_redis.replace("kind = \"redis\"", "kind = \"journal\"");
    let to = |settings: &str| std::fs::write(setup.config_file(), settings).expect("written");
    to(&in_journal);
    let gateway = setup.start_and_wait().await;
    send_garbage(&setup, "before", 250);
    let until = std::time::Instant::now() + gateway::PATIENCE;
    while letters(&setup).await["unfiled"] != 0 {
        assert!(std::time::Instant::now() < until, "{}", setup.log());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(gateway.terminate().await, Some(0));

    to(&in_redis);
    let gateway = setup.start_and_wait().await;
    send_garbage(&setup, "after", 250);
    let store = store(&server.url());
    are_filed(&setup, &store, 500).await;
    eventually("that is said", || setup.log().contains("moved=250")).await;
    assert_eq!(gateway.terminate().await, Some(0));

    to(&in_journal);
    let code = setup.start().exit_code().await;
    assert_ne!(code, Some(0), "it would leave them behind");
    let log = setup.log();
    assert!(log.contains("dead letters be held there"), "{log}");

    let handles: Vec<_> = held(&store).await.iter().map(|l| l.handle()).collect();
    let gone = store.settle(&handles, Fate::SentElsewhere).await;
    assert_eq!(gone, Ok(500));
    assert_eq!(store.summary().places[&Place::Door].held, 0);
    to(&in_redis);
    let gateway = setup.start_and_wait().await;
    letters(&setup).await;
    assert_eq!(gateway.terminate().await, Some(0));
    to(&in_journal);
    let gateway = setup.start_and_wait().await;
    let seen = letters(&setup).await;
    assert_eq!(seen["held"], 0, "{seen}");
    assert_eq!(gateway.terminate().await, Some(0));
}
