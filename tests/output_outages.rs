//! The real program, while the endpoint that it sends to is stopped, killed, frozen,
//! blocked, reset in mid-batch and replaced, and events flow all the time: nothing
//! answered is missing, what arrived twice did so under one id, and no more often
//! than the gateway says.
//!
//! `make outages` runs the same with 5 million events and stalls of a minute.

#[path = "support/gateway.rs"]
mod gateway;
mod outages {
    pub(crate) mod endpoint;
}

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use gateway::{Setup, free};
use outages::endpoint::{self, Protocol, RECORD};
use rustix::process::{Pid, Signal, kill_process};
use stashgate::client::{Batcher, Client, Gather};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// A real Logstash takes longer to start.
const STARTUP: Duration = Duration::from_secs(1);
/// Nothing moved for so long: it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Not a test: what the tests start as processes of their own.
#[test]
#[ignore = "the endpoint; the tests start it"]
fn endpoint_process() {
    endpoint::run();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_json_lines_nothing_is_missing_whatever_becomes_of_the_endpoint() {
    outages_over(Protocol::JsonLines).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_lumberjack_nothing_is_missing_whatever_becomes_of_the_endpoint() {
    outages_over(Protocol::Lumberjack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http_nothing_is_missing_whatever_becomes_of_the_endpoint() {
    outages_over(Protocol::Http).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_outage_nothing_arrives_twice() {
    for protocol in [Protocol::JsonLines, Protocol::Lumberjack, Protocol::Http] {
        let (folder, address) = (tempfile::tempdir().expect("a folder"), free());
        let endpoint = Endpoint::start(protocol, address, folder.path());
        let setup = sending_by(protocol, address);
        let _gateway = setup.start_and_wait().await;
        let mut load = Load::new(&setup);
        for _ in 0..200 {
            // A few batches each time, and with them many small requests.
            load.push(100).await;
            load.batcher.flush().await.expect("open");
        }
        confirmed(&setup, load.pushed).await;
        let twice = check(&endpoint.processed(), load.pushed);
        let (said, log) = (possible_duplicates(&setup).await, setup.log());
        // By json_lines a machine that stands still for half a second looks like an outage.
        let stood_still = protocol == Protocol::JsonLines && log.contains("too late to tell");
        assert!(twice <= said, "{protocol:?}: {twice}, {said}: {log}");
        assert!(said == 0 || stood_still, "{protocol:?}: {said}: {log}");
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
}

/// The endpoint as a process, which is killed when this is dropped.
struct Endpoint {
    protocol: Protocol,
    address: SocketAddr,
    folder: PathBuf,
    lives: u32,
    process: Child,
}

impl Endpoint {
    fn start(protocol: Protocol, address: SocketAddr, folder: &Path) -> Self {
        Self {
            protocol,
            address,
            folder: folder.to_owned(),
            lives: 1,
            process: Self::spawn(protocol, address, &folder.join("1")),
        }
    }

    fn spawn(protocol: Protocol, address: SocketAddr, file: &Path) -> Child {
        let words = format!("{} {address} {}", protocol.name(), file.display());
        Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "endpoint_process", "--ignored", "--nocapture"])
            .env("OUTAGES_ENDPOINT", words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the endpoint starts")
    }

    fn tell(&mut self, command: &str) {
        let mut to = self.process.stdin.as_ref().expect("piped");
        writeln!(to, "{command}").expect("it lives");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it lives");
    }

    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Another process at the same port, which knows nothing of the one before.
    fn start_again(&mut self) {
        self.lives += 1;
        let file = self.folder.join(self.lives.to_string());
        self.process = Self::spawn(self.protocol, self.address, &file);
    }

    /// Number and id of all that was processed, in all lives.
    fn processed(&self) -> Vec<(u64, u64)> {
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let lives = (1..=self.lives).map(|life| self.folder.join(life.to_string()));
        let files = lives.filter_map(|file| std::fs::read(file).ok());
        let records = files.flat_map(|file| {
            let records = file.chunks_exact(RECORD);
            records
                .map(|r| (word(&r[..8]), word(&r[8..])))
                .collect::<Vec<_>>()
        });
        records.collect()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Numbered events that go to the gateway by the client.
struct Load {
    client: Client,
    batcher: Batcher,
    accepted: Arc<AtomicU64>,
    pushed: u64,
}

impl Load {
    fn new(setup: &Setup) -> Self {
        let client = Client::connect(&setup.url()).expect("an address");
        let accepted = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&accepted);
        let batcher = client.batcher(Gather::default(), move |outcome| {
            let receipt = outcome.expect("no batch is given back");
            counted.fetch_add(u64::from(receipt.accepted), SeqCst);
        });
        Self {
            client,
            batcher,
            accepted,
            pushed: 0,
        }
    }

    /// As fast as they are taken.
    async fn push(&mut self, events: u64) {
        for seq in self.pushed..self.pushed + events {
            let event = format!(r#"{{"seq":{seq},"text":"an order was taken and paid"}}"#);
            self.batcher.push(event.as_bytes()).await.expect("taken");
        }
        self.pushed += events;
    }
}

/// A gateway that sends to `address`.
fn sending_by(protocol: Protocol, address: SocketAddr) -> Setup {
    let setup = Setup::new(address, "");
    let settings = std::fs::read_to_string(setup.config_file()).expect("settings");
    let named = format!("protocol = \"{}\"", protocol.name());
    let settings = settings.replace("protocol = \"json_lines\"", &named);
    std::fs::write(setup.config_file(), settings).expect("written");
    setup
}

async fn outages_over(protocol: Protocol) {
    let events = number("OUTAGES_EVENTS", 210_000);
    let stall = Duration::from_secs(number("OUTAGES_STALL", 4));
    let (folder, address) = (tempfile::tempdir().expect("a folder"), free());
    let mut endpoint = Endpoint::start(protocol, address, folder.path());
    let setup = sending_by(protocol, address);
    let gateway = setup.start_and_wait().await;
    let mut load = Load::new(&setup);

    let started = Instant::now();
    for outage in OUTAGES {
        // It begins, goes on and ends while events flow.
        load.push(events / 21).await;
        let (flowing, ended) = (load.push(events / 21), outage.suffer(&mut endpoint, stall));
        tokio::join!(flowing, ended);
        load.push(events / 21).await;
        arrive_some(&setup, outage).await;
    }
    let Load {
        client,
        batcher,
        accepted,
        pushed,
    } = load;
    batcher.flush().await.expect("open");
    drop(batcher);
    let report = client.close().await.expect("closed once");
    assert!(report.all_accepted(), "{report:?}");
    assert_eq!(accepted.load(SeqCst), pushed);
    confirmed(&setup, pushed).await;
    let seconds = started.elapsed().as_secs();
    let twice = check(&endpoint.processed(), pushed);
    let said = possible_duplicates(&setup).await;
    eprintln!(
        "{}: {pushed} events in {seconds} s, missing 0, twice {twice}, said to be possibly twice {said}",
        protocol.name()
    );
    assert!(said >= twice, "{twice} came twice, {said} are counted");
    let status = setup.status().await;
    assert_eq!(status["queues"][0]["unaccounted_events"], 0, "{status}");
    assert_eq!(status["queues"][0]["ledger"]["dead_letters"], 0, "{status}");
    assert_eq!(gateway.terminate().await, Some(0));
}

#[derive(Debug, Clone, Copy)]
enum Outage {
    Stopped,
    Killed,
    Frozen,
    Blocked,
    Reset,
    Replaced,
    KilledWhileBlocked,
}

const OUTAGES: [Outage; 7] = [
    Outage::Stopped,
    Outage::Killed,
    Outage::Frozen,
    Outage::Blocked,
    Outage::Reset,
    Outage::Replaced,
    Outage::KilledWhileBlocked,
];

impl Outage {
    async fn suffer(self, endpoint: &mut Endpoint, stall: Duration) {
        match self {
            Self::Stopped => {
                endpoint.tell("stop");
                while endpoint.process.try_wait().expect("a child").is_none() {
                    sleep(Duration::from_millis(20)).await;
                }
                sleep(STARTUP).await;
                endpoint.start_again();
            }
            Self::Killed => {
                endpoint.kill();
                sleep(stall / 2).await;
                endpoint.start_again();
            }
            Self::Frozen => {
                endpoint.signal(Signal::STOP);
                sleep(stall).await;
                endpoint.signal(Signal::CONT);
            }
            Self::Blocked => {
                endpoint.tell("block");
                sleep(stall).await;
                endpoint.tell("unblock");
            }
            Self::Reset => {
                for _ in 0..10 {
                    endpoint.tell("reset");
                    sleep(Duration::from_millis(100)).await;
                }
            }
            Self::Replaced => {
                for _ in 0..3 {
                    endpoint.kill();
                    sleep(STARTUP).await;
                    endpoint.start_again();
                    sleep(STARTUP / 2).await;
                }
            }
            Self::KilledWhileBlocked => {
                endpoint.tell("block");
                sleep(stall / 2).await;
                endpoint.kill();
                sleep(STARTUP).await;
                endpoint.start_again();
            }
        }
    }
}

async fn confirmed_now(setup: &Setup) -> u64 {
    let status = setup.status().await;
    status["queues"][0]["ledger"]["confirmed"]
        .as_u64()
        .expect("a number")
}

/// Waits until something arrives after an outage, so that the next one meets traffic.
async fn arrive_some(setup: &Setup, outage: Outage) {
    let (before, until) = (confirmed_now(setup).await, Instant::now() + PATIENCE);
    while confirmed_now(setup).await == before
        && setup.status().await["queues"][0]["waiting_events"] != 0
    {
        assert!(Instant::now() < until, "nothing moves: {outage:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until all is confirmed, for as long as more and more is.
async fn confirmed(setup: &Setup, all: u64) {
    let (mut last, mut until) = (0, Instant::now() + PATIENCE);
    loop {
        let now = confirmed_now(setup).await;
        if now == all {
            return;
        }
        if now > last {
            (last, until) = (now, Instant::now() + PATIENCE);
        }
        assert!(
            Instant::now() < until,
            "{now} of {all} confirmed: {}\n{}",
            setup.status().await,
            setup.log()
        );
        sleep(Duration::from_millis(100)).await;
    }
}

/// How many events arrived more than once; all of `all` did, each under one id.
fn check(processed: &[(u64, u64)], all: u64) -> u64 {
    let mut ids = HashMap::with_capacity(all as usize);
    let mut twice = 0;
    for &(seq, id) in processed {
        match ids.insert(seq, id) {
            None => {}
            Some(before) => {
                assert_eq!(before, id, "event {seq} came under two ids");
                twice += 1;
            }
        }
    }
    let missing: Vec<u64> = (0..all).filter(|seq| !ids.contains_key(seq)).collect();
    assert!(
        missing.is_empty(),
        "answered and never arrived: {} of {all}, {:?}…",
        missing.len(),
        missing.first()
    );
    assert_eq!(ids.len() as u64, all, "events that nobody sent");
    twice
}

async fn possible_duplicates(setup: &Setup) -> u64 {
    let mut socket = TcpStream::connect(setup.admin).await.expect("admin");
    let ask = format!("GET /metrics HTTP/1.0\r\nhost: {}\r\n\r\n", setup.admin);
    socket.write_all(ask.as_bytes()).await.expect("asked");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("answered");
    let line = answer
        .lines()
        .find(|line| line.starts_with("stashgate_possible_duplicate_events_total"));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.map_or(0, |value| value.parse().expect("a number"))
}
