//! Whether the Redis of the spool answers, and what it promises.

use super::Finding;
use crate::batch::QueueName;
use crate::config::{Config, SpoolKind};
use crate::gateway::{left_alone, redis_options, too_few_replicas};
use crate::spool::redis::nodes::{Fault, Nodes};
use crate::spool::redis::survey::{self, Server};

/// Nothing where the spool is elsewhere. Changes nothing in Redis.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    if config.spool.kind != SpoolKind::Redis {
        return Vec::new();
    }
    let nodes = match Nodes::new(&redis_options(config).server) {
        Ok(nodes) => nodes,
        Err(error) => return vec![Finding::Bad(format!("spool.redis: {error}"))],
    };
    ask(config, &nodes)
        .await
        .unwrap_or_else(|fault| vec![unanswered(config, &fault)])
}

async fn ask(config: &Config, nodes: &Nodes) -> Result<Vec<Finding>, Fault> {
    let queues: Vec<QueueName> = config.queues.keys().cloned().collect();
    let servers = survey::servers(nodes, &queues, config.spool.redis.shards).await?;
    let mut found: Vec<Finding> = servers.iter().flat_map(|s| judge(config, s)).collect();
    let stranded = survey::stranded(nodes, &queues).await?;
    found.extend(left_alone(&stranded).map(Finding::Bad));
    Ok(found)
}

fn judge(config: &Config, server: &Server) -> Vec<Finding> {
    let (redis, facts) = (&config.spool.redis, &server.facts);
    let took = server.round_trip.as_secs_f64() * 1e3;
    let mut found = vec![Finding::Good(format!(
        "spool.redis: {} answers in {took:.1} ms; it is {}, with {} replicas",
        facts.address, facts.version, facts.replicas
    ))];
    let refusal = facts.refusal(redis.allow_eviction);
    found.extend(refusal.map(Finding::Bad));
    found.extend(too_few_replicas(server, redis.min_replicas).map(Finding::Bad));
    let warnings = facts.warnings();
    let durability = facts.durability();
    if !warnings.contains(&durability) {
        found.push(Finding::Good(durability));
    }
    found.extend(warnings.into_iter().map(Finding::Warning));
    found
}

/// A person has to see to a refusal; the rest may pass.
fn unanswered(config: &Config, fault: &Fault) -> Finding {
    let meanwhile = match config.spool.redis.spill {
        true => "batches go to the journal until it does",
        false => "clients are told to come back until it does",
    };
    match fault {
        Fault::Refused(_) => Finding::Bad(format!(
            "spool.redis: {fault}; mend user, password or the ACL: {meanwhile}"
        )),
        _ => Finding::Warning(format!(
            "spool.redis: {fault}; it does not take batches now, and {meanwhile}"
        )),
    }
}
