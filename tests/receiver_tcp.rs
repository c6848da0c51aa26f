//! The TCP receiver on real sockets, a real journal and real dead letters.

#![allow(missing_docs)]

mod receiver_support;

use std::io::{ErrorKind, Write};

use receiver_support::tcp::{closed, connect, finish, send, serve, serve_at_most};
use receiver_support::{Gateway, Setup, ended, until};
use stashgate::event::Limits;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const QUEUE: &str = "logstash";

#[tokio::test]
async fn when_the_other_half_closes_everything_sent_is_durable() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, QUEUE).await;
    let lines: Vec<String> = (0..20_000).map(|n| format!("{{\"n\":{n}}}")).collect();
    send(address, (lines.join("\n") + "\n").as_bytes()).await;
    assert_eq!(gateway.accepted(QUEUE), 20_000);
    assert_eq!(gateway.events(QUEUE, 20_000).await, lines, "in order");
}

#[tokio::test]
async fn lines_that_come_in_pieces_are_whole_again() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, QUEUE).await;
    let sent = "{\"a\":\"ä\"}\r\n\r\n\n{\"b\":2}\n";
    for cut in 0..=sent.len() {
        let mut socket = connect(address).await;
        let (first, second) = sent.as_bytes().split_at(cut);
        socket.write_all(first).await.expect("writes");
        socket.flush().await.expect("flushes");
        tokio::task::yield_now().await;
        socket.write_all(second).await.expect("writes");
        finish(socket).await.expect("a clean end");
    }
    let events = gateway.events(QUEUE, 2 * (sent.len() + 1)).await;
    for pair in events.chunks(2) {
        assert_eq!(pair, ["{\"a\":\"ä\"}", "{\"b\":2}"]);
    }
}

#[tokio::test]
async fn a_line_does_not_wait_for_others_for_ever() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, QUEUE).await;
    let mut socket = connect(address).await;
    socket
        .write_all(b"{\"a\":1}\n{\"b\"")
        .await
        .expect("writes");
    assert_eq!(gateway.events(QUEUE, 1).await, ["{\"a\":1}"]);
    socket.write_all(b":2}\n").await.expect("writes");
    assert_eq!(gateway.events(QUEUE, 1).await, ["{\"b\":2}"]);
}

#[tokio::test]
async fn a_last_line_without_line_end_is_taken_if_it_is_whole() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, QUEUE).await;
    send(address, b"{\"a\":1}\n{\"b\":2}").await;
    assert_eq!(gateway.events(QUEUE, 2).await, ["{\"a\":1}", "{\"b\":2}"]);
    send(address, b"{\"c\":3}\n{\"d\":").await;
    assert_eq!(gateway.events(QUEUE, 1).await, ["{\"c\":3}"]);
    let letters = gateway.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["event"], "{\"d\":");
    assert_eq!(letters[0]["reason"], "invalid_json");
    assert_eq!(letters[0]["source"], "tcp");
    assert_eq!(letters[0]["queue"], QUEUE);
}

#[tokio::test]
async fn bad_lines_become_dead_letters_and_good_ones_go_on() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, QUEUE).await;
    let deep = "[".repeat(200_000);
    let deep_object = "{\"a\":".repeat(200_000);
    let mut sent = Vec::new();
    for line in [
        b"{\"a\":1}".as_slice(),
        b"[{\"array\":1}]",
        b"{\"two\":1}{\"objects\":2}",
        b"\"text\"",
        b"{\"utf8\":\"\xff\xfe\"}",
        deep.as_bytes(),
        deep_object.as_bytes(),
        b"{\"@metadata\":1}",
        b"{\"b\":2}",
    ] {
        sent.extend_from_slice(line);
        sent.push(b'\n');
    }
    send(address, &sent).await;
    assert_eq!(gateway.events(QUEUE, 2).await, ["{\"a\":1}", "{\"b\":2}"]);
    let letters = gateway.dead_letters().await;
    let reasons: Vec<&str> = letters
        .iter()
        .filter_map(|letter| letter["reason"].as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "not_an_object",
            "invalid_json",
            "not_an_object",
            "invalid_utf8",
            "too_deep",
            "too_deep",
            "invalid_metadata"
        ]
    );
    assert_eq!(letters[0]["event"], "[{\"array\":1}]");
    assert_eq!(letters[4]["event"], deep);
}

#[tokio::test]
async fn of_a_line_that_is_too_long_the_beginning_is_kept_and_the_next_line_is_taken() {
    let gateway = Gateway::with(Setup {
        limits: Limits {
            max_event_bytes: 1000,
            ..Limits::default()
        },
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway, QUEUE).await;
    let long = format!("{{\"long\":\"{}\"}}", "x".repeat(3_000_000));
    send(
        address,
        format!("{{\"a\":1}}\n{long}\n{{\"b\":2}}\n").as_bytes(),
    )
    .await;
    assert_eq!(gateway.events(QUEUE, 2).await, ["{\"a\":1}", "{\"b\":2}"]);
    // One that never ends, as the last thing of a connection.
    send(address, long.as_bytes()).await;
    let letters = gateway.dead_letters().await;
    assert_eq!(letters.len(), 2);
    for letter in letters {
        assert_eq!(letter["reason"], "too_large");
        assert_eq!(letter["event"], long[..1000]);
        let detail = letter["detail"].as_str().expect("text");
        assert!(detail.contains(&long.len().to_string()), "{detail}");
    }
}

#[tokio::test]
async fn twenty_bad_lines_in_a_row_end_a_connection_and_are_kept() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, QUEUE).await;
    let mut socket = connect(address).await;
    let nineteen = "no json\n".repeat(19) + "{\"a\":1}\n";
    socket.write_all(nineteen.as_bytes()).await.expect("writes");
    until("the good line is taken", || gateway.accepted(QUEUE) == 1).await;
    // The row goes on over batches.
    for bad in 1..=20 {
        socket.write_all(b"no json\n").await.expect("writes");
        let held = 19 + bad;
        until("the line is kept", || gateway.dead_letters_held() == held).await;
    }
    closed(&mut socket).await;
    assert_eq!(gateway.events(QUEUE, 1).await, ["{\"a\":1}"]);
    assert_eq!(gateway.dead_letters().await.len(), 39);
}

#[tokio::test]
async fn when_bad_lines_cannot_be_kept_the_connection_is_reset_and_others_go_on() {
    let gateway = Gateway::with(Setup {
        letters: 1,
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway, QUEUE).await;
    // The first one fills the budget.
    send(address, b"no json\n").await;
    let mut bad = connect(address).await;
    bad.write_all(b"{\"a\":1}\nno json\n")
        .await
        .expect("writes");
    let error = finish(bad).await.expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    send(address, b"{\"b\":2}\n").await;
    assert_eq!(gateway.events(QUEUE, 2).await, ["{\"a\":1}", "{\"b\":2}"]);
}

#[tokio::test]
async fn each_listener_has_its_own_queue() {
    let gateway = Gateway::new();
    let (first, _task) = serve(&gateway, QUEUE).await;
    let (second, _task) = serve(&gateway, "other").await;
    send(first, b"{\"a\":1}\n").await;
    send(second, b"{\"b\":2}\n").await;
    assert_eq!(gateway.events(QUEUE, 1).await, ["{\"a\":1}"]);
    assert_eq!(gateway.events("other", 1).await, ["{\"b\":2}"]);
}

#[tokio::test]
async fn a_full_queue_is_not_read_from_the_socket_until_there_is_room() {
    let gateway = Gateway::with(Setup {
        tiny: 64 << 10,
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway, "tiny").await;
    let socket = connect(address).await;
    let line = format!("{{\"text\":\"{}\"}}\n", "x".repeat(1000));
    let total = 30_000;
    let sent = line.repeat(total);
    let sender = tokio::spawn(async move {
        let mut socket = socket;
        socket.write_all(sent.as_bytes()).await.expect("writes");
        finish(socket).await.expect("a clean end");
    });
    until("the queue is full", || {
        gateway.spool.stats().iter().any(|q| q.full.is_some())
    })
    .await;
    assert!(!sender.is_finished(), "30 MB cannot hide in socket buffers");
    let events = gateway.events("tiny", total).await;
    assert!(events.iter().all(|event| *event == line.trim_end()));
    ended(sender).await;
}

#[tokio::test]
async fn stopping_settles_what_was_read_and_ends_connections() {
    let gateway = Gateway::new();
    let (address, task) = serve(&gateway, QUEUE).await;
    let mut socket = connect(address).await;
    socket.write_all(b"{\"a\":1}\n").await.expect("writes");
    until("the line is taken", || gateway.accepted(QUEUE) == 1).await;
    gateway.closing.cancel();
    closed(&mut socket).await;
    ended(task).await;
    assert_eq!(gateway.events(QUEUE, 1).await, ["{\"a\":1}"]);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_was_sent_before_a_stop_is_read_also_from_connections_not_accepted_yet() {
    let gateway = Gateway::new();
    let (address, task) = serve(&gateway, QUEUE).await;
    let mut open = connect(address).await;
    open.write_all(b"{\"n\":0}\n").await.expect("writes");
    until("the line is taken", || gateway.accepted(QUEUE) == 1).await;
    // Without a pause for the gateway, which has one thread with this test.
    open.try_write(b"{\"n\":1}\n").expect("writes");
    for n in 2..10 {
        let mut gone = std::net::TcpStream::connect(address).expect("connects");
        writeln!(gone, "{{\"n\":{n}}}").expect("writes");
    }
    gateway.closing.cancel();
    closed(&mut open).await;
    ended(task).await;
    let mut events = gateway.events(QUEUE, 10).await;
    events.sort();
    let sent: Vec<_> = (0..10).map(|n| format!("{{\"n\":{n}}}")).collect();
    assert_eq!(events, sent);
}

#[tokio::test]
async fn a_client_that_never_pauses_does_not_hold_up_a_stop() {
    let gateway = Gateway::new();
    let (address, task) = serve(&gateway, QUEUE).await;
    let mut socket = connect(address).await;
    let sender = tokio::spawn(async move {
        let lines = "{\"a\":1}\n".repeat(100);
        while socket.write_all(lines.as_bytes()).await.is_ok() {}
    });
    until("a line is taken", || gateway.accepted(QUEUE) > 0).await;
    gateway.closing.cancel();
    ended(task).await;
    ended(sender).await;
}

#[tokio::test]
async fn no_more_connections_are_served_than_are_allowed() {
    let gateway = Gateway::new();
    let (address, _task) = serve_at_most(&gateway, QUEUE, 1).await;
    let mut first = connect(address).await;
    first.write_all(b"{\"a\":1}\n").await.expect("writes");
    until("the first is served", || gateway.accepted(QUEUE) == 1).await;
    let mut second = connect(address).await;
    second.write_all(b"{\"b\":2}\n").await.expect("writes");
    first.write_all(b"{\"c\":3}\n").await.expect("writes");
    until("the first is served on", || gateway.accepted(QUEUE) == 2).await;
    finish(first).await.expect("a clean end");
    finish(second).await.expect("a clean end");
    assert_eq!(
        gateway.events(QUEUE, 3).await,
        ["{\"a\":1}", "{\"c\":3}", "{\"b\":2}"]
    );
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_what_was_read() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, QUEUE).await;
    let mut socket = connect(address).await;
    socket
        .write_all(b"{\"a\":1}\n{\"b\":")
        .await
        .expect("writes");
    until("the line is taken", || gateway.accepted(QUEUE) == 1).await;
    socket2::SockRef::from(&socket)
        .set_linger(Some(std::time::Duration::ZERO))
        .expect("sets");
    drop(socket);
    until("the rest is kept", || gateway.dead_letters_held() == 1).await;
    assert_eq!(gateway.events(QUEUE, 1).await, ["{\"a\":1}"]);
}
