//! The real program, reading dead letters from a list in a real Redis.

#[path = "support/gateway.rs"]
mod gateway;
mod letters_redis_support;
mod letters_support;
mod redis_support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gateway::{PATIENCE, Setup, eventually};
use letters_redis_support::{store, unaccounted};
use letters_support::held;
use redis_support::{RedisServer, push};
use stashgate::dead_letter::store::{Fate, Store};
use tokio::time::sleep;

const LIST: &str = "logstash-dead-letters";

/// A gateway that reads the list at `server`; `max_bytes` of dead letters.
fn setup(server: &RedisServer, max_bytes: &str) -> Setup {
    // Nothing is forwarded.
    let nowhere: SocketAddr = ([127, 0, 0, 1], 9).into();
    let url = server.url();
    Setup::new(
        nowhere,
        &format!(
            "[dead_letters]\nredis_list = \"{LIST}\"\nmax_bytes = \"{max_bytes}\"\n[spool]\nkind = \"redis\"\n[spool.journal]\nmin_free_bytes = 0\n[spool.redis]\nurl = \"{url}\"\n"
        ),
    )
}

fn event(number: u64, text: &str) -> String {
    format!(
        r#"{{"n":{number},"text":"{text}","_gateway_dlq":{{"reason":"odd","entry_time":"2026-11-20T10:00:00.123Z","id":"id-{number}"}}}}"#
    )
}

fn push_events(server: &RedisServer, numbers: std::ops::Range<u64>, text: &str) {
    let events: Vec<_> = numbers.map(|number| event(number, text)).collect();
    push(server, LIST, events.iter().map(String::as_bytes));
}

async fn are_filed(server: &RedisServer, setup: &Setup, store: &Store, count: u64) {
    let (mut most, mut until) = (0, Instant::now() + PATIENCE);
    loop {
        let waiting = server.ask::<u64>(&["LLEN", LIST]);
        let there = server.ask::<u64>(&["HLEN", "{stashgate}:letters:names"]);
        if waiting == 0 && there == count {
            break;
        }
        if there > most {
            (most, until) = (there, Instant::now() + PATIENCE);
        }
        let log = setup.log();
        assert!(
            Instant::now() < until,
            "{waiting} in the list, {there} of {count} filed: {log}"
        );
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(held(store).await.len() as u64, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_are_killed_lose_no_element_and_keep_none_twice() {
    let server = RedisServer::start();
    let setups = [setup(&server, "1GiB"), setup(&server, "1GiB")];
    let mut pushed = 0;
    for _ in 0..6 {
        let gateways = [
            setups[0].start_and_wait().await,
            setups[1].start_and_wait().await,
        ];
        push_events(&server, pushed..pushed + 5000, "x");
        pushed += 5000;
        sleep(Duration::from_millis(fastrand::u64(0..150))).await;
        for gateway in gateways {
            gateway.kill();
        }
    }
    let left = server.ask::<u64>(&["LLEN", LIST]);
    eprintln!("{left} of {pushed} in the list after the kills");
    let _gateways = [
        setups[0].start_and_wait().await,
        setups[1].start_and_wait().await,
    ];
    let store = store(&server.url());
    are_filed(&server, &setups[0], &store, pushed).await;
    store.expire(1).await.expect("looked");
    assert_eq!(unaccounted(&store), [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_said_and_waits() {
    let server = RedisServer::start();
    let _: String = server.ask(&["SET", LIST, "no list"]);
    let setup = setup(&server, "1GiB");
    let _gateway = setup.start_and_wait().await;
    eventually("that is said", || {
        setup
            .log()
            .contains("the key is no list; give dead_letters.redis_list another name")
    })
    .await;
    let _: u64 = server.ask(&["DEL", LIST]);
    push_events(&server, 0..1, "x");
    let long = vec![b'x'; (32 << 20) + 1];
    push(&server, LIST, [&long[..]]);
    push_events(&server, 1..2, "x");
    let store = store(&server.url());
    eventually("what stands before it is read", || {
        server.ask::<u64>(&["LLEN", LIST]) == 2
    })
    .await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(server.ask::<u64>(&["LLEN", LIST]), 2);
    let _: Vec<u8> = server.ask(&["LPOP", LIST]);
    are_filed(&server, &setup, &store, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_waits_while_there_is_no_room_and_takes_no_memory() {
    let server = RedisServer::start_as(redis_support::ServerKind {
        aof: None,
        ..Default::default()
    });
    let text = "x".repeat(1000);
    // 100 MB.
    for thousand in 0..100 {
        push_events(&server, thousand * 1000..(thousand + 1) * 1000, &text);
    }
    let setup = setup(&server, "4MiB");
    let gateway = setup.start_and_wait().await;
    let store = store(&server.url());
    eventually("store and inbox are full", || {
        setup.log().contains("hold as much as they may")
    })
    .await;
    let left = server.ask::<u64>(&["LLEN", LIST]);
    let there = held(&store).await;
    assert!(
        left > 90_000 && there.len() > 2000,
        "{left} {}",
        there.len()
    );
    let memory = peak_memory(gateway.id());
    assert!(memory < 96 << 20, "{memory} bytes");
    // Somebody makes room.
    let handles: Vec<_> = there.iter().map(|letter| letter.handle()).collect();
    let gone = store.settle(&handles, Fate::Discarded).await;
    assert_eq!(gone, Ok(there.len() as u64));
    eventually("the list goes on", || {
        server.ask::<u64>(&["LLEN", LIST]) < left - 1000
    })
    .await;
}

/// The most memory that a process had, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        * 1024
}
