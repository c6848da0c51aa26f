//! What `stashgate status` shows of a spool in Redis.

use std::fmt::{Result, Write};

use bytesize::ByteSize;

use crate::cli::output::thousands;
use crate::log::escape;
use crate::status::{QueueStatus, RedisPool, RedisServer, RedisStatus};

/// The servers and the connections to them.
pub(super) fn write(out: &mut String, redis: &RedisStatus) -> Result {
    writeln!(out, "spool         in Redis at {}", escape(&redis.url))?;
    for server in &redis.servers {
        write_server(out, server)?;
    }
    for pool in &redis.pools {
        write_pool(out, pool)?;
    }
    match &redis.fault {
        Some(fault) => writeln!(out, "  AWAY        {}", escape(fault)),
        None => Ok(()),
    }
}

fn write_server(out: &mut String, server: &RedisServer) -> Result {
    let limit = match server.max_memory {
        Some(bytes) => format!("of {}", ByteSize(bytes)),
        None => "without a limit".into(),
    };
    writeln!(
        out,
        "  server      {} is {}, {} replicas, memory {} {limit}, answers in {:.1} ms",
        escape(&server.address),
        escape(&server.version),
        server.replicas,
        ByteSize(server.used_memory),
        server.round_trip_seconds * 1e3,
    )?;
    writeln!(out, "              {}", escape(&server.durability))
}

fn write_pool(out: &mut String, pool: &RedisPool) -> Result {
    writeln!(
        out,
        "  connections {} of {} in use to {}, {} wait for one",
        pool.in_use,
        pool.max,
        escape(&pool.address),
        pool.waiting
    )
}

/// What of a queue is not simply in Redis.
pub(super) fn write_queue(out: &mut String, queue: &QueueStatus) -> Result {
    if let Some(redis) = &queue.stats.redis {
        if redis.uncertain_events > 0 {
            let events = thousands(redis.uncertain_events);
            writeln!(
                out,
                "  uncertain   {events} events: nobody knows yet whether Redis has them"
            )?;
        }
        if let Some(why) = &redis.unavailable {
            writeln!(out, "  AWAY        Redis takes no batches: {}", escape(why))?;
        }
    }
    match &queue.stats.spill {
        Some(spill) if spill.waiting_events + spill.leased_events > 0 => writeln!(
            out,
            "  spilled     {} of the waiting and {} of the events in hand are in the journal, {}",
            thousands(spill.waiting_events),
            thousands(spill.leased_events),
            ByteSize(spill.waiting_bytes)
        ),
        _ => Ok(()),
    }
}
