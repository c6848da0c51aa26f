//! Programs that log through libraries of others, to the real gateway's receivers.
//! Where Python, Node.js or the packages cannot be had, a test is skipped, with a
//! message.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/sink.rs"]
mod sink;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gateway::{Gateway, PATIENCE, Setup, eventually, free};
use peer::{Peer, installs, limited, workshop};
use sink::Sink;
use tokio::time::sleep;

const PACKAGES: &str = include_str!("peers/requirements.txt");
const NODE_PACKAGES: [&str; 2] = ["winston@3.19.0", "winston-logstash@2.1.1"];

/// What both clients say whenever they could not send.
const COMPLAINT: &str = "An error occurred";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(name)
}

/// Whether `folder` holds these packages; installs them if not.
fn holds(folder: &Path, packages: &str, install: impl FnOnce() -> bool) -> bool {
    let stamp = folder.join("installed");
    let there = std::fs::read_to_string(&stamp).is_ok_and(|held| held == packages);
    let installed = there || install();
    if installed {
        std::fs::write(stamp, packages).expect("written");
    }
    installed
}

/// A Python that has the packages.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let install = || {
        let folder = workshop("python");
        let python = folder.join("venv/bin/python");
        let mut venv = limited("python3");
        venv.args(["-m", "venv"]).arg(folder.join("venv"));
        let mut pip = limited(&python);
        pip.args(["-m", "pip", "install", "--quiet", "-r"]);
        pip.arg(script("requirements.txt"));
        let install = || installs("python3", &mut venv) && installs("its packages", &mut pip);
        holds(&folder, PACKAGES, install).then_some(python)
    };
    PYTHON.get_or_init(install).as_deref()
}

/// Where Node.js finds the packages.
fn node() -> Option<PathBuf> {
    let folder = workshop("node");
    let mut npm = limited("npm");
    npm.args([
        "install",
        "--loglevel=error",
        "--no-save",
        "--no-fund",
        "--no-audit",
    ]);
    npm.args(NODE_PACKAGES).current_dir(&folder);
    let install = || installs("winston-logstash", &mut npm);
    holds(&folder, &NODE_PACKAGES.join(" "), install).then(|| folder.join("node_modules"))
}

/// A program that logs what it is told to.
struct Logger {
    peer: Peer,
    told: u64,
}

impl Logger {
    fn start(command: &mut Command, to: SocketAddr) -> Self {
        command.arg(to.ip().to_string()).arg(to.port().to_string());
        let peer = Peer::start(command);
        Self { peer, told: 0 }
    }

    fn python(transport: &str, to: SocketAddr) -> Option<Self> {
        let mut command = Command::new(python()?);
        command.arg(script("log.py")).arg(transport);
        Some(Self::start(&mut command, to))
    }

    fn winston(to: SocketAddr) -> Option<Self> {
        let mut command = Command::new("node");
        command.arg(script("log.js")).env("NODE_PATH", node()?);
        Some(Self::start(&mut command, to))
    }

    /// Logs so many more events.
    fn log(&mut self, count: u64) {
        self.peer.tell(&format!("{} {count}", self.told));
        self.told += count;
    }

    fn complaints(&self) -> usize {
        let said = self.peer.said();
        said.iter().filter(|line| line.contains(COMPLAINT)).count()
    }

    async fn complains_again(&self) {
        let before = self.complaints();
        eventually("it complains", || self.complaints() > before).await;
    }

    async fn all_arrive(&self, sink: &Sink) {
        eventually("all arrive", || sink.distinct() == self.told).await;
    }
}

/// A gateway that takes lumberjack, too.
fn setup(logstash: SocketAddr, more: &str) -> (Setup, SocketAddr) {
    let beats = free();
    let receiver = format!("[receivers.lumberjack]\nenabled = true\nlisten = \"{beats}\"\n{more}");
    (Setup::new(logstash, &receiver), beats)
}

/// Waits until all that was accepted is confirmed, with no dead letter; how much
/// it was.
async fn settled(setup: &Setup) -> u64 {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = setup.status().await;
        let ledger = &status["queues"][0]["ledger"];
        assert_eq!(status["dead_letters"]["held"], 0, "{status}");
        if ledger["accepted"] == ledger["confirmed"] {
            return ledger["accepted"].as_u64().expect("a number");
        }
        assert!(Instant::now() < until, "{status}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Logs, and logs on while the gateway is away; three times.
async fn logs_on(logger: &mut Logger, setup: &Setup, sink: &Sink, stop: Stop) {
    let mut gateway = setup.start_and_wait().await;
    for _ in 0..3 {
        stop.stop(gateway, logger, sink).await;
        logger.log(100);
        logger.complains_again().await;
        gateway = setup.start_and_wait().await;
        logger.all_arrive(sink).await;
    }
    let accepted = settled(setup).await;
    assert_eq!(gateway.terminate().await, Some(0));
    match stop {
        Stop::BetweenEvents => {
            assert_eq!(accepted, logger.told);
            assert_eq!(sink.faults(), Vec::<String>::new());
        }
        // What was answered but not heard is sent again, as something new.
        Stop::AmongEvents => {
            assert!(accepted >= logger.told);
            assert!(sink.faults().iter().all(|fault| fault.contains("has ids")));
        }
    }
}

/// When the gateway goes.
#[derive(Clone, Copy)]
enum Stop {
    /// For protocols without answers: what is on its way is lost.
    BetweenEvents,
    /// By SIGKILL.
    AmongEvents,
}

impl Stop {
    async fn stop(self, gateway: Gateway, logger: &mut Logger, sink: &Sink) {
        let before = logger.told;
        match self {
            Self::BetweenEvents => {
                logger.log(300);
                logger.all_arrive(sink).await;
                assert_eq!(gateway.terminate().await, Some(0));
            }
            Self::AmongEvents => {
                logger.log(2_000);
                eventually("some arrive", || sink.distinct() > before + 100).await;
                // However quick it was, there are more on their way.
                logger.log(2_000);
                gateway.kill();
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs Python and PyPI: make peers"]
async fn python_over_tcp_goes_on_when_the_gateway_is_back() {
    let sink = Sink::start();
    let (setup, _) = setup(sink.address, "");
    let Some(mut logger) = Logger::python("TcpTransport", setup.tcp) else {
        return;
    };
    logs_on(&mut logger, &setup, &sink, Stop::BetweenEvents).await;
    assert!(logger.peer.ended().await.success());
}

#[tokio::test]
#[ignore = "needs Python and PyPI: make peers"]
async fn python_over_http_loses_nothing_when_the_gateway_is_killed() {
    let sink = Sink::start();
    let (setup, _) = setup(sink.address, "");
    let Some(mut logger) = Logger::python("HttpTransport", setup.http) else {
        return;
    };
    logs_on(&mut logger, &setup, &sink, Stop::AmongEvents).await;
    assert!(logger.peer.ended().await.success());
}

#[tokio::test]
#[ignore = "needs Python and PyPI: make peers"]
async fn python_over_beats_loses_nothing_when_the_gateway_is_killed() {
    let sink = Sink::start();
    let (setup, beats) = setup(sink.address, "");
    let Some(mut logger) = Logger::python("BeatsTransport", beats) else {
        return;
    };
    logs_on(&mut logger, &setup, &sink, Stop::AmongEvents).await;
    assert!(logger.peer.ended().await.success());
}

#[tokio::test]
#[ignore = "needs Node.js and npm: make peers"]
async fn winston_over_tcp_goes_on_when_the_gateway_is_back() {
    let sink = Sink::start();
    let (setup, _) = setup(sink.address, "");
    let Some(mut logger) = Logger::winston(setup.tcp) else {
        return;
    };
    logs_on(&mut logger, &setup, &sink, Stop::BetweenEvents).await;
    assert!(logger.peer.ended().await.success());
}

/// Room for some two hundred events.
const SMALL: &str = "[limits]\nmax_batch_bytes = \"64KiB\"\nmax_event_bytes = \"16KiB\"\n\
     [queues.logstash]\nmax_bytes = \"64KiB\"";

/// Logs more than the gateway has room for, whose Logstash then comes back.
async fn waits_for_room(transport: &str, to: impl FnOnce(&Setup, SocketAddr) -> SocketAddr) {
    let blocked = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (setup, beats) = setup(blocked.local_addr().expect("bound"), SMALL);
    let Some(mut logger) = Logger::python(transport, to(&setup, beats)) else {
        return;
    };
    let _gateway = setup.start_and_wait().await;
    logger.log(1_000);
    let until = Instant::now() + PATIENCE;
    while setup.status().await["queues"][0]["full"].is_null() {
        assert!(Instant::now() < until, "{}", setup.status().await);
        sleep(Duration::from_millis(50)).await;
    }
    // Longer than the client waits for a word: 10 s.
    sleep(Duration::from_secs(12)).await;
    let complaints = logger.complaints();
    let sink = Sink::serve(blocked);
    logger.all_arrive(&sink).await;
    let accepted = settled(&setup).await;
    match transport {
        // Told all the while that nothing is wrong.
        "BeatsTransport" => assert_eq!((complaints, accepted), (0, 1_000)),
        // Refused, and sent again.
        _ => assert!(complaints > 0 && accepted == 1_000),
    }
    assert!(logger.peer.ended().await.success());
}

#[tokio::test]
#[ignore = "needs Python and PyPI: make peers"]
async fn python_over_beats_waits_while_the_gateway_is_full() {
    waits_for_room("BeatsTransport", |_, beats| beats).await;
}

#[tokio::test]
#[ignore = "needs Python and PyPI: make peers"]
async fn python_over_http_tries_again_while_the_gateway_is_full() {
    waits_for_room("HttpTransport", |setup, _| setup.http).await;
}
