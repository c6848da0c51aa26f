//! rsyslog's imtcp as a receiver of `json_lines` that is no Logstash. Skipped, with
//! a message, where rsyslogd is not installed.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/peer.rs"]
mod peer;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use gateway::{PATIENCE, Setup, eventually, free};
use peer::Peer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Many a system has it where only root looks.
const PROGRAMS: [&str; 2] = ["/usr/sbin/rsyslogd", "/usr/local/sbin/rsyslogd"];

/// An rsyslog that writes what it receives to a file.
struct Rsyslog {
    folder: tempfile::TempDir,
    program: &'static str,
    address: SocketAddr,
}

impl Rsyslog {
    /// `None`, with a message: there is no rsyslog.
    fn new() -> Option<Self> {
        let there = PROGRAMS.into_iter().find(|path| Path::new(path).exists());
        let Some(program) = there else {
            eprintln!("skipped: there is no rsyslogd");
            return None;
        };
        let rsyslog = Self {
            folder: tempfile::tempdir().expect("a folder"),
            program,
            address: free(),
        };
        std::fs::write(rsyslog.path("conf"), rsyslog.config()).expect("written");
        Some(rsyslog)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A ruleset without a queue: what was read is in the file before more is read.
    fn config(&self) -> String {
        let port = self.address.port();
        let [work, events] = [self.folder.path().to_owned(), self.path("events")];
        format!(
            "global(workDirectory={work:?} maxMessageSize=\"1m\"\n\
                    parser.escapeControlCharactersOnReceive=\"off\")\n\
             module(load=\"imtcp\")\n\
             template(name=\"line\" type=\"string\" string=\"%rawmsg%\\n\")\n\
             ruleset(name=\"events\" queue.type=\"Direct\") {{\n\
                 action(type=\"omfile\" file={events:?} template=\"line\")\n\
             }}\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"events\")\n"
        )
    }

    async fn start(&self) -> Peer {
        let mut command = Command::new(self.program);
        command.arg("-n").arg("-f").arg(self.path("conf"));
        command.arg("-i").arg(self.path("pid"));
        let peer = Peer::start(&mut command);
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(self.address).await.is_err() {
            assert!(Instant::now() < until, "{:?}", peer.said());
            sleep(Duration::from_millis(20)).await;
        }
        peer
    }

    async fn stop(&self, peer: Peer) {
        kill_process(pid(&peer), Signal::TERM).expect("it runs");
        assert!(peer.ended().await.success());
    }

    /// How long its file is.
    fn bytes(&self) -> u64 {
        std::fs::metadata(self.path("events")).map_or(0, |file| file.len())
    }

    /// The whole lines of its file.
    fn lines(&self) -> Vec<String> {
        let mut text = std::fs::read_to_string(self.path("events")).unwrap_or_default();
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        text.lines().map(str::to_owned).collect()
    }

    /// How many events it wrote, each counted once; each came under one id.
    fn distinct(&self) -> u64 {
        let mut ids = HashMap::new();
        for line in self.lines() {
            let event: Value = serde_json::from_str(&line).expect("JSON");
            assert_eq!(event["text"], TEXT, "{line}");
            let id = event["@metadata"]["_id"].clone();
            assert!(id.is_string(), "{line}");
            let seq = event["seq"].as_u64().expect("a number");
            assert_eq!(*ids.entry(seq).or_insert(id.clone()), id, "event {seq}");
        }
        ids.len() as u64
    }
}

fn pid(peer: &Peer) -> Pid {
    Pid::from_raw(peer.id() as i32).expect("not 0")
}

const TEXT: &str = "naïve \u{7f}";

/// Events with what syslog could stumble over: letters beyond ASCII, control
/// characters, and every thousandth longer than a syslog message.
fn events(range: std::ops::Range<u64>) -> String {
    let event = |seq: u64| {
        let long = "x".repeat(if seq.is_multiple_of(1_000) {
            100_000
        } else {
            100
        });
        format!("{{\"seq\":{seq},\t\"text\":\"{TEXT}\",\"long\":\"{long}\"}}\n")
    };
    range.map(event).collect()
}

async fn send(setup: &Setup, range: std::ops::Range<u64>) {
    let mut tcp = TcpStream::connect(setup.tcp).await.expect("connects");
    let lines = events(range);
    tcp.write_all(lines.as_bytes()).await.expect("written");
    tcp.shutdown().await.expect("sent");
}

async fn confirmed(setup: &Setup, events: u64) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = setup.status().await;
        if status["queues"][0]["ledger"]["confirmed"] == events {
            assert_eq!(status["dead_letters"]["held"], 0, "{status}");
            return status;
        }
        assert!(Instant::now() < until, "{status}\n{}", setup.log());
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
#[ignore = "needs rsyslog: make peers"]
async fn a_close_of_rsyslog_confirms_and_every_event_arrives_as_it_was() {
    let Some(rsyslog) = Rsyslog::new() else {
        return;
    };
    let peer = rsyslog.start().await;
    let setup = Setup::new(rsyslog.address, "");
    let gateway = setup.start_and_wait().await;
    send(&setup, 0..20_000).await;
    let status = confirmed(&setup, 20_000).await;
    assert_eq!(status["queues"][0]["endpoints"][0]["state"], "open");
    assert_eq!(rsyslog.distinct(), 20_000);
    assert_eq!(rsyslog.lines().len(), 20_000);
    assert_eq!(gateway.terminate().await, Some(0));
    rsyslog.stop(peer).await;
}

#[tokio::test]
#[ignore = "needs rsyslog: make peers"]
async fn nothing_is_lost_when_rsyslog_is_restarted_among_events() {
    let Some(rsyslog) = Rsyslog::new() else {
        return;
    };
    let mut peer = rsyslog.start().await;
    let setup = Setup::new(rsyslog.address, "");
    let _gateway = setup.start_and_wait().await;
    const ROUND: u64 = 20_000;
    for round in 0..4 {
        let sent = round * ROUND..(round + 1) * ROUND;
        let before = rsyslog.bytes();
        send(&setup, sent.clone()).await;
        eventually("some arrive", || rsyslog.bytes() > before).await;
        rsyslog.stop(peer).await;
        peer = rsyslog.start().await;
        confirmed(&setup, sent.end).await;
        assert_eq!(rsyslog.distinct(), sent.end);
    }
    let twice = rsyslog.lines().len() as u64 - 4 * ROUND;
    assert!(twice > 0, "a restart was among events");
    assert!(possible_duplicates(&setup) >= twice);
}

/// Events that the gateway sent again, not knowing.
fn possible_duplicates(setup: &Setup) -> u64 {
    let answer = http::get(setup.admin, "/metrics");
    let name = "stashgate_possible_duplicate_events_total{";
    let line = answer.body.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.expect("it is there").parse().expect("a number")
}

#[tokio::test]
#[ignore = "needs rsyslog: make peers"]
async fn written_delivers_to_rsyslog_as_long_as_it_runs() {
    let Some(rsyslog) = Rsyslog::new() else {
        return;
    };
    let _peer = rsyslog.start().await;
    let setup = Setup::new(rsyslog.address, "");
    let file = setup.config_file();
    let config = std::fs::read_to_string(&file).expect("written");
    let hosts = "confirm = \"written\"\nhosts";
    std::fs::write(&file, config.replace("hosts", hosts)).expect("written");
    let _gateway = setup.start_and_wait().await;
    send(&setup, 0..20_000).await;
    confirmed(&setup, 20_000).await;
    // Its kernel has them; it reads them some time.
    eventually("all arrive", || rsyslog.distinct() == 20_000).await;
    assert_eq!(rsyslog.lines().len(), 20_000);
    assert!(setup.log().contains("is lossy"));
}
