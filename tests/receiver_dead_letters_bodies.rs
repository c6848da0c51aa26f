//! What `POST /v1/dead-letters` makes of odd events, and of what Logstash's client does at
//! night: each has an answer that loses nothing.

#![allow(missing_docs)]

mod receiver_support;

use std::time::Instant;

use receiver_support::disk::Disk;
use receiver_support::http::{answer, request, serve};
use receiver_support::letters::*;
use receiver_support::{DEADLINE, Gateway, Setup};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// The letters that one body becomes; all of it is taken.
async fn kept(body: &[u8]) -> Vec<Value> {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let answer = request(address, POST, &[JSON], body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let letters = gateway.dead_letters_of("logstash").await;
    assert_eq!(answer.json(), json!({"kept": letters.len()}));
    letters
}

#[tokio::test]
async fn what_is_no_json_object_is_kept_as_it_came() {
    let elements = [
        r#"{"a" 1}"#,
        r#"{"a":NaN,"_gateway_dlq":{"reason":"why"}}"#,
        "7",
        r#""text""#,
        "[{}]",
        "nothing",
    ];
    let letters = kept(format!("[{}]", elements.join(",")).as_bytes()).await;
    assert_eq!(letters.len(), elements.len());
    for (letter, element) in letters.iter().zip(elements) {
        assert_eq!(letter["event"], element);
        assert_eq!(letter["reason"], "other");
        assert_eq!(letter["id"], Value::Null);
        let detail = letter["detail"].as_str().expect("text");
        assert!(detail.contains("kept as it came"), "{detail}");
    }
}

#[tokio::test]
async fn what_is_no_text_is_kept_byte_for_byte() {
    let element = b"{\"a\":\"\xff\xfe\",\"_gateway_dlq\":{\"id\":\"7\"}}";
    let letters = kept(element).await;
    let base64 = letters[0]["event_base64"].as_str().expect("base64");
    let bytes = data_encoding::BASE64.decode(base64.as_bytes());
    assert_eq!(bytes.expect("base64"), element);
    assert_eq!(letters[0]["reason"], "other");
}

#[tokio::test]
async fn of_names_that_come_twice_the_events_own_are_left_and_the_last_mark_counts() {
    let element = r#"{"_gateway_dlq":{"id":"first","attempt":5},"a":1,"a":2,"_gateway_dlq":{"id":"x","id":"last","reason":"why"}}"#;
    let letters = kept(element.as_bytes()).await;
    assert_eq!(letters[0]["event"], r#"{"a":1,"a":2}"#);
    assert_eq!(letters[0]["id"], "last");
    assert_eq!(letters[0]["detail"], "why");
    assert_eq!(letters[0]["attempt"], Value::Null, "the first");
}

#[tokio::test]
async fn a_reason_may_be_anything() {
    let long = "é".repeat(1 << 19);
    let marks = [
        (json!({"id": "0"}), "has no reason"),
        (json!({"id": "1", "reason": null}), "has no reason"),
        (json!({"id": "2", "reason": ""}), "has no reason"),
        (json!({"id": "3", "reason": 400}), "400"),
        (json!({"id": "4", "reason": {"type": "odd"}}), r#""odd""#),
        (json!({"id": "5", "reason": long}), long.as_str()),
        (json!({"id": "6", "reason": "\u{0}\u{1b}[2J"}), "\u{1b}[2J"),
    ];
    let events = marks
        .iter()
        .map(|(mark, _)| json!({"a": 1, "_gateway_dlq": mark}));
    let body = Value::from(events.collect::<Vec<_>>()).to_string();
    let letters = kept(body.as_bytes()).await;
    assert_eq!(letters.len(), marks.len());
    for (n, (letter, (_, detail))) in letters.iter().zip(&marks).enumerate() {
        assert_eq!(letter["id"], n.to_string());
        assert_eq!(letter["event"], r#"{"a":1}"#);
        assert_eq!(letter["reason"], "other");
        let told = letter["detail"].as_str().expect("text");
        assert!(told.contains(detail), "{n}");
        assert_eq!(told.contains("no reason"), n < 3, "{n}");
    }
}

#[tokio::test]
async fn an_event_without_its_metadata_is_a_letter_all_the_same() {
    for (mark, detail) in [
        ("", "came without _gateway_dlq"),
        (r#","_gateway_dlq":null"#, "not an object"),
        (r#","_gateway_dlq":"%{[@metadata]}""#, "not an object"),
        (r#","_gateway_dlq":[]"#, "not an object"),
    ] {
        let element = format!(r#"{{"a":1{mark}}}"#);
        let letters = kept(element.as_bytes()).await;
        assert_eq!(letters[0]["event"], element);
        assert_eq!(letters[0]["queue"], "logstash");
        let told = letters[0]["detail"].as_str().expect("text");
        assert!(told.contains(detail), "{told}");
    }
}

#[tokio::test]
async fn what_was_refused_for_want_of_room_is_taken_when_it_comes_again() {
    let disk = Disk::default();
    let gateway = Gateway::with(Setup {
        letters_disk: disk.clone(),
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway).await;
    let body = batch(0..3);
    let head = format!(
        "POST /v1/dead-letters HTTP/1.1\r\nhost: gateway\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut client = Client::connect(address).await;
    disk.set_full(true);
    let begun = Instant::now();
    for refused in 0.. {
        client.send(&head).await;
        client.send(&body).await;
        let status = client.answer().await.0;
        if status == "HTTP/1.1 200 OK" {
            assert!(refused >= 3, "the disk was full");
            break;
        }
        assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
        // It is some moments before the journal sees that there is room.
        disk.set_full(refused < 2);
        assert!(begun.elapsed() < DEADLINE, "never taken");
    }
    let letters = gateway.dead_letters_of("logstash").await;
    assert_eq!(numbers(&letters), [0, 1, 2]);
}

#[tokio::test]
async fn a_body_whose_last_event_is_cut_is_taken_when_it_comes_again() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let body = batch(0..3);
    let cut = &body.as_bytes()[..body.len() - 10];
    let mut client = Client::connect(address).await;
    for (body, status) in [
        (cut, "HTTP/1.1 503 Service Unavailable"),
        (body.as_bytes(), "HTTP/1.1 200 OK"),
    ] {
        let head = format!(
            "POST /v1/dead-letters HTTP/1.1\r\nhost: gateway\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        client.send(&head).await;
        client.0.write_all(body).await.expect("writes");
        assert_eq!(client.answer().await.0, status);
    }
    let letters = gateway.dead_letters_of("logstash").await;
    assert_eq!(numbers(&letters), [0, 1, 2]);
}

#[tokio::test]
async fn an_old_client_is_answered_in_its_own_version() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let body = batch(0..1);
    for (length, status) in [(body.len(), 200), (body.len() + 1, 503)] {
        let mut socket = TcpStream::connect(address).await.expect("connects");
        let head = format!("{POST} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n");
        socket
            .write_all((head + &body).as_bytes())
            .await
            .expect("writes");
        socket.shutdown().await.expect("ends");
        let answer = answer(socket).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.head.starts_with("HTTP/1.0"), "{answer:?}");
    }
}
