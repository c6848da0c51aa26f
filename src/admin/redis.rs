//! The part of `/metrics` about a spool in Redis.

use super::text::{Kind, Text};
use crate::status::{QueueStatus, RedisPool, RedisServer, Status};

/// A gauge or counter of each queue in Redis.
struct OfQueue {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    /// `None`: there is nothing to say.
    value: fn(&QueueStatus) -> Option<u64>,
}

const OF_QUEUES: &[OfQueue] = &[
    OfQueue {
        name: "stashgate_redis_available",
        kind: Kind::Gauge,
        help: "1 while Redis takes the queue's batches.",
        value: |q| Some(u64::from(q.stats.redis.as_ref()?.unavailable.is_none())),
    },
    OfQueue {
        name: "stashgate_redis_uncertain_events",
        kind: Kind::Gauge,
        help: "Events of appends whose answer was lost and that are not settled yet.",
        value: |q| Some(q.stats.redis.as_ref()?.uncertain_events),
    },
    OfQueue {
        name: "stashgate_redis_reclaimed_batches_total",
        kind: Kind::Counter,
        help: "Batches taken back from gateways that fell silent, since the queue was made.",
        value: |q| Some(q.stats.redis.as_ref()?.reclaimed_batches),
    },
    OfQueue {
        name: "stashgate_spill_waiting_events",
        kind: Kind::Gauge,
        help: "Waiting events that are in the local journal.",
        value: |q| Some(q.stats.spill.as_ref()?.waiting_events),
    },
    OfQueue {
        name: "stashgate_spill_waiting_bytes",
        kind: Kind::Gauge,
        help: "Length of their records.",
        value: |q| Some(q.stats.spill.as_ref()?.waiting_bytes),
    },
    OfQueue {
        name: "stashgate_spill_full",
        kind: Kind::Gauge,
        help: "1 while the local journal would take no batches.",
        value: |q| Some(u64::from(q.stats.spill.as_ref()?.full.is_some())),
    },
];

/// A gauge of each server.
struct OfServer {
    name: &'static str,
    help: &'static str,
    value: fn(&RedisServer) -> Option<f64>,
}

const OF_SERVERS: &[OfServer] = &[
    OfServer {
        name: "stashgate_redis_used_memory_bytes",
        help: "Memory of the server that counts against its limit.",
        value: |server| Some(server.used_memory as f64),
    },
    OfServer {
        name: "stashgate_redis_max_memory_bytes",
        help: "Its limit, maxmemory; absent if it has none.",
        value: |server| server.max_memory.map(|bytes| bytes as f64),
    },
    OfServer {
        name: "stashgate_redis_replicas",
        help: "How many replicas it has.",
        value: |server| Some(server.replicas as f64),
    },
    OfServer {
        name: "stashgate_redis_round_trip_seconds",
        help: "How long it took to answer when it was asked for nothing.",
        value: |server| Some(server.round_trip_seconds),
    },
];

/// A gauge of each pool.
struct OfPool {
    name: &'static str,
    help: &'static str,
    value: fn(&RedisPool) -> usize,
}

const OF_POOLS: &[OfPool] = &[
    OfPool {
        name: "stashgate_redis_pool_max_connections",
        help: "Most connections to the server.",
        value: |pool| pool.max,
    },
    OfPool {
        name: "stashgate_redis_pool_open_connections",
        help: "Connections that are open.",
        value: |pool| pool.open,
    },
    OfPool {
        name: "stashgate_redis_pool_used_connections",
        help: "Connections that are in use.",
        value: |pool| pool.in_use,
    },
    OfPool {
        name: "stashgate_redis_pool_waiting",
        help: "How many wait for a connection.",
        value: |pool| pool.waiting,
    },
];

/// Nothing where the spool is elsewhere.
pub(super) fn write(text: &mut Text, status: &Status) {
    let Some(redis) = &status.redis else {
        return;
    };
    let name = "stashgate_redis_reachable";
    text.metric(name, Kind::Gauge, "1 if Redis answered the last look.");
    text.value(name, &[], u8::from(redis.fault.is_none()));
    for metric in OF_QUEUES {
        text.metric(metric.name, metric.kind, metric.help);
        for queue in &status.queues {
            if let Some(value) = (metric.value)(queue) {
                text.value(metric.name, &[("queue", queue.stats.queue.as_str())], value);
            }
        }
    }
    for metric in OF_SERVERS {
        text.metric(metric.name, Kind::Gauge, metric.help);
        for server in &redis.servers {
            if let Some(value) = (metric.value)(server) {
                text.value(metric.name, &[("server", &server.address)], value);
            }
        }
    }
    for metric in OF_POOLS {
        text.metric(metric.name, Kind::Gauge, metric.help);
        for pool in &redis.pools {
            let value = (metric.value)(pool);
            text.value(metric.name, &[("server", &pool.address)], value);
        }
    }
}
