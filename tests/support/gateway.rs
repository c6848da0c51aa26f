//! The real program as a process on free ports, for tests from outside.

#![allow(dead_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

#[path = "ports.rs"]
#[allow(
    clippy::duplicate_mod,
    reason = "a test binary may have both of its users"
)]
mod ports;

/// Long enough that only a hang reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A gateway's folder and addresses; they outlive its processes.
pub(crate) struct Setup {
    folder: tempfile::TempDir,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Setup {
    /// A gateway that forwards to `logstash`; `more` is added to its
    /// configuration.
    pub(crate) fn new(logstash: SocketAddr, more: &str) -> Self {
        let setup = Self {
            folder: tempfile::tempdir().expect("a folder"),
            grpc: free(),
            http: free(),
            tcp: free(),
            admin: free(),
        };
        let Self {
            grpc,
            http,
            tcp,
            admin,
            ..
        } = &setup;
        let config = format!(
            "data_dir = {:?}\n\
             [receivers.grpc]\nlisten = \"{grpc}\"\n\
             [receivers.http]\nlisten = \"{http}\"\n\
             [receivers.tcp.default]\nlisten = \"{tcp}\"\n\
             [admin]\nlisten = \"{admin}\"\n\
             [queues.logstash.output]\nprotocol = \"json_lines\"\nhosts = [\"{logstash}\"]\n\
             {more}\n",
            setup.data_dir()
        );
        std::fs::write(setup.config_file(), config).expect("written");
        setup
    }

    /// Forwards with these settings, among them the protocol, instead of by json_lines.
    pub(crate) fn output(&self, settings: &str) {
        let config = std::fs::read_to_string(self.config_file()).expect("written");
        let config = config.replace("protocol = \"json_lines\"", settings);
        std::fs::write(self.config_file(), config).expect("written");
    }

    /// Its settings.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.folder.path().join("stashgate.toml")
    }

    /// Where it keeps its data.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The address for clients.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    pub(crate) fn start(&self) -> Gateway {
        self.start_with(&[])
    }

    /// Starts it with these variables in its environment.
    pub(crate) fn start_with(&self, environment: &[(String, String)]) -> Gateway {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_stashgate"))
            .arg("run")
            .arg("--config")
            .arg(self.config_file())
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the gateway starts");
        Gateway(child)
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start_and_wait(&self) -> Gateway {
        let gateway = self.start();
        let until = Instant::now() + PATIENCE;
        for address in [self.admin, self.grpc, self.http, self.tcp] {
            while TcpStream::connect(address).await.is_err() {
                assert!(
                    Instant::now() < until,
                    "nothing listens on {address}: {}",
                    self.log()
                );
                sleep(Duration::from_millis(20)).await;
            }
        }
        gateway
    }

    /// What the gateway had to say so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// `GET /api/v1/status`.
    pub(crate) async fn status(&self) -> serde_json::Value {
        let admin = self.admin;
        let mut socket = TcpStream::connect(admin).await.expect("admin answers");
        let ask =
            format!("GET /api/v1/status HTTP/1.0\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
        socket.write_all(ask.as_bytes()).await.expect("asked");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("answered");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        serde_json::from_str(body).expect("JSON")
    }
}

/// A running gateway; killed when dropped.
pub(crate) struct Gateway(Child);

impl Gateway {
    /// SIGKILL, and wait for the end.
    pub(crate) fn kill(mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }

    /// SIGTERM; its exit code.
    pub(crate) async fn terminate(self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.exit_code().await
    }

    /// Waits for its end.
    pub(crate) async fn exit_code(mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether it runs a child process.
    pub(crate) fn has_child(&self) -> bool {
        let tasks = format!("/proc/{}/task", self.0.id());
        let tasks = std::fs::read_dir(tasks).into_iter().flatten().flatten();
        let children = |task: std::fs::DirEntry| {
            std::fs::read_to_string(task.path().join("children")).unwrap_or_default()
        };
        tasks.map(children).any(|children| !children.is_empty())
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An address that nobody listens on, nor any other test will. Its port is below those that the system
/// chooses from (32768 and up), so that no client takes it meanwhile.
pub(crate) fn free() -> SocketAddr {
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 22_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let mine = std::process::id().wrapping_mul(97);
    loop {
        let at = mine.wrapping_add(GIVEN.fetch_add(1, Relaxed)) % PORTS;
        let port = (FIRST + at) as u16;
        if ports::claim(port) {
            return SocketAddr::from(([127, 0, 0, 1], port));
        }
    }
}

/// Waits until `seen` comes to `all`, for as long as it grows.
pub(crate) async fn comes_to(what: &str, all: u64, mut seen: impl FnMut() -> u64) {
    let (mut most, mut until) = (0, Instant::now() + PATIENCE);
    loop {
        let now = seen();
        if now >= all {
            return;
        }
        if now > most {
            (most, until) = (now, Instant::now() + PATIENCE);
        }
        assert!(Instant::now() < until, "never: {what}: {now} of {all}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until `holds`.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "never happened: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
