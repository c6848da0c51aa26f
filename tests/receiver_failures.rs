//! What each receiver answers when the spool fails behind it.

#![allow(missing_docs)]

mod receiver_support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use receiver_support::disk::Disk;
use receiver_support::tcp::{connect, ended_by_peer, finish};
use receiver_support::{DEADLINE, Gateway, Setup, ended, grpc, http, quiet, tcp, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_types::{RpcStatusExt, StatusExt};

const QUEUE: &str = "logstash";

fn on(disk: &Disk) -> Gateway {
    Gateway::with(Setup {
        disk: disk.clone(),
        ..Setup::default()
    })
}

#[tokio::test]
async fn a_failed_sync_is_answered_as_unavailable_over_grpc() {
    let disk = Disk::default();
    let gateway = on(&disk);
    let mut client = grpc::client(grpc::serve(&gateway).await.0).await;
    disk.break_down();
    // The batch that was being synced, and the next one.
    for _ in 0..2 {
        let status = client.append(grpc::ndjson("{}\n")).await;
        let status = status.expect_err("not durable");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains("the disk broke down"));
        assert!(status.get_details_retry_info().is_some());
    }
}

#[tokio::test]
async fn a_failed_sync_does_not_break_a_stream() {
    let disk = Disk::default();
    let gateway = on(&disk);
    let mut client = grpc::client(grpc::serve(&gateway).await.0).await;
    let (requests, receiver) = mpsc::channel(1);
    let answers = client.append_stream(ReceiverStream::new(receiver)).await;
    let mut answers = answers.expect("opens").into_inner();
    disk.break_down();
    for ordinal in 0..3 {
        requests.send(grpc::ndjson("{}\n")).await.expect("open");
        let answer = answers.message().await.expect("goes on").expect("answers");
        assert_eq!((answer.ordinal, answer.accepted), (ordinal, 0));
        let error = answer.error.expect("refused");
        assert_eq!(error.code, i32::from(Code::Unavailable));
        assert!(error.get_details_retry_info().is_some());
    }
}

#[tokio::test]
async fn a_failed_sync_is_answered_as_503_over_http() {
    let disk = Disk::default();
    let gateway = on(&disk);
    let (address, _task) = http::serve(&gateway).await;
    disk.break_down();
    for _ in 0..2 {
        let answer = http::request(address, "POST /put", &[], b"{}").await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.reason(), "poisoned");
        assert_eq!(answer.header("retry-after"), Some("30"));
    }
}

#[tokio::test]
async fn a_failed_sync_resets_a_tcp_connection() {
    let disk = Disk::default();
    let gateway = on(&disk);
    let (address, _task) = tcp::serve(&gateway, QUEUE).await;
    disk.break_down();
    let mut socket = connect(address).await;
    socket.write_all(b"{}\n").await.expect("writes");
    let error = finish(socket).await.expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_burst_of_bad_lines_beyond_the_memory_for_letters_is_kept() {
    const LINES: usize = 40;
    let disk = Disk::default();
    let gateway = Gateway::with(Setup {
        letters_disk: disk.clone(),
        ..Setup::default()
    });
    let (address, _task) = tcp::serve(&gateway, QUEUE).await;
    let line = "x".repeat(1 << 20);
    let held = disk.hold();
    let mut sockets = Vec::new();
    for _ in 0..LINES {
        let mut socket = connect(address).await;
        socket.write_all(line.as_bytes()).await.expect("writes");
        socket.shutdown().await.expect("half-closes");
        sockets.push(socket);
    }
    until("letters are being synced", || disk.is_waited_for()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(held);
    for mut socket in sockets {
        ended_by_peer(&mut socket).await.expect("a clean end");
    }
    assert_eq!(gateway.dead_letters_held(), LINES as u64);
    let letters = gateway.dead_letters().await;
    assert!(letters.iter().all(|letter| letter["event"] == line));
}

#[tokio::test]
async fn a_small_batch_does_not_hold_the_buffer_it_was_read_into() {
    use stashgate::dead_letter::Source;
    use stashgate::receiver::intake::{Patience, Payload};

    let disk = Disk::default();
    let gateway = on(&disk);
    let buffer = Arc::new(b"{}\n".repeat(4 << 10));
    let read = Bytes::from_owner(Buffer(buffer.clone())).slice(..6);
    let held = disk.hold();
    let patience = Patience::UntilRoom;
    let payload = Payload::Ndjson(read);
    let intake = gateway.intake.clone();
    let taken =
        tokio::spawn(async move { intake.take(Source::Grpc, "", payload, None, patience).await });
    until("the batch is being synced", || disk.is_waited_for()).await;
    assert_eq!(Arc::strong_count(&buffer), 1, "the buffer is free again");
    drop(held);
    assert_eq!(ended(taken).await.expect("taken").accepted, 2);
}

/// What a transport reads into.
struct Buffer(Arc<Vec<u8>>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_loses_no_line_of_a_tcp_connection() {
    let disk = Disk::default();
    let gateway = on(&disk);
    let (address, _task) = tcp::serve(&gateway, QUEUE).await;
    let mut socket = connect(address).await;
    let mut sent = Vec::new();
    let mut send = async |count: usize| {
        for _ in 0..count {
            let event = format!("{{\"n\":{}}}", sent.len());
            let line = format!("{event}\n");
            socket.write_all(line.as_bytes()).await.expect("writes");
            sent.push(event);
        }
    };
    send(700).await;
    until("some are durable", || gateway.accepted(QUEUE) > 0).await;
    disk.set_full(true);
    send(1300).await;
    until("the disk is full", || disk.refused() > 0).await;
    let refused = disk.refused();
    send(1300).await;
    until("it is tried again", || disk.refused() > refused).await;
    disk.set_full(false);
    finish(socket).await.expect("a clean end");
    assert_eq!(gateway.events(QUEUE, sent.len()).await, sent);
}

#[tokio::test]
async fn a_full_disk_is_answered_as_resource_exhausted_over_grpc() {
    let disk = Disk::default();
    let gateway = on(&disk);
    let mut client = grpc::client(grpc::serve(&gateway).await.0).await;
    disk.set_full(true);
    // The batch that finds the disk full, and one that comes later.
    for _ in 0..2 {
        let mut request = tonic::Request::new(grpc::ndjson("{}\n"));
        request.set_timeout(Duration::from_secs(10));
        let status = client.append(request).await.expect_err("full");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.get_details_retry_info().is_some());
    }
    disk.set_full(false);
    client.append(grpc::ndjson("{}\n")).await.expect("taken");
    assert_eq!(gateway.accepted(QUEUE), 1, "what was refused is not stored");
}

#[tokio::test]
async fn a_stop_on_a_full_disk_resets_tcp_connections_whose_lines_are_lost() {
    let disk = Disk::default();
    let gateway = on(&disk);
    let (address, task) = tcp::serve(&gateway, QUEUE).await;
    let mut socket = connect(address).await;
    disk.set_full(true);
    socket.write_all(b"{}\n").await.expect("writes");
    until("the disk is full", || disk.refused() > 0).await;
    gateway.closing.cancel();
    let error = ended_by_peer(&mut socket).await.expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    ended(task).await;
}

#[tokio::test]
async fn a_stop_with_a_full_queue_stores_what_was_read_all_the_same() {
    let gateway = Gateway::new();
    gateway.fill_tiny().await;
    let (address, task) = tcp::serve(&gateway, "tiny").await;
    let mut socket = connect(address).await;
    let event = format!("{{\"x\":\"{}\"}}", "x".repeat(500));
    let line = format!("{event}\n");
    socket.write_all(line.as_bytes()).await.expect("writes");
    quiet().await;
    gateway.closing.cancel();
    ended_by_peer(&mut socket).await.expect("a clean end");
    ended(task).await;
    let mut last = Vec::new();
    while gateway.waiting("tiny") > 0 {
        last = gateway.lease("tiny").await;
    }
    assert_eq!(last, [event]);
}

#[tokio::test]
async fn a_message_of_a_stream_that_waited_long_for_room_is_refused() {
    let gateway = Gateway::new();
    gateway.fill_tiny().await;
    let mut client = grpc::client(grpc::serve(&gateway).await.0).await;
    let (requests, receiver) = mpsc::channel(1);
    let answers = client.append_stream(ReceiverStream::new(receiver)).await;
    let mut answers = answers.expect("opens").into_inner();
    let large = format!("{{\"x\":\"{}\"}}\n", "x".repeat(500));
    requests
        .send(grpc::batch("tiny", &large))
        .await
        .expect("open");
    quiet().await;
    // From here on time passes as soon as nothing else happens.
    tokio::time::pause();
    let answer = tokio::time::timeout(4 * DEADLINE, answers.message()).await;
    let answer = answer.expect("refused in time").expect("goes on");
    let error = answer.expect("answers").error.expect("refused");
    assert_eq!(error.code, i32::from(Code::ResourceExhausted));
    assert!(error.get_details_retry_info().is_some());
    tokio::time::resume();
    requests.send(grpc::ndjson("{}\n")).await.expect("open");
    let answer = answers.message().await.expect("goes on").expect("answers");
    assert_eq!((answer.ordinal, answer.accepted), (1, 1));
}

#[tokio::test]
async fn a_stop_answers_what_is_being_synced_before_it_ends_a_stream() {
    let disk = Disk::default();
    let gateway = on(&disk);
    let (address, task) = grpc::serve(&gateway).await;
    let mut client = grpc::client(address).await;
    let (requests, receiver) = mpsc::channel(1);
    let answers = client.append_stream(ReceiverStream::new(receiver)).await;
    let mut answers = answers.expect("opens").into_inner();
    let held = disk.hold();
    requests.send(grpc::ndjson("{}\n")).await.expect("open");
    until("the batch is being synced", || disk.is_waited_for()).await;
    gateway.closing.cancel();
    quiet().await;
    drop(held);
    let answer = answers.message().await.expect("goes on").expect("answers");
    assert_eq!((answer.accepted, answer.error), (1, None));
    let status = answers.message().await.expect_err("the end");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    ended(task).await.expect("drains");
}

#[tokio::test]
async fn a_stop_answers_a_request_that_is_being_synced() {
    let disk = Disk::default();
    let gateway = on(&disk);
    let (address, task) = http::serve(&gateway).await;
    let held = disk.hold();
    let request =
        tokio::spawn(async move { http::request(address, "POST /put", &[], b"{}").await });
    until("the batch is being synced", || disk.is_waited_for()).await;
    gateway.closing.cancel();
    quiet().await;
    assert!(!task.is_finished(), "it has something in hand");
    drop(held);
    assert_eq!(ended(request).await.status, 200);
    ended(task).await;
}

#[tokio::test]
async fn a_half_closed_connection_is_not_closed_before_its_lines_are_synced() {
    let disk = Disk::default();
    let gateway = on(&disk);
    let (address, _task) = tcp::serve(&gateway, QUEUE).await;
    let held = disk.hold();
    let mut socket = connect(address).await;
    socket.write_all(b"{}\n").await.expect("writes");
    socket.shutdown().await.expect("half-closes");
    until("the batch is being synced", || disk.is_waited_for()).await;
    let soon = Duration::from_millis(100);
    let closed = tokio::time::timeout(soon, ended_by_peer(&mut socket)).await;
    assert!(closed.is_err(), "closed before it is durable");
    drop(held);
    ended_by_peer(&mut socket).await.expect("a clean end");
}

#[tokio::test]
async fn a_client_that_connects_and_says_too_little_is_disconnected() {
    let gateway = Gateway::new();
    let (grpc, _task) = grpc::serve(&gateway).await;
    let (http, _task) = http::serve(&gateway).await;
    let mut sockets = Vec::new();
    for address in [grpc, http] {
        for said in ["", "PRI * HTTP/2.0\r\n"] {
            let mut socket = TcpStream::connect(address).await.expect("connects");
            socket.write_all(said.as_bytes()).await.expect("writes");
            sockets.push(socket);
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    // From here on time passes as soon as nothing else happens.
    tokio::time::pause();
    for mut socket in sockets {
        let mut said = Vec::new();
        let read = tokio::time::timeout(4 * DEADLINE, socket.read_to_end(&mut said));
        // However it ends.
        let _ = read.await.expect("disconnected in time");
    }
}

#[tokio::test]
async fn an_old_connection_is_asked_to_go() {
    let gateway = Gateway::new();
    let (listener, address) = receiver_support::listener().await;
    let options = stashgate::receiver::grpc::Options {
        max_connections: 10,
        max_connection_age: Duration::from_millis(100),
    };
    let served = stashgate::receiver::grpc::serve(listener, gateway.intake.clone(), options);
    tokio::spawn(served);
    let mut socket = TcpStream::connect(address).await.expect("connects");
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &settings].concat();
    socket.write_all(&preface).await.expect("writes");
    let goaway = 7;
    let asked = async {
        loop {
            let mut head = [0; 9];
            socket.read_exact(&mut head).await.expect("a frame");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut body = vec![0; length as usize];
            socket.read_exact(&mut body).await.expect("a frame");
            if head[3] == goaway {
                return;
            }
        }
    };
    let asked = tokio::time::timeout(DEADLINE, asked).await;
    asked.expect("asked in time");
}
