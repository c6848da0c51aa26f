//! The HTTP receiver on real sockets, a real journal and real dead letters.

#![allow(missing_docs)]

mod receiver_support;

use std::io::Write;
use std::time::Duration;

use receiver_support::http::{Answer, answer, raw, request, serve, serve_with};
use receiver_support::{Gateway, Setup, ended, quiet, until};
use serde_json::{Value, json};
use stashgate::event::Limits;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const QUEUE: &str = "logstash";
const JSON: &str = "content-type: application/json";
const NDJSON: &str = "content-type: application/x-ndjson";
const FORM: &str = "content-type: application/x-www-form-urlencoded";

fn small_batches() -> Gateway {
    Gateway::with(Setup {
        limits: Limits {
            max_batch_bytes: 1 << 16,
            max_batch_events: 100,
            ..Limits::default()
        },
        ..Setup::default()
    })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compresses");
    encoder.finish().expect("compresses")
}

#[tokio::test]
async fn put_takes_what_the_agents_clients_send() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let cases: [(&[&str], &str, &[&str]); 9] = [
        (&[JSON], "{\"a\":1}", &["{\"a\":1}"]),
        (
            &[JSON],
            "[{\"a\":1},{\"b\":2}]",
            &["{\"a\":1}", "{\"b\":2}"],
        ),
        (&[JSON], "[]", &[]),
        (
            &["Content-Type: Application/JSON; charset=utf-8"],
            "{}",
            &["{}"],
        ),
        (&[], "{\"a\":1}", &["{\"a\":1}"]),
        // As `curl -d` sends it.
        (&[FORM], " {\"a\":1}", &["{\"a\":1}"]),
        (&[FORM], "[{\"a\":1}]", &["{\"a\":1}"]),
        (
            &[FORM],
            "a=1&b=two+words",
            &["{\"a\":\"1\",\"b\":\"two words\"}"],
        ),
        (
            &[FORM],
            "a[b]=c&a%5Bd%5D=e",
            &["{\"a\":{\"b\":\"c\",\"d\":\"e\"}}"],
        ),
    ];
    for (headers, body, events) in cases {
        let answer = request(address, "POST /put", headers, body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{body}: {answer:?}");
        assert_eq!(answer.body, "{\"result\":\"ok\"}");
        let stored = gateway.events(QUEUE, events.len()).await;
        let stored: Vec<_> = stored.iter().map(|event| event.trim()).collect();
        assert_eq!(stored, events);
    }
    let answer = request(address, "POST /put?queue=other", &[JSON], b"{}").await;
    assert_eq!(answer.status, 200);
    assert_eq!(gateway.events("other", 1).await, ["{}"]);
}

#[tokio::test]
async fn put_shows_rejected_events_in_its_status_and_stores_the_others() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let answer = request(address, "POST /put", &[JSON], b"[{\"a\":1},2,{\"b\":3}]").await;
    assert_eq!(answer.status, 400);
    let body = answer.json();
    assert_eq!(body["result"], "rejected");
    assert_eq!(body["accepted"], 2);
    assert_eq!(body["rejected"][0]["index"], 1);
    assert_eq!(body["rejected"][0]["reason"], "REJECT_REASON_NOT_AN_OBJECT");
    assert_eq!(body["rejected"][0]["kept"], true);
    gateway.events(QUEUE, 2).await;
    let letters = gateway.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (&letters[0]["event"], &letters[0]["source"]),
        (&json!("2"), &json!("http"))
    );
}

#[tokio::test]
async fn events_takes_lines_and_documents_and_answers_as_the_contract_says() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let body = b"{\"a\":1}\nno json\n{\"b\":2}\n";
    let headers = [NDJSON, "idempotency-key: order-7"];
    let answer = request(address, "POST /v1/events", &headers, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut body = answer.json();
    let detail = body["rejected"][0]["detail"].take();
    assert!(!detail.as_str().expect("text").is_empty());
    let expected = json!({
        "batchId": "b3JkZXItNw==",
        "accepted": 2,
        "rejected": [{
            "index": 1,
            "reason": "REJECT_REASON_INVALID_JSON",
            "detail": null,
            "kept": true,
        }],
    });
    assert_eq!(body, expected);
    let lease = gateway.spool.lease(&receiver_support::name(QUEUE)).await;
    let lease = lease.expect("a batch");
    assert_eq!(lease.header().id.as_bytes(), b"order-7");
    assert_eq!(*lease.header().rejected, [1]);
    lease.ack(0).await.expect("acknowledged");

    let answer = request(address, "POST /v1/events?queue=other", &[JSON], b"[{},{}]").await;
    assert_eq!(answer.json()["accepted"], 2);
    gateway.events("other", 2).await;
    let answer = request(address, "POST /v1/events", &[NDJSON], b"").await;
    assert_eq!(
        (answer.status, &answer.json()["accepted"]),
        (200, &json!(0))
    );
}

#[tokio::test]
async fn compressed_bodies_are_taken() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let lines = "{\"a\":1}\n".repeat(1000);
    let zstd = zstd::encode_all(lines.as_bytes(), 3).expect("compresses");
    for (encoding, body) in [("gzip", gzip(lines.as_bytes())), ("zstd", zstd)] {
        let encoding = format!("content-encoding: {encoding}");
        let headers = [NDJSON, encoding.as_str()];
        let answer = request(address, "POST /v1/events", &headers, &body).await;
        assert_eq!(answer.json()["accepted"], 1000);
        gateway.events(QUEUE, 1000).await;
    }
}

#[tokio::test]
async fn a_body_that_comes_in_many_pieces_is_stored_whole() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    for pieces in 1..=6 {
        let events: Vec<String> = (0..pieces).map(|n| format!("{{\"n\":{n}}}")).collect();
        let length = events.iter().map(|event| event.len() + 1).sum::<usize>();
        let mut socket = TcpStream::connect(address).await.expect("connects");
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n{NDJSON}\r\ncontent-length: {length}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.expect("writes");
        for event in &events {
            // So that each piece is read by itself.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let line = format!("{event}\n");
            socket.write_all(line.as_bytes()).await.expect("writes");
        }
        assert_eq!(answer(socket).await.json()["accepted"], pieces);
        assert_eq!(gateway.events(QUEUE, pieces).await, events);
    }
    // As large as a batch may be, in pieces as the transport makes them.
    let events: Vec<String> = (0..10_000)
        .map(|n| format!("{{\"n\":\"{n:0800}\"}}"))
        .collect();
    let body = events.join("\n");
    let answer = request(address, "POST /v1/events", &[NDJSON], body.as_bytes()).await;
    assert_eq!(answer.json()["accepted"], 10_000);
    assert!(
        gateway.events(QUEUE, 10_000).await == events,
        "another body"
    );
}

#[tokio::test]
async fn a_form_may_have_less_than_a_batch_and_the_answer_says_so() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let form = format!("a={}", "x".repeat(256 << 10));
    let answer = request(address, "POST /put", &[FORM], form.as_bytes()).await;
    assert!(answer.body.contains("262144 bytes"), "{answer:?}");
    assert_refused(answer, 413, "form_too_long").await;
    gateway.assert_empty("logstash");
}

async fn assert_refused(answer: Answer, status: u16, reason: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.reason(), reason);
    assert_eq!(answer.json()["error"]["retryable"], Value::Bool(false));
    assert_eq!(answer.header("retry-after"), None);
}

#[tokio::test]
async fn a_bomb_is_refused_without_its_memory() {
    let gateway = small_batches();
    let (address, _task) = serve(&gateway).await;
    // 1 GiB of zeros each.
    let gzip = gzip(&vec![0; 1 << 20]).repeat(1 << 10);
    let zeros = std::io::Read::take(std::io::repeat(0), 1 << 30);
    let zstd = zstd::encode_all(zeros, 1).expect("compresses");
    for (encoding, body) in [("gzip", &gzip[..60_000]), ("zstd", &zstd[..])] {
        let encoding = format!("content-encoding: {encoding}");
        let headers = [NDJSON, encoding.as_str()];
        let answer = request(address, "POST /v1/events", &headers, body).await;
        assert_refused(answer, 413, "too_many_bytes").await;
    }
}

#[tokio::test]
async fn what_cannot_be_taken_is_told_apart() {
    let gateway = small_batches();
    let (address, _task) = serve(&gateway).await;
    let events = "POST /v1/events";
    let large = vec![b' '; (1 << 16) + 1];
    let many = b"{}\n".repeat(101);
    let long_id = format!("idempotency-key: {}", "x".repeat(65));
    /// Request, headers, body; status and reason.
    type Case<'a> = (&'a str, &'a [&'a str], &'a [u8], u16, &'a str);
    let cases: [Case<'_>; 16] = [
        (
            "POST /v1/events?queue=no",
            &[NDJSON],
            b"{}",
            404,
            "unknown_queue",
        ),
        ("POST /put?queue=no", &[JSON], b"{}", 404, "unknown_queue"),
        (
            "POST /v1/events?queue=%ff",
            &[NDJSON],
            b"{}",
            404,
            "unknown_queue",
        ),
        (events, &[NDJSON, &long_id], b"{}", 400, "invalid_batch_id"),
        (
            events,
            &[NDJSON, "idempotency-key:"],
            b"{}",
            400,
            "invalid_batch_id",
        ),
        (events, &[JSON], b"{\"a\":1}}", 400, "malformed"),
        (events, &[JSON], b"", 400, "malformed"),
        ("POST /put", &[FORM], b"", 400, "malformed"),
        (events, &[NDJSON], &large, 413, "too_many_bytes"),
        (events, &[NDJSON], &many, 413, "too_many_events"),
        (events, &[FORM], b"{}", 415, "unsupported_media_type"),
        (events, &[], b"{}", 415, "unsupported_media_type"),
        (
            "POST /put",
            &["content-type: text/html"],
            b"{}",
            415,
            "unsupported_media_type",
        ),
        (
            events,
            &[NDJSON, "content-encoding: br"],
            b"{}",
            415,
            "unsupported_encoding",
        ),
        (
            events,
            &[NDJSON, "content-encoding: gzip"],
            b"{}",
            400,
            "undecodable",
        ),
        (
            events,
            &[NDJSON, "content-encoding: zstd"],
            b"{}",
            400,
            "undecodable",
        ),
    ];
    for (line, headers, body, status, reason) in cases {
        let answer = request(address, line, headers, body).await;
        assert_refused(answer, status, reason).await;
    }
    let answer = request(address, "POST /events", &[NDJSON], b"{}").await;
    assert!(answer.body.contains("/v1/events") && answer.body.contains("/put"));
    assert_refused(answer, 404, "no_such_path").await;
    let answer = request(address, "GET /put", &[], b"").await;
    assert_eq!(answer.header("allow"), Some("POST"));
    assert_refused(answer, 405, "wrong_method").await;
    gateway.assert_empty(QUEUE);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_bounded_too() {
    let gateway = small_batches();
    let (address, _task) = serve(&gateway).await;
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    let headers = [NDJSON, "transfer-encoding: chunked"];
    let small = chunk.repeat(16) + "0\r\n\r\n";
    let answer = raw(address, "POST /v1/events", &headers, small.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let large = chunk.repeat(17) + "0\r\n\r\n";
    let answer = raw(address, "POST /v1/events", &headers, large.as_bytes()).await;
    assert_refused(answer, 413, "too_many_bytes").await;
}

#[tokio::test]
async fn a_full_queue_is_answered_with_when_to_try_again() {
    let gateway = Gateway::new();
    gateway.fill_tiny().await;
    let (address, _task) = serve(&gateway).await;
    let body = format!("{{\"x\":\"{}\"}}\n", "x".repeat(500));
    let line = "POST /v1/events?queue=tiny";
    let answer = request(address, line, &[NDJSON], body.as_bytes()).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.reason(), "full_queue_bytes");
    assert_eq!(answer.json()["error"]["retryable"], Value::Bool(true));
    assert_eq!(answer.header("retry-after"), Some("5"));
}

#[tokio::test]
async fn stopping_refuses_what_waits_and_closes_idle_connections() {
    let gateway = Gateway::new();
    gateway.fill_tiny().await;
    let (address, task) = serve(&gateway).await;
    let mut silent = TcpStream::connect(address).await.expect("connects");
    let body = format!("{{\"x\":\"{}\"}}\n", "x".repeat(500));
    let waiting = tokio::spawn(async move {
        let line = "POST /v1/events?queue=tiny";
        request(address, line, &[NDJSON], body.as_bytes()).await
    });
    quiet().await;
    gateway.closing.cancel();
    let answer = ended(waiting).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(answer.reason(), "closing");
    assert_eq!(answer.header("retry-after"), Some("2"));
    ended(task).await;
    let closed = tokio::io::AsyncReadExt::read(&mut silent, &mut [0; 1]).await;
    assert!(matches!(closed, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_client_that_stops_within_its_body_is_timed_out() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let mut socket = TcpStream::connect(address).await.expect("connects");
    let head = "POST /put HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{";
    socket.write_all(head.as_bytes()).await.expect("writes");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    // From here on time passes as soon as nothing else happens.
    tokio::time::pause();
    let answer = answer(socket).await;
    assert_eq!(answer.status, 408, "{answer:?}");
    assert_eq!(answer.reason(), "slow_body");
}

#[tokio::test]
async fn a_body_that_finds_no_room_is_refused_and_leaves_its_room_to_the_others() {
    let gateway = small_batches();
    let (address, _task) = serve_with(&gateway, &[], 1 << 16).await;
    let mut slow = TcpStream::connect(address).await.expect("connects");
    let half = 1 << 15;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: x\r\n{NDJSON}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        half + 9
    );
    slow.write_all(head.as_bytes()).await.expect("writes");
    slow.write_all(&vec![b'\n'; half]).await.expect("writes");
    let body = vec![b'\n'; half + 1];
    let send = async || request(address, "POST /v1/events", &[NDJSON], &body).await;
    // Until the first half was read, there is room for the other body.
    let refused = loop {
        let answer = send().await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.reason(), "full_in_flight");
    assert_eq!(refused.header("retry-after"), Some("1"));
    slow.write_all(b"{\"a\":12}\n").await.expect("writes");
    let first = answer(slow).await;
    assert_eq!((first.status, &first.json()["accepted"]), (200, &json!(1)));
    assert_eq!(send().await.status, 200);
}

#[tokio::test]
async fn browsers_are_let_in_only_from_configured_origins() {
    let gateway = Gateway::new();
    let preflight = [
        "origin: https://app.example",
        "access-control-request-method: POST",
        "access-control-request-headers: content-type",
    ];
    let allowed = "access-control-allow-origin";
    for (origins, expected) in [
        (vec![], None),
        (vec!["https://other.example"], None),
        (vec!["https://app.example"], Some("https://app.example")),
        (vec!["*"], Some("*")),
    ] {
        let (address, _task) = serve_with(&gateway, &origins, 1 << 20).await;
        let answer = request(address, "OPTIONS /put", &preflight, b"").await;
        assert_eq!(answer.header(allowed), expected, "{answer:?}");
        let headers = [JSON, preflight[0]];
        let answer = request(address, "POST /put", &headers, b"{}").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header(allowed), expected, "{answer:?}");
    }
}

#[tokio::test]
async fn http_2_without_tls_is_spoken_too() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let socket = TcpStream::connect(address).await.expect("connects");
    let handshake = hyper::client::conn::http2::handshake;
    let (mut client, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    let request = hyper::Request::post("http://gateway/v1/events")
        .header("content-type", "application/x-ndjson")
        .body(Full::new(bytes::Bytes::from_static(b"{\"a\":1}\n")))
        .expect("a request");
    let answer = client.send_request(request).await.expect("answers");
    assert_eq!(answer.status(), 200);
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["accepted"], 1);
    until("it is in the spool", || gateway.accepted(QUEUE) == 1).await;
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let mut socket = TcpStream::connect(address).await.expect("connects");
    let request = |end: &str| {
        format!("POST /put HTTP/1.1\r\nhost: x\r\n{end}content-length: 7\r\n\r\n{{\"a\":1}}")
    };
    let requests = request("").repeat(9) + &request("connection: close\r\n");
    socket.write_all(requests.as_bytes()).await.expect("writes");
    let answers = answer(socket).await;
    let answers = format!("{}{}", answers.head, answers.body);
    assert_eq!(answers.matches("{\"result\":\"ok\"}").count(), 10);
    gateway.events(QUEUE, 10).await;
}
