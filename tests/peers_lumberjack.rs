//! Lumberjack with programs of others on the other side: the real gateway between
//! them. Elastic's go-lumber is skipped, with a message, where Go or the module
//! cannot be had.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/sink.rs"]
mod sink;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ferro_lumberjack::server::{Server, ServerConnection};
use gateway::{PATIENCE, Setup, eventually, free};
use peer::{Peer, installs, limited, workshop};
use serde_json::Value;
use sink::Sink;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// A gateway that sends to `beats` by lumberjack.
fn by_lumberjack(beats: SocketAddr, compression: u32) -> Setup {
    let setup = Setup::new(beats, "");
    setup.output(&format!(
        "protocol = \"lumberjack\"\ncompression = {compression}"
    ));
    setup
}

async fn send(setup: &Setup, events: u64) {
    let mut tcp = TcpStream::connect(setup.tcp).await.expect("connects");
    let lines: String = (0..events).map(|n| format!("{{\"seq\":{n}}}\n")).collect();
    tcp.write_all(lines.as_bytes()).await.expect("written");
    tcp.shutdown().await.expect("sent");
}

/// Waits until `ledger` holds, and nothing else became of an event.
async fn settled(setup: &Setup, holds: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = setup.status().await;
        if holds(&status["queues"][0]["ledger"]) {
            assert_eq!(status["dead_letters"]["held"], 0, "{status}");
            return status;
        }
        assert!(Instant::now() < until, "{status}\n{}", setup.log());
        sleep(Duration::from_millis(50)).await;
    }
}

/// The events that ferro-lumberjack's server read, by number: how often, and the id.
type Read = Arc<Mutex<HashMap<u64, (u64, String)>>>;

async fn serve_ferro(mut connection: ServerConnection, read: Read, resets: Arc<AtomicU64>) {
    while let Ok(Some(window)) = connection.read_window().await {
        for event in &window.events {
            let event: Value = serde_json::from_slice(&event.payload).expect("JSON");
            let seq = event["seq"].as_u64().expect("a number");
            let id = event["@metadata"]["_id"].to_string();
            let mut read = read.lock().expect("no panic");
            let (times, known) = read.entry(seq).or_insert((0, id.clone()));
            *times += 1;
            assert_eq!(*known, id, "the same id each time");
        }
        // Some are lost, with their window unacknowledged.
        if resets
            .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1))
            .is_ok()
        {
            return;
        }
        connection
            .send_ack(window.last_seq)
            .await
            .expect("acknowledged");
    }
}

async fn ferro(compression: u32, resets: u64) {
    const EVENTS: u64 = 20_000;
    let listener = Server::builder().bind("127.0.0.1:0").await.expect("bound");
    let setup = by_lumberjack(listener.local_addr().expect("bound"), compression);
    let read = Read::default();
    let (for_server, resets) = (read.clone(), Arc::new(AtomicU64::new(resets)));
    let server = tokio::spawn(async move {
        loop {
            // A connection that only asks whether anybody listens is no error.
            if let Ok(connection) = listener.accept().await {
                tokio::spawn(serve_ferro(connection, for_server.clone(), resets.clone()));
            }
        }
    });
    let gateway = setup.start_and_wait().await;
    send(&setup, EVENTS).await;
    settled(&setup, |ledger| ledger["confirmed"] == EVENTS).await;
    assert_eq!(gateway.terminate().await, Some(0));
    server.abort();
    let read = read.lock().expect("no panic");
    assert!((0..EVENTS).all(|seq| read.contains_key(&seq)));
}

#[tokio::test]
async fn ferro_lumberjacks_server_gets_every_event() {
    ferro(0, 0).await;
}

#[tokio::test]
async fn ferro_lumberjacks_server_gets_compressed_events_though_it_drops_connections() {
    ferro(6, 3).await;
}

/// One of go-lumber's programs. `None`, with a message: it cannot be had.
fn go_lumber(program: &str) -> Option<PathBuf> {
    let folder = workshop("go").join("bin");
    let binary = folder.join(program);
    let module = format!("github.com/elastic/go-lumber/cmd/{program}@v0.1.0");
    let mut go = limited("go");
    go.args(["install", &module]).env("GOTOOLCHAIN", "local");
    go.env("GOFLAGS", "-modcacherw").env("GOBIN", folder);
    (binary.exists() || installs(program, &mut go)).then_some(binary)
}

/// Events in the batches that tst-lj read.
fn read_by_tst_lj(peer: &Peer) -> u64 {
    let said = peer.said();
    let counts = said.iter().filter_map(|line| {
        let (_, rest) = line.split_once("Received batch of ")?;
        rest.strip_suffix(" events")?.parse::<u64>().ok()
    });
    counts.sum()
}

#[tokio::test]
async fn go_lumbers_server_acknowledges_plain_and_compressed_windows() {
    let Some(program) = go_lumber("tst-lj") else {
        return;
    };
    for compression in [0, 3] {
        let address = free();
        let peer = Peer::start(Command::new(&program).args(["-v2", "-bind", &address.to_string()]));
        let setup = by_lumberjack(address, compression);
        let gateway = setup.start_and_wait().await;
        send(&setup, 20_000).await;
        settled(&setup, |ledger| ledger["confirmed"] == 20_000).await;
        assert_eq!(gateway.terminate().await, Some(0));
        eventually("all is read", || read_by_tst_lj(&peer) == 20_000).await;
    }
}

#[tokio::test]
async fn go_lumbers_client_is_served() {
    let Some(program) = go_lumber("tst-send") else {
        return;
    };
    let sink = Sink::start();
    let address = free().to_string();
    let more = format!("[receivers.lumberjack]\nenabled = true\nlisten = \"{address}\"");
    let setup = Setup::new(sink.address, &more);
    let _gateway = setup.start_and_wait().await;
    let mut before = 0;
    for arguments in [["-compress", "0"], ["-compress", "3"], ["-pipeline", "4"]] {
        let common = ["-c", &address, "-httpprof", "127.0.0.1:0", "-batch", "500"];
        let peer = Peer::start(Command::new(&program).args(common).args(arguments));
        let accepted = |ledger: &Value| ledger["accepted"].as_u64().unwrap_or(0);
        let status = settled(&setup, |ledger| accepted(ledger) >= before + 50_000).await;
        before = accepted(&status["queues"][0]["ledger"]);
        // It says where it listens, whereto it connects, and then only errors.
        assert_eq!(peer.said().len(), 2, "{:?}", peer.said());
    }
    let all_confirmed = |ledger: &Value| ledger["accepted"] == ledger["confirmed"];
    let status = settled(&setup, all_confirmed).await;
    // Whole windows only.
    let accepted = &status["queues"][0]["ledger"]["accepted"];
    assert_eq!(accepted.as_u64().expect("a number") % 500, 0);
}
