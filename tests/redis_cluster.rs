//! Finding the master of a list in a real cluster, through failovers and moves.

mod redis_support;

use std::time::{Duration, Instant};

use deadpool_redis::redis::{cmd, pipe};
use redis_support::cluster::Cluster;
use redis_support::{PATIENCE, RedisServer, ServerKind};
use stashgate::spool::redis::nodes::facts::Facts;
use stashgate::spool::redis::nodes::{Address, Conn, Fault, Nodes, ServerOptions};

/// Lists that happen to be spread over all three masters.
const LISTS: [&str; 4] = ["logstash.0", "logstash.1", "logstash.2", "logstash.3"];

fn nodes(cluster: &Cluster) -> Nodes {
    Nodes::new(&ServerOptions {
        // One that is not there does not stop the others.
        cluster: std::iter::once("127.0.0.1:1".to_owned())
            .chain(cluster.seeds())
            .collect(),
        connect_timeout: Duration::from_secs(20),
        response_timeout: Duration::from_secs(20),
        ..ServerOptions::default()
    })
    .expect("settings")
}

/// Appends one element, as often as nothing was done; what went wrong on the way.
async fn push(nodes: &Nodes, list: &str) -> (Conn, Vec<Fault>) {
    let until = Instant::now() + PATIENCE;
    let mut faults = Vec::new();
    loop {
        match try_push(nodes, list).await {
            Ok(conn) => return (conn, faults),
            Err(fault) => {
                assert!(Instant::now() < until, "{fault}");
                assert!(!matches!(fault, Fault::Refused(_)), "{fault}");
                nodes.suspect(list, &fault);
                faults.push(fault);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn try_push(nodes: &Nodes, list: &str) -> Result<Conn, Fault> {
    let mut conn = nodes.connect(list).await?;
    let mut flush = pipe();
    flush.atomic().cmd("RPUSH").arg(list).arg("element");
    flush.cmd("INCR").arg(format!("{{{list}}}:ledger"));
    conn.run::<(u64, u64)>(&flush).await?;
    Ok(conn)
}

#[tokio::test]
async fn each_list_goes_to_its_own_master_and_follows_it_through_failovers() {
    let mut cluster = Cluster::start();
    let nodes = nodes(&cluster);
    let mut masters = std::collections::BTreeSet::new();
    for list in LISTS {
        let (mut conn, faults) = push(&nodes, list).await;
        assert_eq!(faults, []);
        let master = cluster.master_of(list);
        assert_eq!(conn.address().to_string(), cluster.nodes[master].address());
        masters.insert(master);
        let facts = Facts::of(&mut conn).await.expect("told");
        assert!(facts.cluster);
        let copies: u64 = conn.call(cmd("WAIT").arg(1).arg(5000)).await.expect("told");
        assert_eq!(copies, 1);
    }
    assert!(masters.len() > 1, "they spread");

    let list = LISTS[0];
    let dead = cluster.kill_master_of(list);
    let (conn, faults) = push(&nodes, list).await;
    assert!(!faults.is_empty());
    assert_ne!(conn.address().to_string(), cluster.nodes[dead].address());
    let length: u64 = cluster.nodes[cluster.master_of(list)].ask(&["LLEN", list]);
    assert_eq!(length, 2);
    let pools = nodes.pools();
    let of_the_dead = |(address, _): &(Address, _)| address.port == cluster.nodes[dead].port();
    assert!(!pools.iter().any(of_the_dead), "{pools:?}");
}

#[tokio::test]
async fn a_failover_in_good_order_is_followed() {
    let cluster = Cluster::start();
    let nodes = nodes(&cluster);
    let list = LISTS[0];
    let (_held, _) = push(&nodes, list).await;
    let was = cluster.master_of(list);
    cluster.fail_over(list);
    let (conn, faults) = push(&nodes, list).await;
    assert_ne!(conn.address().to_string(), cluster.nodes[was].address());
    let moved = |fault: &Fault| matches!(fault, Fault::Elsewhere(_));
    assert!(faults.iter().any(moved), "{faults:?}");
}

#[tokio::test]
async fn a_slot_that_is_moved_is_followed_and_while_it_moves_nothing_is_half_done() {
    let cluster = Cluster::start();
    let nodes = nodes(&cluster);
    let list = LISTS[0];
    let (mut conn, _) = push(&nodes, list).await;
    let from = cluster.master_of(list);
    let to = LISTS
        .iter()
        .map(|list| cluster.master_of(list))
        .find(|master| *master != from)
        .expect("another master");
    let migration = Migration::start(&cluster, list, from, to);
    // The list is still here, the ledger is there already: nothing may be half done.
    migration.take(&format!("{{{list}}}:ledger"));
    let fault = try_push(&nodes, list).await.expect_err("in between");
    assert!(
        matches!(fault, Fault::Elsewhere(_) | Fault::NotNow(_)),
        "{fault}"
    );
    assert!(fault.to_string().contains("ASK"), "{fault}");
    let length: u64 = conn.call(cmd("LLEN").arg(list)).await.expect("told");
    assert_eq!(length, 1);
    nodes.suspect(list, &fault);
    migration.take(list);
    migration.finish();
    cluster.agree_on(list, to);
    let (conn, faults) = push(&nodes, list).await;
    assert_eq!(conn.address().to_string(), cluster.nodes[to].address());
    assert!(faults.len() < 20, "{faults:?}");
    let length: u64 = cluster.nodes[to].ask(&["LLEN", list]);
    assert_eq!(length, 2);
}

#[tokio::test]
async fn a_node_that_is_cut_off_and_knows_nobody_is_not_asked_for_ever() {
    let cluster = Cluster::start();
    let lonely = RedisServer::start_as(ServerKind {
        more: vec!["cluster-enabled yes".to_owned()],
        ..ServerKind::default()
    });
    let nodes = Nodes::new(&ServerOptions {
        cluster: vec![lonely.address(), cluster.nodes[0].address()],
        ..ServerOptions::default()
    });
    let (_, faults) = push(&nodes.expect("settings"), LISTS[0]).await;
    assert!(!faults.is_empty(), "the lonely one was asked first");
}

/// The move of a slot, step by step as `redis-cli --cluster reshard` does it.
struct Migration<'c> {
    cluster: &'c Cluster,
    slot: String,
    from: usize,
    to: usize,
}

impl<'c> Migration<'c> {
    fn start(cluster: &'c Cluster, list: &str, from: usize, to: usize) -> Self {
        let slot: u64 = cluster.nodes[from].ask(&["CLUSTER", "KEYSLOT", list]);
        let migration = Self {
            cluster,
            slot: slot.to_string(),
            from,
            to,
        };
        migration.set(to, &["IMPORTING", &migration.id(from)]);
        migration.set(from, &["MIGRATING", &migration.id(to)]);
        migration
    }

    fn id(&self, node: usize) -> String {
        self.cluster.nodes[node].ask(&["CLUSTER", "MYID"])
    }

    fn set(&self, node: usize, words: &[&str]) {
        let question = [&["CLUSTER", "SETSLOT", &self.slot], words].concat();
        let _: String = self.cluster.nodes[node].ask(&question);
    }

    /// Moves one key.
    fn take(&self, key: &str) {
        let port = self.cluster.nodes[self.to].port().to_string();
        let question = ["MIGRATE", "127.0.0.1", &port, key, "0", "5000"];
        let _: String = self.cluster.nodes[self.from].ask(&question);
    }

    fn finish(&self) {
        let new = self.id(self.to);
        self.set(self.to, &["NODE", &new]);
        self.set(self.from, &["NODE", &new]);
    }
}
