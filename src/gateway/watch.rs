//! Looks after Redis from outside: what its servers are like, and whether batches lie
//! there that nobody sends. At the start, and then every now and then, as both may
//! change; a new finding is logged once and stays in the status.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::batch::QueueName;
use crate::config::{Config, Redis};
use crate::dead_letter::store::RedisStore;
use crate::spool::redis::nodes::{Fault, Nodes};
use crate::spool::redis::survey::{self, Server, Stranded};
use crate::status::{RedisPool, RedisServer, RedisStatus};

/// How often it looks, and how often while Redis does not answer.
const EVERY: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Watch {
    /// Its own; the spool's pools are not in its way.
    nodes: Nodes,
    /// The spool's, once it is open.
    spool: OnceLock<Nodes>,
    redis: Redis,
    queues: Vec<QueueName>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    servers: Vec<Server>,
    stranded: Vec<Stranded>,
    /// Why the last look failed.
    fault: Option<Fault>,
    /// What was logged.
    said: BTreeSet<String>,
}

impl Watch {
    pub(super) fn new(nodes: Nodes, config: &Config) -> Self {
        Self {
            nodes,
            spool: OnceLock::new(),
            redis: config.spool.redis.clone(),
            queues: config.queues.keys().cloned().collect(),
            seen: Mutex::default(),
        }
    }

    /// The spool is open: its pools are those to show.
    pub(super) fn opened(&self, spool: &Nodes) {
        let _ = self.spool.set(spool.clone());
    }

    /// Looks again and again, for ever.
    pub(super) async fn run(&self) {
        loop {
            let pause = if self.look().await { EVERY } else { AGAIN };
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks once; whether Redis answered.
    pub(super) async fn look(&self) -> bool {
        let looked = self.ask().await;
        let mut seen = self.seen();
        match looked {
            Ok((servers, stranded)) => {
                seen.servers = servers;
                seen.stranded = stranded;
                seen.fault = None;
            }
            // What was seen before is still the best there is.
            Err(fault) => seen.fault = Some(fault),
        }
        let findings: BTreeSet<String> = self.findings(&seen).into_iter().collect();
        for finding in findings.difference(&seen.said) {
            tracing::warn!("{finding}");
        }
        let answered = seen.fault.is_none();
        if answered {
            seen.said = findings;
        } else {
            seen.said.extend(findings);
        }
        answered
    }

    async fn ask(&self) -> Result<(Vec<Server>, Vec<Stranded>), Fault> {
        let servers = survey::servers(&self.nodes, &self.queues, self.redis.shards).await;
        let servers = servers.inspect_err(|fault| self.suspect(fault))?;
        let stranded = survey::stranded(&self.nodes, &self.queues).await;
        Ok((servers, stranded.inspect_err(|fault| self.suspect(fault))?))
    }

    /// The servers are asked anew who is master.
    fn suspect(&self, fault: &Fault) {
        for queue in &self.queues {
            self.nodes.suspect(queue.as_str(), fault);
        }
    }

    /// Why no spool may be kept there, as far as was seen.
    pub(super) fn objection(&self) -> Option<String> {
        let seen = self.seen();
        let refusals = refusals(&seen.servers, self.redis.allow_eviction);
        refusals.chain(left_alone(&seen.stranded)).next()
    }

    /// What a person ought to know.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.findings(&self.seen())
    }

    fn findings(&self, seen: &Seen) -> Vec<String> {
        let mut found: Vec<String> = seen.fault.iter().map(|fault| self.away(fault)).collect();
        found.extend(refusals(&seen.servers, self.redis.allow_eviction));
        found.extend(left_alone(&seen.stranded));
        for server in &seen.servers {
            found.extend(server.facts.warnings());
            found.extend(too_few_replicas(server, self.redis.min_replicas));
        }
        found
    }

    fn away(&self, fault: &Fault) -> String {
        let what = match (fault, self.redis.spill) {
            // Perhaps not all is forbidden.
            (Fault::Refused(_), _) => "see to user, password and ACL (docs/redis.md)",
            (_, true) => "batches go to the journal in data_dir meanwhile",
            (_, false) => "clients are told to come back meanwhile",
        };
        format!("{fault}; {what}")
    }

    /// Whether nothing waits in Redis, in whoever's hand it is, and no dead letter is
    /// held there.
    pub(super) async fn is_drained(&self) -> bool {
        let unsettled = survey::unsettled(&self.nodes, &self.queues, self.redis.shards);
        unsettled.await == Ok(0) && RedisStore::held(&self.nodes).await == Ok(0)
    }

    pub(super) fn status(&self) -> RedisStatus {
        let seen = self.seen();
        let pools = self.spool.get().map(Nodes::pools).unwrap_or_default();
        RedisStatus {
            url: self.redis.url.to_string(),
            fault: seen.fault.as_ref().map(Fault::to_string),
            servers: seen.servers.iter().map(shown).collect(),
            pools: pools
                .into_iter()
                .map(|(address, pool)| RedisPool {
                    address: address.to_string(),
                    max: pool.max_size,
                    open: pool.size,
                    in_use: pool.size.saturating_sub(pool.available),
                    waiting: pool.waiting,
                })
                .collect(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refusals(servers: &[Server], allow_eviction: bool) -> impl Iterator<Item = String> {
    let refusals = servers.iter();
    refusals.filter_map(move |server| server.facts.refusal(allow_eviction))
}

/// Batches of a list that nobody sends, one sentence each.
pub(crate) fn left_alone(stranded: &[Stranded]) -> impl Iterator<Item = String> {
    stranded.iter().map(|Stranded { list, batches }| {
        let queue = list.split('.').next().unwrap_or(list);
        format!("{batches} batches wait in Redis in the list {list}, no queue of this gateway has it, and no living gateway sends it: configure [queues.{queue}] until it is drained, or, if it is of no more use, delete it: DEL {list} {{{list}}}:ledger")
    })
}

/// Whether a server has fewer replicas than each batch needs.
pub(crate) fn too_few_replicas(server: &Server, min_replicas: u32) -> Option<String> {
    let facts = &server.facts;
    (facts.replicas < u64::from(min_replicas)).then(|| {
        format!(
            "{} has {} replicas, and spool.redis.min_replicas asks for {min_replicas}: it takes no batch until they are there",
            facts.address, facts.replicas
        )
    })
}

fn shown(server: &Server) -> RedisServer {
    let facts = &server.facts;
    RedisServer {
        address: facts.address.to_string(),
        version: facts.version.clone(),
        replicas: facts.replicas,
        used_memory: facts.memory.used,
        max_memory: facts.memory.max,
        durability: facts.durability(),
        round_trip_seconds: server.round_trip.as_secs_f64(),
    }
}
