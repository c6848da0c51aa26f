//! `POST /v1/dead-letters` while other clients send slowly, or stop: good letters get through.

#![allow(missing_docs)]

mod receiver_support;

use std::net::SocketAddr;
use std::time::Duration;

use receiver_support::http::{request, serve};
use receiver_support::letters::*;
use receiver_support::{DEADLINE, Gateway, ended};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

const HEAD: &str = "POST /v1/dead-letters HTTP/1.1\r\nhost: gateway\r\n";

/// A client that has sent the head of a post of `length` bytes, and the beginning of its body.
async fn begun(address: SocketAddr, more: &str, length: usize, body: &[u8]) -> Client {
    let mut client = Client::connect(address).await;
    let head = format!("{HEAD}{more}content-length: {length}\r\n\r\n");
    client.send(&head).await;
    client.0.write_all(body).await.expect("writes");
    client
}

async fn assert_kept(address: SocketAddr, n: u64) {
    let answer = request(address, POST, &[JSON], batch(n..n + 1).as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn posts_that_stand_still_hold_up_neither_others_nor_events() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let mut still = Vec::new();
    for _ in 0..20 {
        let mut client = Client::connect(address).await;
        let head = format!("{HEAD}expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n");
        client.send(&head).await;
        // It is being received.
        assert_eq!(client.answer().await.0, "HTTP/1.1 100 Continue");
        client.send("4\r\n[{\"a\r\n").await;
        still.push(client);
    }
    let answer = request(address, "POST /v1/events", &[NDJSON], b"{}\n").await;
    assert_eq!(answer.status, 200);
    assert_kept(address, 0).await;
    // They are not given up.
    for mut client in still {
        client.send("5\r\n\":1}]\r\n0\r\n\r\n").await;
        let (status, body) = client.answer().await;
        assert_eq!(
            (status.as_str(), body.as_str()),
            ("HTTP/1.1 200 OK", r#"{"kept":1}"#)
        );
    }
    let letters = gateway.dead_letters_of("logstash").await;
    assert_eq!(letters.len(), 21);
}

/// Sends letters a byte at a time, for ever.
async fn trickle(address: SocketAddr) {
    let mut client = begun(address, "", 1 << 30, b"[").await;
    let element = format!("{},", refused(1));
    for byte in element.bytes().cycle() {
        client.0.write_all(&[byte]).await.expect("writes");
        client.0.flush().await.expect("writes");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn clients_that_trickle_bytes_hold_up_nobody() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let mut tricklers = JoinSet::new();
    for _ in 0..40 {
        tricklers.spawn(trickle(address));
    }
    for n in 0..50 {
        assert_kept(address, n).await;
    }
    assert!(tricklers.try_join_next().is_none(), "all go on");
    tricklers.shutdown().await;
    let letters = gateway.dead_letters_of("logstash").await;
    let numbers = numbers(&letters);
    assert!((0..50).all(|n| numbers.contains(&n)), "{numbers:?}");
}

#[tokio::test]
async fn of_posts_that_take_too_much_memory_one_gives_way_and_is_to_be_sent_again() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let mut body = format!("[{{\"text\":\"{}", "x".repeat(30 << 20)).into_bytes();
    body.extend_from_slice(b"\"}]");
    let body = gzip(&body);
    // They stand still within the element, of which little is missing.
    let (sent, last) = body.split_at(body.len() - 100);
    let encoding = "content-encoding: gzip\r\n";
    let mut one = begun(address, encoding, body.len(), sent).await;
    let mut other = begun(address, encoding, body.len(), sent).await;
    let first = async {
        tokio::select! {
            refused = one.answer() => (refused, &mut other),
            refused = other.answer() => (refused, &mut one),
        }
    };
    let (refused, stays) = timeout(DEADLINE, first).await.expect("one gives way");
    assert_eq!(refused.0, "HTTP/1.1 503 Service Unavailable");
    assert!(refused.1.contains("full_in_flight"), "{}", refused.1);
    assert_kept(address, 0).await;
    stays.0.write_all(last).await.expect("writes");
    let (status, body) = timeout(DEADLINE, stays.answer()).await.expect("in time");
    assert_eq!(
        (status.as_str(), body.as_str()),
        ("HTTP/1.1 200 OK", r#"{"kept":1}"#)
    );
}

#[tokio::test]
async fn large_events_of_many_clients_are_kept_one_after_the_other() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let text = "x".repeat(3 << 20);
    let posts = (0..6).map(|n| {
        let body = json!([{ "n": n, "text": text }]).to_string();
        tokio::spawn(async move { request(address, POST, &[JSON], body.as_bytes()).await })
    });
    let posts: Vec<JoinHandle<_>> = posts.collect();
    for post in posts {
        let answer = ended(post).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(gateway.dead_letters_of("logstash").await.len(), 6);
}
