//! What there is to know of Redis without working on it: what its servers are like,
//! and which lists hold batches that nobody sends. Registers nothing, changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use deadpool_redis::redis::{Cmd, cmd};

use super::keys::{self, BESIDE, Keys, QUEUES};
use super::nodes::facts::Facts;
use super::nodes::{Conn, Fault, Nodes};
use crate::batch::QueueName;

/// A server that serves some list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What it is like.
    pub facts: Facts,
    /// How long it takes to answer when it is asked for nothing.
    pub round_trip: Duration,
}

/// A list with batches that no queue of ours has, and that no living gateway works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranded {
    /// The list.
    pub list: String,
    /// How many batches it holds, those included that a dead gateway had in hand.
    pub batches: u64,
}

/// The masters of the lists of `queues`, and of what is kept beside them, each once.
pub async fn servers(
    nodes: &Nodes,
    queues: &[QueueName],
    shards: usize,
) -> Result<Vec<Server>, Fault> {
    let mut found = BTreeMap::new();
    let lists = queues
        .iter()
        .flat_map(|queue| keys::lists(queue.as_str(), shards));
    for list in lists.chain([BESIDE.to_owned()]) {
        let mut conn = nodes.connect(&list).await?;
        if !found.contains_key(conn.address()) {
            let server = server(&mut conn).await?;
            found.insert(conn.address().clone(), server);
        }
    }
    Ok(found.into_values().collect())
}

async fn server(conn: &mut Conn) -> Result<Server, Fault> {
    let facts = Facts::of(conn).await?;
    let begun = Instant::now();
    conn.call::<String>(&cmd("PING")).await?;
    Ok(Server {
        facts,
        round_trip: begun.elapsed(),
    })
}

/// The lists that none of `queues` has, whatever its number of shards, and that would
/// be sent by nobody.
pub async fn stranded(nodes: &Nodes, queues: &[QueueName]) -> Result<Vec<Stranded>, Fault> {
    let mut conn = nodes.connect(QUEUES).await?;
    let lists: BTreeSet<String> = conn.call(cmd("SMEMBERS").arg(QUEUES)).await?;
    drop(conn);
    let mut found = Vec::new();
    for list in lists {
        if queues
            .iter()
            .any(|queue| keys::is_of(&list, queue.as_str()))
        {
            continue;
        }
        let batches = batches(nodes, &list).await?;
        if batches > 0 && !is_served(nodes, &list).await? {
            found.push(Stranded { list, batches });
        }
    }
    Ok(found)
}

/// How many batches the lists of `queues` hold, in whoever's hand they are; those of
/// another number of shards included.
pub async fn unsettled(nodes: &Nodes, queues: &[QueueName], shards: usize) -> Result<u64, Fault> {
    let mut conn = nodes.connect(QUEUES).await?;
    let mut lists: BTreeSet<String> = conn.call(cmd("SMEMBERS").arg(QUEUES)).await?;
    drop(conn);
    lists.retain(|list| queues.iter().any(|queue| keys::is_of(list, queue.as_str())));
    let own = queues
        .iter()
        .flat_map(|queue| keys::lists(queue.as_str(), shards));
    lists.extend(own);
    let mut sum = 0;
    for list in lists {
        sum += batches(nodes, &list).await?;
    }
    Ok(sum)
}

async fn batches(nodes: &Nodes, list: &str) -> Result<u64, Fault> {
    let keys = Keys::new(list);
    let mut conn = nodes.connect(list).await?;
    let waiting: u64 = conn.call(cmd("LLEN").arg(list)).await?;
    let mut question = cmd("HGET");
    question.arg(&keys.ledger).arg("leased_batches");
    let leased: Option<i64> = conn.call(&question).await?;
    Ok(waiting + leased.unwrap_or(0).max(0) as u64)
}

/// Whether any of its holders lives.
async fn is_served(nodes: &Nodes, list: &str) -> Result<bool, Fault> {
    let keys = Keys::new(list);
    let mut conn = nodes.connect(list).await?;
    let holders: Vec<String> = conn.call(cmd("HKEYS").arg(&keys.holders)).await?;
    if holders.is_empty() {
        return Ok(false);
    }
    let mut question: Cmd = cmd("EXISTS");
    for holder in holders {
        question.arg(keys.heartbeat(&holder));
    }
    Ok(conn.call::<u64>(&question).await? > 0)
}
