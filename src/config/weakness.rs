//! Settings that work and promise less than they could. Said at start, by
//! `check` and in the status, so that nobody finds out by losing events.

use super::check::split_host;
use super::{Config, Confirm, Output, Protocol, Redis, SpoolKind, redis};
use crate::batch::QueueName;
use crate::spool::journal::Sync;

impl Config {
    /// A sentence for each setting that weakens what the gateway promises.
    pub fn weaknesses(&self) -> Vec<String> {
        let mut found = Vec::new();
        let has_journal = self.spool.kind == SpoolKind::Journal || self.spool.redis.spill;
        if has_journal && self.spool.journal.sync == Sync::Os {
            found.push("spool.journal.sync = \"os\": a batch is answered before it is on the disk; a power cut loses what was answered last".to_owned());
        }
        if !self.admin.listen.ip().is_loopback() {
            found.push("admin.listen is not loopback: the token and the status travel unencrypted; put a TLS proxy in front".to_owned());
        }
        if self.spool.kind == SpoolKind::Redis {
            self.redis_weaknesses(&mut found);
        }
        for (name, queue) in &self.queues {
            if let Some(weakness) = queue.output.weakness() {
                found.push(format!("queues.{name}.output: {weakness}"));
            }
        }
        found
    }

    fn redis_weaknesses(&self, found: &mut Vec<String>) {
        let redis = &self.spool.redis;
        let mut say = |what: String| found.push(format!("spool.redis.{what}"));
        if redis.allow_eviction {
            say("allow_eviction = true: a Redis that is short of memory may throw away batches that wait".into());
        }
        if !redis.url.is_encrypted() && !redis.servers_are_near() {
            say(
                "url: events and password travel unencrypted; write rediss:// if Redis speaks TLS"
                    .into(),
            );
        }
        if redis.shards > 1 && redis.cluster_nodes.is_empty() {
            say("shards is above 1 without cluster_nodes: one Redis serves all shards, and order holds only within each".into());
        }
        if let Some(name) = redis.spill.then(|| self.first_ordered()).flatten() {
            say(format!(
                "spill = true: after an outage of Redis, what was spilled is sent beside what is in Redis, so the order of queue {name} does not hold across it"
            ));
        }
    }

    fn first_ordered(&self) -> Option<&QueueName> {
        let mut ordered = self.queues.iter().filter(|(_, q)| q.output.ordered);
        ordered.next().map(|(name, _)| name)
    }
}

impl Redis {
    /// Whether all that is connected to is on this machine.
    fn servers_are_near(&self) -> bool {
        let named: Vec<&String> = self.sentinels.iter().chain(&self.cluster_nodes).collect();
        if named.is_empty() {
            self.url.is_loopback()
        } else {
            named.iter().all(|host| is_loopback(host))
        }
    }
}

impl Output {
    fn weakness(&self) -> Option<String> {
        match (self.protocol, self.confirm) {
            (Protocol::JsonLines, Confirm::Written) => Some(
                "confirm = \"written\" takes bytes in Logstash's kernel for delivered; each stop of Logstash loses events".into(),
            ),
            (Protocol::JsonLines, Confirm::Close) if !self.direct => {
                let far: Vec<_> = self.all_hosts().filter(|h| !is_loopback(h)).cloned().collect();
                (!far.is_empty()).then(|| format!(
                    "confirm = \"close\" holds only where one address is one Logstash; if nothing (load balancer, Service, NAT, docker-proxy) stands before {}, say so: direct = true",
                    far.join(", ")
                ))
            }
            (Protocol::Http, _) if self.http.has_credentials() && !self.tls.enabled => {
                let far: Vec<_> = self.all_hosts().filter(|h| !is_loopback(h)).cloned().collect();
                (!far.is_empty()).then(|| format!("the credentials travel unencrypted to {}; set tls.enabled", far.join(", ")))
            }
            (Protocol::JsonLines, Confirm::Close) | (Protocol::Lumberjack | Protocol::Http, _) => None,
        }
    }
}

/// Whether `host:port` is on this machine.
fn is_loopback(host: &str) -> bool {
    redis::is_loopback(split_host(host).map_or(host, |(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RedisUrl;

    #[test]
    fn the_defaults_have_no_weakness() {
        assert_eq!(Config::default().weaknesses(), Vec::<String>::new());
    }

    #[test]
    fn each_weak_setting_is_named() {
        let mut config = Config::default();
        config.spool.journal.sync = Sync::Os;
        let output = &mut config
            .queues
            .values_mut()
            .next()
            .expect("the default queue")
            .output;
        output.hosts = vec!["10.0.0.7:5000".into(), "[::1]:5000".into()];
        let found = config.weaknesses().join("\n");
        assert!(
            found.contains("sync = \"os\"") && found.contains("before 10.0.0.7:5000,"),
            "{found}"
        );

        let output = &mut config
            .queues
            .values_mut()
            .next()
            .expect("the default queue")
            .output;
        output.direct = true;
        assert!(!config.weaknesses().join("\n").contains("direct"));
    }

    #[test]
    fn credentials_in_the_clear_are_named_off_this_machine() {
        let mut config = Config::default();
        let queue = config.queues.values_mut().next();
        let output = &mut queue.expect("the default queue").output;
        output.protocol = Protocol::Http;
        output.http.token = Some(crate::config::Secret::new("s3cret"));
        assert_eq!(config.weaknesses(), Vec::<String>::new());
        let queue = config.queues.values_mut().next();
        queue.expect("the default queue").output.hosts = vec!["10.0.0.7:8080".into()];
        let found = config.weaknesses().join("\n");
        assert!(found.contains("unencrypted to 10.0.0.7:8080"), "{found}");
    }

    #[test]
    fn each_weak_setting_of_redis_is_named_only_where_redis_is_used() {
        let mut config = Config::default();
        let redis = &mut config.spool.redis;
        redis.allow_eviction = true;
        redis.shards = 2;
        redis.url = RedisUrl::new("redis://10.0.0.7");
        assert_eq!(config.weaknesses(), Vec::<String>::new());
        config.spool.kind = SpoolKind::Redis;
        let found = config.weaknesses().join("\n");
        for said in ["allow_eviction", "unencrypted", "without cluster_nodes"] {
            assert!(found.contains(said), "no {said} in {found}");
        }
        let output = config.queues.values_mut().map(|queue| &mut queue.output);
        output.for_each(|output| output.ordered = true);
        config.spool.redis.url = RedisUrl::new("rediss://10.0.0.7");
        let found = config.weaknesses().join("\n");
        assert!(found.contains("order of queue logstash"), "{found}");
        assert!(!found.contains("unencrypted"), "{found}");
    }
}
