//! Settings of the Redis spool, and of the archive, that do not fit together.

use std::time::Duration;

use super::check::{Finding, split_host};
use super::{ArchivePlace, Config, Redis, SpoolKind};
use crate::spool::redis::keys::{BESIDE, QUEUES, is_of};

/// Each is a list with holders, leases and workers of its own.
const MAX_SHARDS: usize = 64;
/// More replicas of one master are not run in earnest: most likely a typing error.
const MAX_REPLICAS: u32 = 16;
/// Beats a third of that apart have to be possible on a busy machine.
const LEAST_HEARTBEAT: Duration = Duration::from_secs(1);
/// So long nobody sends what a dead gateway had in hand.
const MOST_HEARTBEAT: Duration = Duration::from_secs(3600);
/// Connections to one server.
const MAX_POOL: usize = 1_000;
/// Pipelines under way for one list: a connection keeps no more of them in order.
const MAX_DEPTH: usize = 16;

/// Adds what does not fit to `found`. What is set for a Redis that is not used is
/// not looked at, so that `spool.kind` can be switched to and fro.
pub(super) fn check(config: &Config, found: &mut Vec<Finding>) {
    check_archive(config, found);
    check_list(config, found);
    if config.spool.kind != SpoolKind::Redis {
        return;
    }
    let redis = &config.spool.redis;
    let mut say = |key: &str, what: String| found.push((format!("spool.redis.{key}"), what));
    check_url(redis, &mut say);
    check_servers(redis, &mut say);
    check_tls(redis, &mut say);
    check_numbers(redis, &mut say);
    check_shards(config, &mut say);
}

type Say<'a> = dyn FnMut(&str, String) + 'a;

fn check_archive(config: &Config, found: &mut Vec<Finding>) {
    let is_journal = config.spool.kind == SpoolKind::Journal;
    if is_journal && config.archive.place == Some(ArchivePlace::Redis) {
        let what = "the batches wait in the journal, and are kept there too; set \"journal\" or \"off\", or spool.kind = \"redis\"";
        found.push(("archive.place".into(), what.into()));
    }
}

/// The list of dead letters is no key of the gateway's own.
fn check_list(config: &Config, found: &mut Vec<Finding>) {
    let Some(list) = &config.dead_letters.redis_list else {
        return;
    };
    let mut say = |what: &str| found.push(("dead_letters.redis_list".into(), what.into()));
    if config.spool.kind != SpoolKind::Redis {
        say("it is a list in the Redis of the spool; set spool.kind = \"redis\", or leave it out");
    }
    if list.is_empty() || list.chars().any(char::is_control) {
        say("it is the name of a list, such as \"dead-letters\"");
    }
    let mut queues = config.queues.keys();
    let is_ours = queues.any(|queue| {
        let derived = format!("{{{queue}}}");
        is_of(list, queue.as_str()) || list.starts_with(&derived)
    });
    if is_ours || list.starts_with(BESIDE) || list == QUEUES {
        say("it is a key of the gateway's own (docs/redis.md); give it a name that no queue has");
    }
}

fn check_url(redis: &Redis, say: &mut Say<'_>) {
    if redis.url.parts().is_none() {
        // Not with the text itself: it may hold a password.
        say("url", "it is no URL of a Redis; write redis://HOST:PORT/DATABASE, or rediss:// for TLS; what is not a letter or digit in a password is written %40, or the password is set by STASHGATE__SPOOL__REDIS__PASSWORD".into());
    }
    let given_twice = redis.user.is_some() || redis.password.is_some();
    if given_twice && redis.url.has_credentials() {
        say("url", "it holds a user or password beside spool.redis.user and spool.redis.password; give them in one place".into());
    }
    if redis.user.is_some() && redis.password.is_none() {
        say(
            "user",
            "a user needs a password; set it by STASHGATE__SPOOL__REDIS__PASSWORD".into(),
        );
    }
}

fn check_servers(redis: &Redis, say: &mut Say<'_>) {
    for (key, hosts) in [
        ("sentinels", &redis.sentinels),
        ("cluster_nodes", &redis.cluster_nodes),
    ] {
        for host in hosts.iter().filter(|host| split_host(host).is_none()) {
            say(
                key,
                format!("{host:?} is not HOST:PORT; write \"redis-1.example.com:6379\""),
            );
        }
    }
    let (sentinel, cluster) = (!redis.sentinels.is_empty(), !redis.cluster_nodes.is_empty());
    if sentinel && cluster {
        say(
            "sentinels",
            "a Redis is found by Sentinel or is a Cluster; leave out sentinels or cluster_nodes"
                .into(),
        );
    }
    if sentinel != redis.sentinel_master.is_some() {
        say("sentinel_master", "sentinels and sentinel_master go together: write both, such as sentinel_master = \"mymaster\", or none".into());
    }
    let parts = redis.url.parts();
    if cluster && parts.is_some_and(|parts| parts.redis_settings().db() != 0) {
        say(
            "url",
            "a Redis Cluster has only database 0; leave the number out".into(),
        );
    }
}

fn check_tls(redis: &Redis, say: &mut Say<'_>) {
    let files = [
        ("ca_file", &redis.ca_file),
        ("cert_file", &redis.cert_file),
        ("key_file", &redis.key_file),
    ];
    if !redis.url.is_encrypted() {
        for (key, _) in files.into_iter().filter(|(_, file)| file.is_some()) {
            say(
                key,
                "it is for TLS, and spool.redis.url asks for none; write rediss:// there".into(),
            );
        }
    }
    if redis.cert_file.is_some() != redis.key_file.is_some() {
        say(
            "cert_file",
            "cert_file and key_file go together: write both or none".into(),
        );
    }
}

fn check_numbers(redis: &Redis, say: &mut Say<'_>) {
    if redis.min_replicas > MAX_REPLICAS {
        say(
            "min_replicas",
            format!(
                "it is 0 to {MAX_REPLICAS}, and no more than the master has replicas: with more, no batch is ever answered"
            ),
        );
    }
    if !(LEAST_HEARTBEAT..=MOST_HEARTBEAT).contains(&redis.heartbeat) {
        say("heartbeat", "it is \"1s\" to \"1h\"; below some seconds, a short pause of a gateway costs duplicates".into());
    }
    if !(2..=MAX_POOL).contains(&redis.pool_size) {
        say(
            "pool_size",
            format!("it is 2 to {MAX_POOL}: heartbeats have a connection of their own"),
        );
    }
    if !(1..=MAX_DEPTH).contains(&redis.pipeline_depth) {
        say("pipeline_depth", format!("it is 1 to {MAX_DEPTH}"));
    }
}

fn check_shards(config: &Config, say: &mut Say<'_>) {
    let shards = config.spool.redis.shards;
    if !(1..=MAX_SHARDS).contains(&shards) {
        say("shards", format!("it is 1 to {MAX_SHARDS}"));
    }
    let ordered = config.queues.iter().find(|(_, queue)| queue.output.ordered);
    if let (Some((name, _)), true) = (ordered, shards > 1) {
        say(
            "shards",
            format!(
                "there is no order across shards, and queues.{name}.output.ordered = true asks for it; set shards = 1, or ordered = false"
            ),
        );
    }
}
