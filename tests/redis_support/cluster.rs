//! A real Redis Cluster: three masters, each with a replica.

use std::process::Command;

use deadpool_redis::redis::Value;

use super::{RedisServer, ServerKind, again_and_again, ask_once, eventually};

/// A dead master is replaced after about twice that. A busy machine holds up a living one
/// for less.
const NODE_TIMEOUT: &str = "cluster-node-timeout 3000";
const MASTERS: usize = 3;

/// The nodes of a cluster. Masters come first when it starts; failovers change that.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<RedisServer>,
}

impl Cluster {
    /// Starts six nodes and joins them; returns when all agree.
    pub(crate) fn start() -> Self {
        Self::start_as(ServerKind::default())
    }

    /// The same with nodes of a kind of their own.
    pub(crate) fn start_as(kind: ServerKind) -> Self {
        let node = || {
            let mut kind = kind.clone();
            kind.more.extend(
                [
                    "cluster-enabled yes",
                    NODE_TIMEOUT,
                    "repl-diskless-sync-delay 0",
                ]
                .map(str::to_owned),
            );
            RedisServer::start_as(kind)
        };
        let cluster = Self {
            nodes: (0..MASTERS * 2).map(|_| node()).collect(),
        };
        cluster.join();
        cluster
    }

    fn join(&self) {
        let addresses = self.nodes.iter().map(RedisServer::address);
        let output = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .expect("redis-cli runs: it is in Debian's package redis-tools");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        eventually("all nodes agree, and all replicas are in step", || {
            let masters = self.nodes.iter().filter(|node| node.is_master());
            self.nodes.iter().all(|node| node.cluster_is_well())
                && masters.clone().count() == MASTERS
                && masters.clone().all(|node| node.has_a_replica_in_step())
        });
    }

    /// Addresses for the configuration.
    pub(crate) fn seeds(&self) -> Vec<String> {
        self.nodes.iter().map(RedisServer::address).collect()
    }

    /// The number of the master that serves `key`, as a living node sees it.
    pub(crate) fn master_of(&self, key: &str) -> usize {
        let running = self.nodes.iter().find(|node| node.is_running());
        self.master_as_seen_by(running.expect("a node runs"), key)
    }

    /// Waits until all nodes know that `master` serves `key`.
    pub(crate) fn agree_on(&self, key: &str, master: usize) {
        let nodes = self.nodes.iter().filter(|node| node.is_running());
        let knows = |node| self.master_as_seen_by(node, key) == master;
        eventually("all nodes know the master", || nodes.clone().all(knows));
    }

    fn master_as_seen_by(&self, asked: &RedisServer, key: &str) -> usize {
        let slot: u64 = asked.ask(&["CLUSTER", "KEYSLOT", key]);
        let ranges: Vec<(u64, u64, Value)> = first_three(asked.ask(&["CLUSTER", "SLOTS"]));
        let range = ranges
            .iter()
            .find(|(from, to, _)| (*from..=*to).contains(&slot));
        let Some((_, _, Value::Array(master))) = range else {
            panic!("nobody serves {key}");
        };
        let number = |node: &&RedisServer| master[1] == Value::Int(i64::from(node.port()));
        let node = self.nodes.iter().find(number).expect("one of ours");
        self.number_of(node.port())
    }

    /// The number of a running replica of a master.
    pub(crate) fn replica_of(&self, master: usize) -> usize {
        let port = self.nodes[master].port();
        let follows = format!("master_port:{port}\r");
        let replica = self
            .nodes
            .iter()
            .find(|node| node.is_running() && node.info("replication").contains(&follows));
        self.number_of(replica.expect("a replica").port())
    }

    /// Kills the master of `key`; returns when a replica has its place.
    pub(crate) fn kill_master_of(&mut self, key: &str) -> usize {
        let master = self.master_of(key);
        let replica = self.replica_of(master);
        self.nodes[master].kill();
        eventually("the replica is elected, and all agree", || {
            let mut running = self.nodes.iter().filter(|node| node.is_running());
            self.nodes[replica].is_master() && running.all(RedisServer::cluster_is_well)
        });
        master
    }

    /// Makes the replica of `key`'s master the master, in good order.
    pub(crate) fn fail_over(&self, key: &str) {
        let replica = self.replica_of(self.master_of(key));
        let node = &self.nodes[replica];
        again_and_again(
            "the replica is master",
            || drop(ask_once(&node.url(), &["CLUSTER", "FAILOVER"])),
            || node.is_master(),
        );
        eventually("all agree", || self.master_of(key) == replica);
    }

    fn number_of(&self, port: u16) -> usize {
        let number = self.nodes.iter().position(|node| node.port() == port);
        number.expect("one of ours")
    }
}

/// The parts of each range that matter.
fn first_three(ranges: Vec<Value>) -> Vec<(u64, u64, Value)> {
    let parts = ranges.into_iter().map(|range| match range {
        Value::Array(parts) => match parts.as_slice() {
            [Value::Int(from), Value::Int(to), master, ..] => {
                (from.cast_unsigned(), to.cast_unsigned(), master.clone())
            }
            other => panic!("no range: {other:?}"),
        },
        other => panic!("no range: {other:?}"),
    });
    parts.collect()
}

impl RedisServer {
    /// Whether it says that the cluster is whole.
    fn cluster_is_well(&self) -> bool {
        let info = ask_once(&self.url(), &["CLUSTER", "INFO"]).unwrap_or_default();
        info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
    }

    /// Whether it calls itself a master.
    pub(crate) fn is_master(&self) -> bool {
        self.is_running() && self.info("replication").contains("role:master")
    }

    /// Whether one of its replicas has all that it has.
    pub(crate) fn has_a_replica_in_step(&self) -> bool {
        self.info("replication").contains("state=online")
    }

    /// A section of `INFO`; empty if it does not answer.
    pub(crate) fn info(&self, section: &str) -> String {
        ask_once(&self.url(), &["INFO", section]).unwrap_or_default()
    }
}
