//! The gateway and the Redis of `docker/compose.yaml`, as real programs on this machine:
//! the files as they are, but for addresses and folders.

#![allow(dead_code)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::gateway::{Gateway, Setup, eventually, free};
use super::http::{Answer, ask};

/// What `.env` holds.
pub(crate) const ADMIN_TOKEN: &str = "an-admin-token-of-some-length";
pub(crate) const REDIS_PASSWORD: &str = "a-password-for-redis";

pub(crate) const COMPOSE: &str = include_str!("../../docker/compose.yaml");

/// See the module. Its processes end when it is dropped.
pub(crate) struct Stack {
    pub(crate) setup: Setup,
    pub(crate) gateway: Gateway,
    pub(crate) redis: Redis,
}

impl Stack {
    /// Starts both; the gateway forwards to `logstash` by lumberjack.
    pub(crate) async fn start(logstash: SocketAddr) -> Self {
        let redis = Redis::start().await;
        let setup = Setup::new(logstash, "");
        std::fs::write(setup.config_file(), settings(&setup, &redis, logstash)).expect("written");
        let gateway = setup.start_with(&environment());
        let stack = Self {
            setup,
            gateway,
            redis,
        };
        eventually("a gateway that is ready", || stack.is_ready()).await;
        stack
    }

    fn is_ready(&self) -> bool {
        let answers = std::net::TcpStream::connect(self.setup.admin).is_ok();
        answers && super::http::get(self.setup.admin, "/readyz").status == 200
    }

    /// `GET path` with the admin token.
    pub(crate) fn get(&self, path: &str) -> Answer {
        let admin = self.setup.admin;
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {ADMIN_TOKEN}");
        ask(admin, &head, "")
    }
}

/// `docker/stashgate.toml` with the addresses and the folder of `setup`.
fn settings(setup: &Setup, redis: &Redis, logstash: SocketAddr) -> String {
    let (grpc, http, tcp, admin) = (setup.grpc, setup.http, setup.tcp, setup.admin);
    let folder = setup.data_dir().display().to_string();
    replace(
        include_str!("../../docker/stashgate.toml"),
        &[
            ("/var/lib/stashgate", &folder),
            ("0.0.0.0:7170", &admin.to_string()),
            ("0.0.0.0:7171", &grpc.to_string()),
            ("0.0.0.0:7172", &http.to_string()),
            ("0.0.0.0:7173", &tcp.to_string()),
            ("0.0.0.0:7174", &free().to_string()),
            ("redis:6379", &redis.address.to_string()),
            ("logstash:5044", &logstash.to_string()),
        ],
    )
}

/// `text` with each of `parts`, which is there once, replaced.
pub(crate) fn replace(text: &str, parts: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (part, by) in parts {
        assert_eq!(text.matches(part).count(), 1, "{part} in {text}");
        text = text.replace(part, by);
    }
    text
}

/// The gateway's variables in the compose file, but for the file of its settings.
fn environment() -> Vec<(String, String)> {
    let lines = COMPOSE.lines().filter_map(|line| {
        let (name, value) = line.trim().split_once(": ")?;
        name.starts_with("STASHGATE__").then_some((name, value))
    });
    let filled = lines.map(|(name, value)| {
        let value = match value {
            "${STASHGATE_ADMIN_TOKEN:?see README.md}" => ADMIN_TOKEN,
            "${REDIS_PASSWORD:?see README.md}" => REDIS_PASSWORD,
            other => other,
        };
        (name.to_owned(), value.to_owned())
    });
    filled.collect()
}

/// A Redis, started by the command of the compose file.
pub(crate) struct Redis {
    folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
    process: Child,
}

impl Redis {
    async fn start() -> Self {
        let (folder, address) = (tempfile::tempdir().expect("a folder"), free());
        let words = command();
        let (shell, rest) = words.split_first().expect("a program");
        let [option, script] = rest else {
            panic!("no shell's command: {words:?}")
        };
        let port = address.port();
        let here = format!("{script} --port {port} --bind 127.0.0.1 --logfile log");
        let process = Command::new(shell)
            .args([option, &here])
            .current_dir(folder.path())
            .env("REDISCLI_AUTH", REDIS_PASSWORD)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("a shell");
        let redis = Self {
            folder,
            address,
            process,
        };
        eventually("Redis answers", || redis.ask(&["ping"]) == "PONG\n").await;
        redis
    }

    /// What `redis-cli` says, as in the health check of the compose file.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let port = self.address.port().to_string();
        let output = Command::new("redis-cli")
            .args(["-p", &port])
            .args(words)
            .env("REDISCLI_AUTH", REDIS_PASSWORD)
            .output()
            .expect("redis-cli: Debian's package redis-tools, or make test-tools");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The words of Redis' command in the compose file; `$$` is how it writes `$`.
fn command() -> Vec<String> {
    let redis = COMPOSE.split_once("\n  redis:\n").expect("the service").1;
    let line = redis
        .lines()
        .find_map(|l| l.trim().strip_prefix("command: "));
    let words: Vec<String> = serde_json::from_str(line.expect("a command")).expect("a list");
    words.iter().map(|word| word.replace("$$", "$")).collect()
}

/// A file of `docker/`.
pub(crate) fn docker(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docker")
        .join(name)
}

/// Every query of the Grafana dashboard, with its variables filled in.
pub(crate) fn queries() -> Vec<String> {
    let dashboard = std::fs::read_to_string(docker("grafana/dashboards/stashgate.json"));
    let dashboard: serde_json::Value =
        serde_json::from_str(&dashboard.expect("the dashboard")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    let queries = targets.flatten().map(|target| {
        let query = target["expr"].as_str().expect("a query");
        query
            .replace("$queue", ".*")
            .replace("$__rate_interval", "5s")
    });
    queries.collect()
}
