//! Real Redis servers for tests, each on free ports with a folder of its own. Every
//! process is ended by its id when its handle is dropped.

#![allow(dead_code)]

pub(crate) mod cluster;
#[path = "../support/ports.rs"]
#[allow(
    clippy::duplicate_mod,
    reason = "a test binary may have both of its users"
)]
mod ports;
pub(crate) mod sentinel;
pub(crate) mod tls;
pub(crate) mod valkey;

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use deadpool_redis::redis::{Client, Connection, FromRedisValue, RedisResult, cmd};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take for what it is asked; only a hang takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How a server works.
#[derive(Debug, Clone)]
pub(crate) struct ServerKind {
    /// `appendfsync`; `None`: no append-only file.
    pub(crate) aof: Option<&'static str>,
    /// In bytes; 0: no limit.
    pub(crate) maxmemory: u64,
    /// The password of the default user.
    pub(crate) password: Option<&'static str>,
    /// More lines of the configuration file.
    pub(crate) more: Vec<String>,
    /// The program.
    pub(crate) program: PathBuf,
}

impl Default for ServerKind {
    /// Everything is synced before it is answered.
    fn default() -> Self {
        Self {
            aof: Some("always"),
            maxmemory: 0,
            password: None,
            more: Vec::new(),
            program: "redis-server".into(),
        }
    }
}

/// A server's process, port and folder; the latter two outlive the process.
#[derive(Debug)]
pub(crate) struct RedisServer {
    folder: tempfile::TempDir,
    kind: ServerKind,
    port: u16,
    process: Option<Child>,
    stopped: bool,
}

impl RedisServer {
    /// Starts one that syncs before it answers; returns when it answers.
    pub(crate) fn start() -> Self {
        Self::start_as(ServerKind::default())
    }

    /// Starts one; returns when it answers.
    pub(crate) fn start_as(kind: ServerKind) -> Self {
        let mut server = Self {
            folder: tempfile::tempdir().expect("a folder"),
            kind,
            port: free_port(),
            process: None,
            stopped: false,
        };
        // The port was free when it was chosen; somebody else may have been faster.
        for _ in 0..10 {
            if server.spawn() {
                return server;
            }
            server.port = free_port();
        }
        panic!("redis-server does not start: {}", server.log());
    }

    /// Starts it again on the same port and folder after [`Self::kill`].
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let until = Instant::now() + PATIENCE;
        while !self.spawn() {
            assert!(Instant::now() < until, "{}", self.log());
        }
    }

    /// Kills it and starts it again with the settings that it wrote
    /// down (`CONFIG REWRITE`); returns as soon as it takes connections, while it
    /// still loads its data.
    pub(crate) fn restart_while_loading(&mut self) {
        self.kill();
        let config = self.folder.path().join("redis.conf");
        self.launch(&config);
        eventually("it takes connections", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    /// Ends the process as a crash does (SIGKILL).
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        self.stopped = false;
    }

    /// Freezes the process (SIGSTOP).
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::STOP);
        self.stopped = true;
    }

    /// Lets a frozen process go on (SIGCONT).
    pub(crate) fn cont(&mut self) {
        self.signal(Signal::CONT);
        self.stopped = false;
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Its TCP port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Whether it runs, and is not frozen.
    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some() && !self.stopped
    }

    /// Where it keeps its files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its address with everything that is needed to log in.
    pub(crate) fn url(&self) -> String {
        match self.kind.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    /// A connection that waits for each answer, at most [`PATIENCE`].
    pub(crate) fn client(&self) -> Connection {
        client(&self.url())
    }

    /// Asks one question: `server.ask::<u64>(&["LLEN", "logstash"])`.
    pub(crate) fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let answer = ask(&mut self.client(), words);
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("it takes signals");
    }

    /// Whether it came up; it does not when another one has the port.
    fn spawn(&mut self) -> bool {
        let config = self.folder.path().join("redis.conf");
        std::fs::write(&config, self.config()).expect("written");
        self.launch(&config);
        self.comes_up()
    }

    fn launch(&mut self, config: &Path) {
        let process = Command::new(&self.kind.program)
            .arg(config)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.unwrap_or_else(|error| missing(&self.kind.program, &error)));
    }

    fn config(&self) -> String {
        let Self { kind, port, .. } = self;
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            "save \"\"".to_owned(),
            "daemonize no".to_owned(),
            format!("logfile {:?}", self.folder.path().join("log")),
            format!("dir {:?}", self.folder.path()),
            format!("maxmemory {}", kind.maxmemory),
            "maxmemory-policy noeviction".to_owned(),
        ];
        match kind.aof {
            Some(fsync) => lines.push(format!("appendonly yes\nappendfsync {fsync}")),
            None => lines.push("appendonly no".to_owned()),
        }
        lines.extend(
            kind.password
                .map(|password| format!("requirepass {password}")),
        );
        lines.extend(kind.more.iter().cloned());
        lines.join("\n") + "\n"
    }

    /// Waits until our process answers, not another one on the same port.
    fn comes_up(&mut self) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let process = self.process.as_mut().expect("just started");
            let pid = process.id().to_string();
            if process.try_wait().expect("a child").is_some() {
                self.process = None;
                return false;
            }
            let said = ask_once(&self.url(), &["INFO", "server"]);
            if said.is_some_and(|info| info.contains(&format!("process_id:{pid}\r"))) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("redis-server does not answer: {}", self.log());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody uses, far from the range that outgoing connections take
/// theirs from, and so low that a cluster's bus (+ 10000) has room above it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let start = std::process::id() as usize * 37;
    loop {
        let nth = start + NEXT.fetch_add(1, Relaxed);
        let port = 12_000 + u16::try_from(nth % 9_000).expect("below 9000");
        if ports::claim(port) && ports::claim(port + 10_000) {
            return port;
        }
    }
}

/// A connection that waits for each answer, at most [`PATIENCE`].
pub(crate) fn client(url: &str) -> Connection {
    let connection = Client::open(url)
        .and_then(|client| client.get_connection_with_timeout(PATIENCE))
        .unwrap_or_else(|error| panic!("{url}: {error}"));
    connection
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout");
    connection
}

/// Asks one question.
pub(crate) fn ask<T: FromRedisValue>(
    connection: &mut Connection,
    words: &[&str],
) -> RedisResult<T> {
    let mut question = cmd(words[0]);
    question.arg(&words[1..]);
    question.query(connection)
}

/// Asks one question of a server that may not be there yet.
pub(crate) fn ask_once(url: &str, words: &[&str]) -> Option<String> {
    let patience = Duration::from_secs(2);
    let client = Client::open(url).expect("a url");
    let mut connection = client.get_connection_with_timeout(patience).ok()?;
    connection.set_read_timeout(Some(patience)).ok()?;
    ask(&mut connection, words).ok()
}

/// Puts elements at the end of a list, all at once.
pub(crate) fn push<'a>(
    server: &RedisServer,
    list: &str,
    elements: impl IntoIterator<Item = &'a [u8]>,
) {
    let mut push = cmd("RPUSH");
    push.arg(list);
    for element in elements {
        push.arg(element);
    }
    push.query::<u64>(&mut server.client()).expect("pushed");
}

/// Waits until `done`; `what` is said if that never comes.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks for something that servers give up after some seconds when they are slow, until
/// it is `done`.
pub(crate) fn again_and_again(what: &str, ask: impl Fn(), mut done: impl FnMut() -> bool) {
    const GIVEN_UP: Duration = Duration::from_secs(15);
    let mut asked: Option<Instant> = None;
    eventually(what, || {
        if asked.is_none_or(|asked| asked.elapsed() > GIVEN_UP) {
            ask();
            asked = Some(Instant::now());
        }
        done()
    });
}

fn missing(program: &Path, error: &std::io::Error) -> ! {
    panic!(
        "cannot start {}: {error}; the tests of the Redis spool need it: \
         `make test-tools`, or install Debian's packages redis-server and redis-tools",
        program.display()
    )
}
