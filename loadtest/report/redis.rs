//! What Redis had to do in the scenarios that have one.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Figures, median};
use crate::redis::RedisFigures;

/// The medians of a row's rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) cpu_seconds_per_million_events: f64,
    /// For each byte of the events: 1 if each crosses once, not compressed.
    pub(crate) bytes_to_redis_per_byte: f64,
    pub(crate) bytes_from_redis_per_byte: f64,
    /// Length of an element, and of the values of `redis-benchmark`.
    pub(crate) value_bytes: f64,
    /// Of `redis-benchmark`: Redis' CPU for as many values as hold a million events.
    pub(crate) rpush_cpu_seconds: f64,
    pub(crate) lpop_cpu_seconds: f64,
    pub(crate) rpush_values_per_second: f64,
    pub(crate) lpop_values_per_second: f64,
}

impl Summary {
    pub(super) fn of(rounds: &[Figures]) -> Option<Self> {
        let known = || rounds.iter().filter_map(|round| round.redis.as_ref());
        known().next()?;
        let of = |value: fn(&RedisFigures) -> f64| median(known().map(value));
        Some(Self {
            cpu_seconds_per_million_events: of(|redis| redis.cpu_seconds),
            bytes_to_redis_per_byte: of(|redis| redis.bytes_to_redis),
            bytes_from_redis_per_byte: of(|redis| redis.bytes_from_redis),
            value_bytes: of(|redis| redis.value_bytes as f64),
            rpush_cpu_seconds: of(|redis| redis.rpush.cpu_seconds),
            lpop_cpu_seconds: of(|redis| redis.lpop.cpu_seconds),
            rpush_values_per_second: of(|redis| redis.rpush.values_per_second),
            lpop_values_per_second: of(|redis| redis.lpop.values_per_second),
        })
    }
}

/// A table of its own, if any scenario had a Redis.
pub(super) fn table(rows: &[super::Summary], out: &mut String) {
    if rows.iter().all(|row| row.redis.is_none()) {
        return;
    }
    let _ = writeln!(
        out,
        "\n{:<36} {:>9} {:>7} {:>7} {:>8} {:>21} {:>21}",
        "Redis", "CPU s/M", "to", "from", "value", "RPUSH CPU s/M, per s", "LPOP CPU s/M, per s"
    );
    for row in rows {
        let Some(redis) = &row.redis else { continue };
        let _ = writeln!(
            out,
            "{:<36} {:>9.3} {:>7.3} {:>7.3} {:>8.0} {:>12.3} {:>8.0} {:>12.3} {:>8.0}",
            row.scenario,
            redis.cpu_seconds_per_million_events,
            redis.bytes_to_redis_per_byte,
            redis.bytes_from_redis_per_byte,
            redis.value_bytes,
            redis.rpush_cpu_seconds,
            redis.rpush_values_per_second,
            redis.lpop_cpu_seconds,
            redis.lpop_values_per_second,
        );
    }
}
