//! `POST /v1/dead-letters` on real sockets and real dead letters.

#![allow(missing_docs)]

mod receiver_support;

use receiver_support::disk::Disk;
use receiver_support::http::{answer, raw, request, serve};
use receiver_support::letters::*;
use receiver_support::{Gateway, Setup, until};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn what_elasticsearch_refused_is_kept_with_class_field_and_id() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let answer = request(address, POST, &[JSON], batch(7..9).as_bytes()).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"kept": 2})));
    let letters = gateway.dead_letters_of("logstash").await;
    let expected = json!({
        "at": 1_795_168_800_123_u64,
        "queue": "logstash",
        "id": "id-7",
        "reason": "mapping_conflict",
        "field": "user.id",
        "detail": letters[0]["detail"],
        "source": "logstash",
        "event": r#"{"user":{"id":"anna"},"n":7}"#,
    });
    assert_eq!(letters[0], expected);
    let detail = letters[0]["detail"].as_str().expect("text");
    assert!(
        detail.starts_with("field `user.id` is long, got a string: "),
        "{detail}"
    );
    assert_eq!(numbers(&letters), [7, 8]);
}

#[tokio::test]
async fn every_form_of_a_body_is_taken() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let lines: String = (2..4).map(|n| format!("{}\n", refused(n))).collect();
    let zstd = zstd::encode_all(batch(7..9).as_bytes(), 3).expect("compresses");
    let kept: [(&[&str], Vec<u8>, u64); 7] = [
        (&[JSON], batch(0..2).into(), 2),
        (&[NDJSON], lines.into(), 2),
        (&[JSON], refused(4).to_string().into(), 1),
        (
            &[JSON, "content-encoding: gzip"],
            gzip(batch(5..7).as_bytes()),
            2,
        ),
        (&[JSON, "content-encoding: zstd"], zstd, 2),
        (&[], b"[]".to_vec(), 0),
        (&[], Vec::new(), 0),
    ];
    for (headers, body, kept) in kept {
        let answer = request(address, POST, headers, &body).await;
        assert_eq!((answer.status, answer.json()), (200, json!({"kept": kept})));
    }
    let letters = gateway.dead_letters_of("logstash").await;
    assert_eq!(numbers(&letters), (0..9).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_queue_is_the_events_own_if_there_is_one_of_that_name() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let mut events = [refused(0), refused(1), refused(2)];
    events[1]["_gateway_dlq"]["queue"] = json!("tiny");
    events[2]["_gateway_dlq"]["queue"] = json!("nobody");
    let body = json!(events).to_string();
    let answer = request(
        address,
        &format!("{POST}?queue=other"),
        &[],
        body.as_bytes(),
    )
    .await;
    assert_eq!(answer.status, 200);
    let letters = gateway.dead_letters_of("logstash").await;
    let queues: Vec<_> = letters.iter().map(|letter| &letter["queue"]).collect();
    assert_eq!(queues, ["other", "tiny", "other"]);
}

#[tokio::test]
async fn one_connection_serves_posts_in_chunks_and_with_expectations() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let mut client = Client::connect(address).await;
    let head =
        "POST /v1/dead-letters HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n";
    let body = batch(0..2);
    client
        .send(&format!(
            "{head}expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            body.len()
        ))
        .await;
    assert_eq!(client.answer().await.0, "HTTP/1.1 100 Continue");
    client.send(&body).await;
    let ok = ("HTTP/1.1 200 OK".to_owned(), r#"{"kept":2}"#.to_owned());
    assert_eq!(client.answer().await, ok);

    client
        .send(&format!("{head}transfer-encoding: chunked\r\n\r\n"))
        .await;
    let body = batch(2..4);
    for piece in body.as_bytes().chunks(100) {
        let piece = std::str::from_utf8(piece).expect("ASCII");
        client
            .send(&format!("{:x}\r\n{piece}\r\n", piece.len()))
            .await;
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.answer().await, ok);
    let letters = gateway.dead_letters_of("logstash").await;
    assert_eq!(numbers(&letters), [0, 1, 2, 3]);
}

#[tokio::test]
async fn whatever_cannot_be_done_is_to_be_sent_again() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let whole = batch(0..1);
    let cut = &whole.as_bytes()[..whole.len() - 1];
    let mut damaged = gzip(whole.as_bytes());
    damaged.truncate(30);
    let gzipped = "content-encoding: gzip";
    let other = format!("{POST}?queue=nobody");
    let long = vec![b'['; (32 << 20) + 2];
    let cases: [(&str, &[&str], &[u8], &str); 11] = [
        ("GET /v1/dead-letters", &[], b"", "wrong_method"),
        (
            "PUT /v1/dead-letters",
            &[JSON],
            whole.as_bytes(),
            "wrong_method",
        ),
        (
            POST,
            &["content-type: text/plain"],
            whole.as_bytes(),
            "unsupported_media_type",
        ),
        (
            POST,
            &[JSON, "content-encoding: br"],
            whole.as_bytes(),
            "unsupported_encoding",
        ),
        (POST, &[JSON, gzipped], &damaged, "undecodable"),
        (POST, &[JSON, gzipped], whole.as_bytes(), "undecodable"),
        (POST, &[JSON], cut, "malformed"),
        (POST, &[JSON], b"text", "malformed"),
        (POST, &[JSON], &long, "element_too_long"),
        (&other, &[JSON], whole.as_bytes(), "unknown_queue"),
        (
            "POST /v1/dead-letters?queue=%ff",
            &[JSON],
            whole.as_bytes(),
            "unknown_queue",
        ),
    ];
    for (line, headers, body, reason) in cases {
        assert_sent_again(&request(address, line, headers, body).await, reason);
    }
    // The client ends in the middle of the body.
    let length = format!("content-length: {}", whole.len() + 1);
    let head = format!("{POST} HTTP/1.1\r\nhost: gateway\r\n{length}\r\n\r\n");
    let mut socket = TcpStream::connect(address).await.expect("connects");
    socket
        .write_all((head + &whole).as_bytes())
        .await
        .expect("writes");
    socket.shutdown().await.expect("ends");
    assert_sent_again(&answer(socket).await, "undecodable");
    let answer = raw(
        address,
        POST,
        &[JSON, "transfer-encoding: chunked"],
        b"xyz\r\n",
    )
    .await;
    assert_sent_again(&answer, "undecodable");
    // What came whole before the fault is kept; the same again changes nothing, since it
    // has the same id.
    let letters = gateway.dead_letters_of("logstash").await;
    assert!(
        letters.iter().all(|letter| letter["id"] == "id-0"),
        "{letters:?}"
    );
}

#[tokio::test]
async fn a_full_inbox_is_to_be_tried_again() {
    let gateway = Gateway::with(Setup {
        letters: 64 << 10,
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway).await;
    // A queue takes what finds it empty, whatever its length.
    let body = batch(0..1000);
    let answer = request(address, POST, &[JSON], body.as_bytes()).await;
    assert_eq!(answer.status, 200);
    let answer = request(address, POST, &[JSON], body.as_bytes()).await;
    assert_sent_again(&answer, "full_dead_letters");
}

#[tokio::test]
async fn a_broken_disk_is_to_be_tried_again() {
    let disk = Disk::default();
    let gateway = Gateway::with(Setup {
        letters_disk: disk.clone(),
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway).await;
    disk.break_down();
    for _ in 0..2 {
        let answer = request(address, POST, &[JSON], batch(0..1).as_bytes()).await;
        assert_sent_again(&answer, "dead_letters_unavailable");
    }
}

#[tokio::test]
async fn it_answers_only_when_all_is_durable() {
    let disk = Disk::default();
    let gateway = Gateway::with(Setup {
        letters_disk: disk.clone(),
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway).await;
    let held = disk.hold();
    let posted =
        tokio::spawn(async move { request(address, POST, &[JSON], batch(0..1).as_bytes()).await });
    until("a sync waits", || disk.is_waited_for()).await;
    // Nothing else is left to do than that sync.
    tokio::task::yield_now().await;
    assert!(!posted.is_finished());
    drop(held);
    assert_eq!(posted.await.expect("answered").status, 200);
}

#[tokio::test]
async fn a_post_in_hand_is_refused_when_the_gateway_stops() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let mut client = Client::connect(address).await;
    let head = "POST /v1/dead-letters HTTP/1.1\r\nhost: gateway\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(head).await;
    assert_eq!(client.answer().await.0, "HTTP/1.1 100 Continue");
    gateway.closing.cancel();
    let (status, body) = client.answer().await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(body.contains(r#""reason":"closing""#), "{body}");
}
