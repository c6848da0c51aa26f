//! The lumberjack receiver on real sockets, byte by byte, with a real journal and
//! real dead letters.

#![allow(missing_docs)]

mod receiver_support;

use receiver_support::disk::Disk;
use receiver_support::lumberjack::{
    Client, compressed, event, events, serve, serve_at_most, window,
};
use receiver_support::{Gateway, Setup, ended, quiet, until};
use stashgate::event::Limits;

const QUEUE: &str = "logstash";

fn numbered(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("{{\"n\":{n}}}")).collect()
}

/// Events for which a full `tiny` has no room.
fn long(count: u32) -> Vec<String> {
    let event = |n| format!("{{\"n\":{n},\"long\":\"{}\"}}", "x".repeat(200));
    (0..count).map(event).collect()
}

#[tokio::test]
async fn a_window_is_acknowledged_when_it_is_durable() {
    let disk = Disk::default();
    let setup = Setup {
        disk: disk.clone(),
        ..Setup::default()
    };
    let gateway = Gateway::with(setup);
    let (address, _task) = serve(&gateway, QUEUE).await;
    let mut client = Client::to(address).await;
    let held = disk.hold();
    client.send(&events(1, &numbered(0..100))).await;
    // Alive, and not done.
    assert_eq!((client.ack().await, client.ack().await), (0, 0));
    drop(held);
    assert_eq!(client.acked().await, 100);
    assert_eq!(gateway.accepted(QUEUE), 100);
    assert_eq!(gateway.events(QUEUE, 100).await, numbered(0..100));
}

#[tokio::test]
async fn windows_follow_each_other_plain_or_compressed_whatever_their_sequences() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, QUEUE).await;
    let mut client = Client::to(address).await;
    let second = events(151, &numbered(3..53));
    let both = [
        events(1, &numbered(0..3)),
        second[..6].to_vec(),
        compressed(&second[6..]),
    ];
    client.send(&both.concat()).await;
    assert_eq!((client.acked().await, client.acked().await), (3, 200));
    // Several compressed frames in one window, and a plain one.
    let frames: Vec<_> = (0..4)
        .map(|n| event(n + 1, &format!("{{\"n\":{}}}", n + 53)))
        .collect();
    let mixed = [
        window(4),
        compressed(&frames[..2].concat()),
        frames[2].clone(),
        compressed(&frames[3]),
    ];
    client.send(&mixed.concat()).await;
    assert_eq!(client.acked().await, 4);
    assert_eq!(gateway.events(QUEUE, 57).await, numbered(0..57));
}

#[tokio::test]
async fn a_window_that_comes_in_pieces_is_whole_again() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, QUEUE).await;
    let plain = events(1, &numbered(0..2));
    let packed = [&plain[..6], &compressed(&plain[6..])].concat();
    let mut client = Client::to(address).await;
    let mut sent = 0;
    for bytes in [plain, packed] {
        for cut in 0..=bytes.len() {
            client.send(&bytes[..cut]).await;
            tokio::task::yield_now().await;
            client.send(&bytes[cut..]).await;
            assert_eq!(client.acked().await, 2);
            sent += 2;
        }
    }
    let got = gateway.events(QUEUE, sent).await;
    assert!(got.chunks(2).all(|two| two == numbered(0..2)));
}

#[tokio::test]
async fn an_empty_window_is_acknowledged_as_logstash_does_it() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, QUEUE).await;
    let mut client = Client::to(address).await;
    client.send(&window(0)).await;
    assert_eq!(client.ack().await, 0);
    client.send(&events(1, &numbered(0..1))).await;
    assert_eq!(client.acked().await, 1);
}

#[tokio::test]
async fn bad_events_become_dead_letters_and_break_nothing() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, QUEUE).await;
    let mut client = Client::to(address).await;
    let bad = ["{\"n\":0}", "{\"n\":", "[1]", "", "{\"pretty\":\n 1}"].map(str::to_owned);
    client.send(&events(1, &bad)).await;
    assert_eq!(client.acked().await, 5);
    // More of them in a row than a TCP client may send.
    client.send(&events(1, &vec!["x".to_owned(); 50])).await;
    assert_eq!(client.acked().await, 50);
    client.send(&events(1, &numbered(1..2))).await;
    assert_eq!(client.acked().await, 1);
    let taken = gateway.events(QUEUE, 3).await;
    assert_eq!(taken, ["{\"n\":0}", "{\"pretty\":  1}", "{\"n\":1}"]);
    let letters = gateway.dead_letters().await;
    assert_eq!(letters.len(), 53);
    assert!(
        letters
            .iter()
            .all(|letter| letter["source"] == "lumberjack")
    );
}

#[tokio::test]
async fn an_event_that_is_too_long_is_cut_and_the_others_are_taken() {
    let limits = Limits {
        max_event_bytes: 100,
        ..Limits::default()
    };
    let gateway = Gateway::with(Setup {
        limits,
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway, QUEUE).await;
    let long = format!("{{\"long\":\"{}\"}}", "x".repeat(1 << 20));
    let three = [numbered(0..1), vec![long], numbered(1..2)].concat();
    let plain = events(1, &three);
    for bytes in [
        plain.clone(),
        [&plain[..6], &compressed(&plain[6..])].concat(),
    ] {
        let mut client = Client::to(address).await;
        client.send(&bytes).await;
        while client.acked().await < 3 {}
        assert_eq!(gateway.events(QUEUE, 2).await, numbered(0..2));
    }
    let letters = gateway.dead_letters().await;
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0]["reason"], "too_large");
    assert_eq!(letters[0]["event"].as_str().map(str::len), Some(100));
}

#[tokio::test]
async fn a_window_longer_than_a_batch_is_stored_in_several() {
    let limits = Limits {
        max_event_bytes: 300,
        max_batch_bytes: 300,
        max_batch_events: 20,
    };
    let gateway = Gateway::with(Setup {
        limits,
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway, QUEUE).await;
    let longest = format!("{{\"n\":\"{}\"}}", "x".repeat(300 - 8));
    let all = [numbered(0..50), vec![longest], numbered(50..100)].concat();
    let mut client = Client::to(address).await;
    client.send(&events(1, &all)).await;
    let mut acks = vec![client.acked().await];
    while acks.last() != Some(&101) {
        acks.push(client.acked().await);
    }
    assert!(acks.len() >= 6 && acks.is_sorted(), "{acks:?}");
    assert_eq!(gateway.events(QUEUE, 101).await, all);
}

#[tokio::test]
async fn while_the_spool_is_full_a_client_is_told_that_nothing_is_wrong() {
    let gateway = Gateway::new();
    gateway.fill_tiny().await;
    let (address, _task) = serve(&gateway, "tiny").await;
    let mut client = Client::to(address).await;
    client.send(&events(1, &long(3))).await;
    for _ in 0..5 {
        assert_eq!(client.ack().await, 0);
    }
    while gateway.waiting("tiny") > 0 {
        let batch = gateway.lease("tiny").await;
        if batch == long(3) {
            assert_eq!(client.acked().await, 3);
            return;
        }
    }
    assert_eq!(client.acked().await, 3);
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_leaves_nothing_behind() {
    let gateway = Gateway::new();
    gateway.fill_tiny().await;
    let before = gateway.accepted("tiny");
    let (address, _task) = serve_at_most(&gateway, "tiny", 1).await;
    let mut client = Client::to(address).await;
    client.send(&events(1, &long(3))).await;
    assert_eq!(client.ack().await, 0);
    drop(client);
    // There is room for one connection: the first is over when this one is served.
    let mut second = Client::to(address).await;
    second.send(&window(0)).await;
    assert_eq!(second.ack().await, 0);
    while gateway.waiting("tiny") > 0 {
        gateway.lease("tiny").await;
    }
    second.send(&events(1, &numbered(7..8))).await;
    assert_eq!(second.acked().await, 1);
    assert_eq!(gateway.accepted("tiny"), before + 1);
}

#[tokio::test]
async fn what_is_no_lumberjack_is_reset_and_nothing_of_it_is_taken() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, QUEUE).await;
    let half = [window(2), event(1, "{}"), b"2Q".to_vec()].concat();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"1W\0\0\0\x01",
        b"\x16\x03\x01\x00",
        &half,
    ] {
        let mut client = Client::to(address).await;
        client.send(bytes).await;
        assert!(client.ended().await, "a reset");
    }
    assert_eq!(gateway.accepted(QUEUE), 0);
}

#[tokio::test]
async fn while_bad_events_cannot_be_kept_their_window_waits() {
    let letters_disk = Disk::default();
    let gateway = Gateway::with(Setup {
        letters_disk: letters_disk.clone(),
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway, QUEUE).await;
    letters_disk.set_full(true);
    let mut client = Client::to(address).await;
    client
        .send(&events(1, &["{\"n\":0}".into(), "bad".into()]))
        .await;
    until("it is stored", || gateway.accepted(QUEUE) == 1).await;
    for _ in 0..5 {
        assert_eq!(client.ack().await, 0);
    }
    letters_disk.set_full(false);
    assert_eq!(client.acked().await, 2);
    assert_eq!(
        (gateway.accepted(QUEUE), gateway.dead_letters_held()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_spool_that_failed_acknowledges_nothing() {
    let disk = Disk::default();
    let gateway = Gateway::with(Setup {
        disk: disk.clone(),
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway, QUEUE).await;
    disk.break_down();
    let mut client = Client::to(address).await;
    client.send(&events(1, &numbered(0..3))).await;
    assert!(client.ended().await, "a reset");
}

#[tokio::test]
async fn a_stop_finishes_the_window_in_hand_and_closes_idle_connections() {
    let gateway = Gateway::new();
    let (address, task) = serve(&gateway, QUEUE).await;
    let mut idle = Client::to(address).await;
    idle.send(&events(1, &numbered(0..1))).await;
    assert_eq!(idle.acked().await, 1);
    let mut client = Client::to(address).await;
    let bytes = events(1, &numbered(1..3));
    client.send(&bytes[..20]).await;
    // Both are served.
    quiet().await;
    gateway.closing.cancel();
    assert!(!idle.ended().await, "a clean end");
    client.send(&bytes[20..]).await;
    assert_eq!(client.acked().await, 2);
    assert!(!client.ended().await, "a clean end");
    ended(task).await;
    assert_eq!(gateway.accepted(QUEUE), 3);
}

#[tokio::test]
async fn a_window_that_never_ends_does_not_hold_up_a_stop() {
    let gateway = Gateway::new();
    let (address, task) = serve(&gateway, QUEUE).await;
    let mut client = Client::to(address).await;
    client.send(&events(1, &numbered(0..3))[..30]).await;
    quiet().await;
    gateway.closing.cancel();
    ended(task).await;
    assert_eq!(gateway.accepted(QUEUE), 0);
}
