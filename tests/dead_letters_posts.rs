//! The real program and posts of dead letters that are large, hostile, or cut by its death.

#![allow(missing_docs)]

#[path = "support/gateway.rs"]
mod gateway;

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gateway::{Gateway, PATIENCE, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// A post of any length takes no more memory than so much beyond what the program had.
const MORE_MEMORY: u64 = 96 << 20;
/// So much do any number of posts take that stand still: 40 MiB, and what the allocator keeps
/// of those that gave way.
const MORE_OF_ALL: u64 = 128 << 20;

/// A gateway whose Logstash is away.
fn setup(more: &str) -> Setup {
    Setup::new(gateway::free(), more)
}

/// Event number `n`, with `text`.
fn refused(n: u64, text: &str) -> String {
    format!(
        r#"{{"n":{n},"text":"{text}","_gateway_dlq":{{"id":"id-{n}","entry_time":"2026-11-20T10:00:00Z","reason":"why"}}}}"#
    )
}

async fn post(http: SocketAddr, headers: &str) -> TcpStream {
    let mut socket = TcpStream::connect(http).await.expect("connects");
    let head = format!(
        "POST /v1/dead-letters HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\n{headers}transfer-encoding: chunked\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("writes");
    socket
}

/// Sends a piece of a body; `false` if the other side ended it.
async fn send(socket: &mut TcpStream, piece: &[u8]) -> bool {
    let head = format!("{:x}\r\n", piece.len());
    socket
        .write_all(&[head.as_bytes(), piece, b"\r\n"].concat())
        .await
        .is_ok()
}

async fn answer(mut socket: TcpStream) -> String {
    // A refused body may not be read to its end.
    let _ = socket.write_all(b"0\r\n\r\n").await;
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer).await;
    answer
}

/// The most memory it ever had, in bytes.
fn most_memory(gateway: &Gateway) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", gateway.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let text = line.expect("a line").trim().trim_end_matches(" kB");
    text.parse::<u64>().expect("a number") << 10
}

/// How many letters are held when all of them are filed.
async fn held(setup: &Setup) -> u64 {
    let mut last = serde_json::Value::Null;
    let mut until = Instant::now() + PATIENCE;
    loop {
        let letters = setup.status().await["dead_letters"].clone();
        if letters["unfiled"] == 0 {
            return letters["held"].as_u64().expect("a number");
        }
        if letters["unfiled"] != last {
            (last, until) = (letters["unfiled"].clone(), Instant::now() + PATIENCE);
        }
        assert!(Instant::now() < until, "never filed: {letters}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_body_of_200_megabytes_is_kept_in_a_few_megabytes_of_memory() {
    let setup = setup("");
    let gateway = setup.start_and_wait().await;
    let before = most_memory(&gateway);
    let mut socket = post(setup.http, "content-type: application/x-ndjson\r\n").await;
    // Four thousand events, each fifty times: the disk is to hold the first time only.
    let text = "x".repeat(1000);
    for round in 0..50_u64 {
        for first in (0..4000).step_by(100) {
            let lines: String = (first..first + 100)
                .map(|n| refused(n, &text) + "\n")
                .collect();
            assert!(send(&mut socket, lines.as_bytes()).await, "round {round}");
        }
    }
    let answer = answer(socket).await;
    assert!(answer.ends_with(r#"{"kept":200000}"#), "{answer}");
    let more = most_memory(&gateway) - before;
    eprintln!("{} MiB more than {} MiB", more >> 20, before >> 20);
    assert!(more < MORE_MEMORY, "{more}");
    assert_eq!(held(&setup).await, 4000);
}

#[tokio::test]
async fn bombs_end_at_the_budget_or_the_longest_element_and_take_no_memory() {
    let setup = setup("[dead_letters]\nmax_bytes = \"4MiB\"");
    let gateway = setup.start_and_wait().await;
    let before = most_memory(&gateway);
    let text = "x".repeat(9000);
    let events = (0..10_000).map(|n| refused(n, &text) + ",");
    let events = format!("[{}", events.collect::<String>());
    let element = format!("[\"{}", "x".repeat(200 << 20));
    for (bomb, reason) in [(events, "full_dead_letters"), (element, "element_too_long")] {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(bomb.as_bytes()).expect("compresses");
        let gzip = gzip.finish().expect("compresses");
        assert!(gzip.len() * 100 < bomb.len(), "{} bytes", gzip.len());
        let mut socket = post(setup.http, "content-encoding: gzip\r\n").await;
        send(&mut socket, &gzip).await;
        let answer = answer(socket).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains(reason), "{answer}");
    }
    let log = setup.log();
    assert!(
        log.contains("dead letters from Logstash are refused"),
        "{log}"
    );
    let more = most_memory(&gateway) - before;
    eprintln!("{} MiB more than {} MiB", more >> 20, before >> 20);
    assert!(more < MORE_MEMORY, "{more}");
}

#[tokio::test]
async fn posts_that_stand_still_take_no_more_memory_than_they_may_together() {
    let setup = setup("");
    let gateway = setup.start_and_wait().await;
    let before = most_memory(&gateway);
    let element = format!("[\"{}", "x".repeat(20 << 20));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(element.as_bytes()).expect("compresses");
    let gzip = gzip.finish().expect("compresses");
    let mut still = JoinSet::new();
    for _ in 0..8 {
        let mut socket = post(setup.http, "content-encoding: gzip\r\n").await;
        assert!(send(&mut socket, &gzip).await);
        still.spawn(async move {
            let mut answer = String::new();
            let _ = socket.read_to_string(&mut answer).await;
            answer
        });
    }
    // One has room, and stands still.
    for _ in 0..7 {
        let answer = timeout(PATIENCE, still.join_next()).await.expect("in time");
        let answer = answer.expect("some are left").expect("ends");
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    let mut socket = post(setup.http, "").await;
    send(&mut socket, format!("[{}]", refused(1, "")).as_bytes()).await;
    let answer = answer(socket).await;
    assert!(answer.ends_with(r#"{"kept":1}"#), "{answer}");
    let more = most_memory(&gateway) - before;
    eprintln!("{} MiB more than {} MiB", more >> 20, before >> 20);
    assert!(more < MORE_OF_ALL, "{more}");
}

#[tokio::test]
async fn a_post_that_is_sent_again_after_a_kill_keeps_each_event_once() {
    const EVENTS: u64 = 4000;
    let setup = setup("");
    for kill in 1..4 {
        let gateway = setup.start_and_wait().await;
        let mut socket = post(setup.http, "").await;
        send(&mut socket, b"[").await;
        for n in 0..EVENTS * kill / 4 {
            let element = refused(n, "") + ",";
            send(&mut socket, element.as_bytes()).await;
        }
        // What is kept is kept while the rest is on its way.
        let until = Instant::now() + PATIENCE;
        while setup.status().await["dead_letters"]["held"] == 0 {
            assert!(Instant::now() < until, "nothing is kept");
            sleep(Duration::from_millis(10)).await;
        }
        gateway.kill();
    }
    let gateway = setup.start_and_wait().await;
    for _ in 0..2 {
        let mut socket = post(setup.http, "").await;
        let elements: Vec<_> = (0..EVENTS).map(|n| refused(n, "")).collect();
        send(&mut socket, format!("[{}]", elements.join(",")).as_bytes()).await;
        let answer = answer(socket).await;
        assert!(answer.ends_with(r#"{"kept":4000}"#), "{answer}");
        assert_eq!(held(&setup).await, EVENTS);
    }
    assert_eq!(gateway.terminate().await, Some(0));
}
