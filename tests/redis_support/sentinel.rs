//! A real master with two replicas, watched by three Sentinels.

use std::process::{Child, Command, Stdio};

use super::{RedisServer, ServerKind, again_and_again, ask_once, eventually, free_port};

/// What the Sentinels call the master.
pub(crate) const MASTER: &str = "spool";

/// Data nodes and the Sentinels that watch them.
#[derive(Debug)]
pub(crate) struct Sentinel {
    /// The first is the master at the start.
    pub(crate) nodes: Vec<RedisServer>,
    watchers: Vec<Watcher>,
}

/// A Sentinel's process.
#[derive(Debug)]
pub(crate) struct Watcher {
    _folder: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Sentinel {
    /// Starts everything; returns when each Sentinel knows all others and all
    /// replicas are in step.
    pub(crate) fn start() -> Self {
        Self::start_with_password(None)
    }

    /// The same where the Sentinels ask for a password.
    pub(crate) fn start_with_password(password: Option<&str>) -> Self {
        let delay = "repl-diskless-sync-delay 0".to_owned();
        let node = |more: Vec<String>| {
            RedisServer::start_as(ServerKind {
                more,
                ..ServerKind::default()
            })
        };
        let master = node(vec![delay.clone()]);
        let follow = format!("replicaof 127.0.0.1 {}", master.port());
        let replica = || node(vec![delay.clone(), follow.clone()]);
        let nodes = vec![replica(), replica()];
        let watchers = (0..3).map(|_| Watcher::start(master.port(), password));
        let sentinel = Self {
            watchers: watchers.collect(),
            nodes: std::iter::once(master).chain(nodes).collect(),
        };
        sentinel.wait_until_ready(password);
        sentinel
    }

    fn wait_until_ready(&self, password: Option<&str>) {
        eventually("the replicas are in step", || {
            self.nodes[0]
                .info("replication")
                .matches("state=online")
                .count()
                == 2
        });
        let knows = "num_slaves=2,num_sentinels=3";
        let login = password.map(|password| format!(":{password}@"));
        let login = login.unwrap_or_default();
        eventually("the Sentinels know each other", || {
            self.watchers.iter().all(|watcher| {
                let url = format!("redis://{login}127.0.0.1:{}", watcher.port);
                let info = ask_once(&url, &["INFO", "sentinel"]).unwrap_or_default();
                let told = info.replace("slaves=", "num_slaves=");
                told.replace("sentinels=", "num_sentinels=").contains(knows)
            })
        });
    }

    /// Addresses for the configuration.
    pub(crate) fn sentinels(&self) -> Vec<String> {
        let addresses = self.watchers.iter();
        addresses
            .map(|watcher| format!("127.0.0.1:{}", watcher.port))
            .collect()
    }

    /// The number of the running master; a frozen or dead one does not count.
    pub(crate) fn master(&self) -> Option<usize> {
        self.nodes.iter().position(RedisServer::is_master)
    }

    /// Kills the master; returns when another one has its place, as its number.
    pub(crate) fn kill_master(&mut self) -> usize {
        let was = self.master().expect("there is a master");
        self.nodes[was].kill();
        eventually("a replica is promoted", || self.master().is_some());
        self.master().expect("just seen")
    }

    /// Has the Sentinels replace the master, which is alive and becomes a replica.
    pub(crate) fn fail_over(&self) {
        let was = self.master().expect("there is a master");
        let url = format!("redis://127.0.0.1:{}", self.watchers[0].port);
        again_and_again(
            "another is master",
            || drop(ask_once(&url, &["SENTINEL", "FAILOVER", MASTER])),
            || {
                let now = self.nodes.iter().enumerate();
                now.filter(|(_, node)| node.is_master())
                    .any(|(nth, _)| nth != was)
            },
        );
    }
}

impl Watcher {
    /// Starts one of three that watch the server on the port `master`.
    pub(crate) fn start(master: u16, password: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, config(port, master, password)).expect("written");
        let process = Command::new("redis-server")
            .arg(&file)
            .arg("--sentinel")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        Self {
            _folder: folder,
            port,
            process,
        }
    }
}

impl Watcher {
    /// Host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

fn config(port: u16, master: u16, password: Option<&str>) -> String {
    let password =
        password.map(|word| format!("requirepass {word}\nsentinel sentinel-pass {word}\n"));
    format!(
        "port {port}\nbind 127.0.0.1\n{}\
         sentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {MASTER} 3000\n\
         sentinel failover-timeout {MASTER} 5000\n",
        password.unwrap_or_default()
    )
}
