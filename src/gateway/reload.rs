//! Another configuration for a gateway that runs.
//!
//! | setting | what happens |
//! | --- | --- |
//! | `limits.max_event_bytes`, `.max_batch_bytes`, `.max_batch_events` | hold from the next batch on; `max_batch_bytes` grows at most to what it was at the start, for which the gRPC transport was made |
//! | `admin.token` | holds from the next request on |
//! | `queues.NAME.output.*`, and the files of its TLS | the queue's forwarder finishes or gives back what it has in hand; then one with the new output starts. Not if `ordered` changes and the spool is in Redis, which was told at the start whether other gateways may hold leases |
//! | all others | take effect after a restart |
//!
//! What would hold now has to fit what holds already: a change that fits only
//! together with one that needs a restart waits for the restart, too.

use std::sync::Arc;

use bytesize::ByteSize;
use futures_util::future::join_all;

use super::{Gateway, receivers};
use crate::config::{Change, Config, SpoolKind};

/// What became of another configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// What is in force now.
    pub applied: Vec<Change>,
    /// What is not, until a restart.
    pub needs_restart: Vec<Change>,
}

impl Gateway {
    /// Applies what differs in `wanted` and can be changed now. Returns when the
    /// outputs are exchanged, each within the bounds of a forwarder's stop.
    /// Dropped before that, it leaves queues that nobody sends: only a stop may
    /// follow.
    pub async fn reload(&mut self, wanted: &Config) -> Reloaded {
        let (config, reloaded) = plan(&self.shared.config(), wanted, self.most_batch_bytes);
        let config = Arc::new(config);
        self.intake.set_limits(receivers::limits(&config));
        self.shared.set_config(config.clone());
        let queues = config.queues.iter();
        let exchanges = queues.map(|(name, queue)| self.forwarders.exchange(name, &queue.output));
        join_all(exchanges).await;
        reloaded
    }
}

/// What is in force after a reload of `wanted`, and what that says of each change.
fn plan(running: &Config, wanted: &Config, most_batch_bytes: ByteSize) -> (Config, Reloaded) {
    let mut config = running.clone();
    let mut needs_restart = running.changes(wanted);
    let mut applied = Vec::new();
    let fits =
        |next: &Config| next.fits_together() && next.limits.max_batch_bytes <= most_batch_bytes;
    // One after the other, for some fit only after others: both limits of an
    // event and a batch may shrink, or grow.
    while let Some((at, next)) = needs_restart.iter().enumerate().find_map(|(at, change)| {
        let next = with(&config, wanted, &change.key).filter(fits)?;
        Some((at, next))
    }) {
        config = next;
        applied.push(needs_restart.remove(at));
    }
    let reloaded = Reloaded {
        applied,
        needs_restart,
    };
    (config, reloaded)
}

/// `config` with the setting `key` of `wanted`; `None` if it cannot change
/// without a restart. An output changes as a whole.
fn with(config: &Config, wanted: &Config, key: &str) -> Option<Config> {
    let mut next = config.clone();
    let (limits, new) = (&mut next.limits, &wanted.limits);
    match key {
        "limits.max_event_bytes" => limits.max_event_bytes = new.max_event_bytes,
        "limits.max_batch_bytes" => limits.max_batch_bytes = new.max_batch_bytes,
        "limits.max_batch_events" => limits.max_batch_events = new.max_batch_events,
        "admin.token" => next.admin.token = wanted.admin.token.clone(),
        _ => {
            let (name, _) = key.strip_prefix("queues.")?.split_once(".output.")?;
            let name = name.parse().ok()?;
            let new = wanted.queues.get(&name)?.output.clone();
            let output = &mut next.queues.get_mut(&name)?.output;
            if config.spool.kind == SpoolKind::Redis && output.ordered != new.ordered {
                return None;
            }
            *output = new;
        }
    }
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::QueueName;
    use crate::config::{Queue, Secret};

    fn reload(running: &Config, wanted: &Config) -> (Config, Vec<String>, Vec<String>) {
        let most = running.limits.max_batch_bytes;
        let (config, reloaded) = plan(running, wanted, most);
        let keys = |changes: Vec<Change>| changes.into_iter().map(|c| c.key).collect();
        (config, keys(reloaded.applied), keys(reloaded.needs_restart))
    }

    #[test]
    fn limits_of_events_and_batches_shrink_and_grow_together() {
        let large = Config::default();
        let mut small = large.clone();
        small.limits.max_event_bytes = ByteSize::kib(1);
        small.limits.max_batch_bytes = ByteSize::kib(2);
        small.limits.max_batch_events = 3;
        let (config, applied, needs_restart) = reload(&large, &small);
        assert_eq!((applied.len(), needs_restart.len()), (3, 0));
        assert_eq!(config.changes(&small), []);

        let most = large.limits.max_batch_bytes;
        let (config, _) = plan(&small, &large, most);
        assert_eq!(config.changes(&large), []);
    }

    #[test]
    fn a_batch_beyond_what_the_transport_was_made_for_needs_a_restart() {
        let running = Config::default();
        let mut wanted = running.clone();
        wanted.limits.max_batch_bytes = ByteSize::mib(9);
        // Fits only into the larger batch.
        wanted.limits.max_event_bytes = ByteSize::mib(9);
        wanted.limits.max_batch_events = 7;
        let (config, applied, needs_restart) = reload(&running, &wanted);
        assert_eq!(applied, ["limits.max_batch_events"]);
        let waiting = ["limits.max_batch_bytes", "limits.max_event_bytes"];
        assert_eq!(needs_restart, waiting);
        assert_eq!(config.limits.max_event_bytes, ByteSize::mib(1));
    }

    #[test]
    fn the_token_stays_as_long_as_the_address_needs_it() {
        let mut running = Config::default();
        running.admin.listen = ([0, 0, 0, 0], 7170).into();
        running.admin.token = Some(Secret::new("a-token-of-some-length"));
        let (config, applied, needs_restart) = reload(&running, &Config::default());
        assert_eq!(applied, Vec::<String>::new());
        assert_eq!(needs_restart, ["admin.listen", "admin.token"]);
        assert!(config.admin.token.is_some());
    }

    #[test]
    fn an_output_changes_as_a_whole_and_a_queue_only_by_a_restart() {
        let running = Config::default();
        let mut wanted = running.clone();
        let queue = wanted.queues.get_mut(&QueueName::default());
        let queue = queue.expect("the default queue");
        queue.output.hosts = vec!["10.0.0.7:5000".into()];
        queue.output.ordered = true;
        queue.max_bytes = ByteSize::gib(1);
        let name: QueueName = "audit".parse().expect("a name");
        wanted.queues.insert(name, Queue::default());
        let (config, applied, needs_restart) = reload(&running, &wanted);
        let output = ["hosts", "ordered"].map(|key| format!("queues.logstash.output.{key}"));
        assert_eq!(applied, output);
        assert_eq!(needs_restart, ["queues.audit", "queues.logstash.max_bytes"]);
        let output = &config.queues[&QueueName::default()].output;
        assert!(output.ordered && output.hosts == ["10.0.0.7:5000"]);
        assert_eq!(config.queues.len(), 1);
    }
    #[test]
    fn with_a_spool_in_redis_a_changed_order_needs_a_restart() {
        let mut running = Config::default();
        running.spool.kind = SpoolKind::Redis;
        let mut wanted = running.clone();
        let output = |config: &mut Config, ordered, host: &str| {
            let queue = config.queues.get_mut(&QueueName::default());
            let queue = queue.expect("the default queue");
            queue.output.ordered = ordered;
            queue.output.hosts = vec![host.into()];
        };
        output(&mut wanted, true, "10.0.0.7:5000");
        wanted.spool.redis.shards = 2;
        let (_, applied, needs_restart) = reload(&running, &wanted);
        assert_eq!((applied.len(), needs_restart.len()), (0, 3));
        output(&mut wanted, false, "10.0.0.7:5000");
        let (_, applied, needs_restart) = reload(&running, &wanted);
        assert_eq!(applied, ["queues.logstash.output.hosts"]);
        assert_eq!(needs_restart, ["spool.redis.shards"]);
    }
}
