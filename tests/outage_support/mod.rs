//! A day without Logstash, made in seconds; and what a gateway takes and tells meanwhile.

use std::fs;

use stashgate::batch::{Batch, BatchId, UnixMillis};

use crate::gateway::Setup;
use crate::http::get;
use crate::journal_support::batch;

/// In seconds.
pub(crate) const DAY: u64 = 24 * 3600;
pub(crate) const BATCH_EVENTS: u64 = 10;

/// The `n`th batch of the day: it came at `at`, each event with a `text`.
pub(crate) fn of_the_day(n: u64, at: UnixMillis, mut text: impl FnMut() -> String) -> Batch {
    let numbers = n * BATCH_EVENTS..(n + 1) * BATCH_EVENTS;
    let lines = numbers.map(|seq| format!("{{\"seq\":{seq},\"text\":\"{}\"}}\n", text()));
    Batch {
        id: BatchId::new(format!("day-{n}").as_bytes()).expect("valid"),
        accepted_at: at,
        events: BATCH_EVENTS as u32,
        payload: lines.collect::<String>().into(),
        ..batch(n)
    }
}

/// Memory of a process.
pub(crate) fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.expect("a number")
}

/// The value of a metric of the queue.
pub(crate) fn metric(setup: &Setup, name: &str) -> f64 {
    let scrape = get(setup.admin, "/metrics").body;
    let start = format!("{name}{{queue=\"logstash\"");
    let line = scrape.lines().find(|line| line.starts_with(&start));
    let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{scrape}"))
}
