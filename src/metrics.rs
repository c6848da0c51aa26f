//! Every metric: one function a fact, called once a batch. Gauges are derived
//! from the state when they are asked for, never counted up and down.
//! `docs/metrics.md` lists them; a test holds it against `/metrics`.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

use crate::batch::QueueName;

/// A receiver's batch is durable and answered.
pub fn accepted(receiver: &'static str, queue: &QueueName, events: u32, bytes: usize) {
    let labels = [
        ("receiver", receiver.to_owned()),
        ("queue", queue.to_string()),
    ];
    counter!("stashgate_accepted_events_total", &labels).increment(u64::from(events));
    counter!("stashgate_accepted_bytes_total", &labels).increment(bytes as u64);
    counter!("stashgate_accepted_batches_total", &labels).increment(1);
}

/// Events of a batch were rejected.
pub fn rejected(receiver: &'static str, queue: &QueueName, reason: &'static str, events: u64) {
    counter!("stashgate_rejected_events_total", "receiver" => receiver, "queue" => queue.to_string(), "reason" => reason)
        .increment(events);
}

/// A whole batch was refused.
pub fn refused(receiver: &'static str, reason: &'static str) {
    counter!("stashgate_refused_batches_total", "receiver" => receiver, "reason" => reason)
        .increment(1);
}

/// From the batch being read to its answer.
pub fn append_took(queue: &QueueName, took: Duration) {
    histogram!("stashgate_append_seconds", "queue" => queue.to_string()).record(took);
}

/// One `fdatasync` of a journal. `store`: `spool` or `dead_letters`.
pub fn sync_took(store: &'static str, queue: &QueueName, took: Duration) {
    histogram!("stashgate_sync_seconds", "store" => store, "queue" => queue.to_string())
        .record(took);
}

/// A batch left through an endpoint. `result`: `confirmed`, `written`,
/// `requeued` or `dead_letter`.
pub fn forwarded(queue: &QueueName, endpoint: &str, result: &'static str, events: u64) {
    counter!("stashgate_forwarded_events_total", "queue" => queue.to_string(), "endpoint" => endpoint.to_owned(), "result" => result)
        .increment(events);
}

/// A batch went to the local journal, since Redis did not take it.
pub fn spilled(queue: &QueueName, events: u32) {
    counter!("stashgate_spilled_batches_total", "queue" => queue.to_string()).increment(1);
    counter!("stashgate_spilled_events_total", "queue" => queue.to_string())
        .increment(u64::from(events));
}

/// A replay put batches into a queue again.
pub fn replayed(queue: &QueueName, batches: u64, events: u64) {
    counter!("stashgate_replayed_batches_total", "queue" => queue.to_string()).increment(batches);
    counter!("stashgate_replayed_events_total", "queue" => queue.to_string()).increment(events);
}

/// Events were delivered and could not be kept in the archive on the local disk.
pub fn unarchived(queue: &QueueName, events: u64) {
    counter!("stashgate_redis_unarchived_events_total", "queue" => queue.to_string())
        .increment(events);
}

/// A command to Redis was answered, or given up. `command`: `append`, or the script's
/// name.
pub fn redis_took(command: &'static str, took: Duration) {
    histogram!("stashgate_redis_command_seconds", "command" => command).record(took);
}

/// A connection was got from a pool, or not.
pub fn redis_lend_took(took: Duration) {
    histogram!("stashgate_redis_pool_wait_seconds").record(took);
}

/// So often Redis was found to have forgotten appends.
pub fn redis_set_back(queue: &QueueName, times: u64) {
    counter!("stashgate_redis_set_backs_total", "queue" => queue.to_string()).increment(times);
}

/// Events that may be sent twice: the outcome of sending, of appending or of an
/// acknowledgement is not known, or it came too late.
pub fn possible_duplicates(queue: &QueueName, events: u64) {
    counter!("stashgate_possible_duplicate_events_total", "queue" => queue.to_string())
        .increment(events);
}

/// Events became dead letters; `source`: who found out.
pub fn dead_letters(source: &'static str, reason: &'static str, events: u64) {
    counter!("stashgate_dead_letters_kept_events_total", "source" => source, "reason" => reason)
        .increment(events);
}

/// From the first byte of a stretch to its confirmation.
pub fn confirm_took(queue: &QueueName, took: Duration) {
    histogram!("stashgate_confirm_seconds", "queue" => queue.to_string()).record(took);
}

/// From a batch's acceptance to its confirmation.
pub fn end_to_end_took(queue: &QueueName, took: Duration) {
    histogram!("stashgate_end_to_end_seconds", "queue" => queue.to_string()).record(took);
}

/// Unit and meaning of each counter.
const COUNTERS: [(&str, Unit, &str); 14] = [
    (
        "stashgate_accepted_events_total",
        Unit::Count,
        "Events that are durable and answered.",
    ),
    (
        "stashgate_accepted_bytes_total",
        Unit::Bytes,
        "Their payload.",
    ),
    (
        "stashgate_accepted_batches_total",
        Unit::Count,
        "Their batches.",
    ),
    (
        "stashgate_rejected_events_total",
        Unit::Count,
        "Events that were rejected at the door.",
    ),
    (
        "stashgate_refused_batches_total",
        Unit::Count,
        "Batches that were refused as a whole.",
    ),
    (
        "stashgate_spilled_batches_total",
        Unit::Count,
        "Batches that went to the local journal, since Redis did not take them.",
    ),
    (
        "stashgate_spilled_events_total",
        Unit::Count,
        "Their events.",
    ),
    (
        "stashgate_replayed_batches_total",
        Unit::Count,
        "Batches that a replay put into a queue again.",
    ),
    (
        "stashgate_replayed_events_total",
        Unit::Count,
        "Their events.",
    ),
    (
        "stashgate_redis_set_backs_total",
        Unit::Count,
        "How often Redis had forgotten appends.",
    ),
    (
        "stashgate_redis_unarchived_events_total",
        Unit::Count,
        "Events that were delivered and could not be kept in the archive on the local disk.",
    ),
    (
        "stashgate_forwarded_events_total",
        Unit::Count,
        "Events that left, by what became of them.",
    ),
    (
        "stashgate_possible_duplicate_events_total",
        Unit::Count,
        "Events that may be sent twice.",
    ),
    (
        "stashgate_dead_letters_kept_events_total",
        Unit::Count,
        "Events that became dead letters.",
    ),
];

/// Meaning of each histogram, in seconds.
const HISTOGRAMS: [(&str, &str); 6] = [
    (
        "stashgate_append_seconds",
        "From a batch being read to its answer.",
    ),
    ("stashgate_sync_seconds", "One sync of a journal."),
    (
        "stashgate_redis_command_seconds",
        "From a command to Redis to its answer.",
    ),
    (
        "stashgate_redis_pool_wait_seconds",
        "Until a connection to Redis was to be had.",
    ),
    (
        "stashgate_confirm_seconds",
        "From the first byte of a stretch to its confirmation.",
    ),
    (
        "stashgate_end_to_end_seconds",
        "From a batch's acceptance to its confirmation.",
    ),
];

/// Says what each metric means; once, when the recorder is set up.
pub(crate) fn describe() {
    for (name, unit, help) in COUNTERS {
        describe_counter!(name, unit, help);
    }
    for (name, help) in HISTOGRAMS {
        describe_histogram!(name, Unit::Seconds, help);
    }
}
