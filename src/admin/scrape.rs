//! `/metrics`: what was counted since the start, and gauges derived from the
//! status at this moment.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::text::{Kind, Text};
use super::{process, redis};
use crate::metrics::describe;
use crate::replay;
use crate::status::{DeadLetterStats, PlaceStats, QueueStatus, State, Status};

/// Seconds, from a sync on a fast disk to a stretch that a slow Logstash holds.
const SHORT: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
/// Seconds, from a quick delivery to the end of a long outage.
const LONG: [f64; 16] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0,
    604800.0,
];

/// What was counted since the start of the process: one for all its gateways.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// The process's counters; set up by the first call.
    pub fn of_process() -> Self {
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        Self(HANDLE.get_or_init(install).clone())
    }

    /// Makes room in the histograms; to be called every few seconds, or they
    /// grow until the next scrape.
    pub fn tidy(&self) {
        self.0.run_upkeep();
    }

    /// The text of a scrape.
    pub(super) fn render(&self, status: &Status) -> String {
        let mut text = Text(self.0.render());
        write_process(&mut text, status);
        for gauge in QUEUE_GAUGES {
            text.metric(gauge.name, Kind::Gauge, gauge.help);
            for queue in &status.queues {
                if let Some(value) = (gauge.value)(queue, status) {
                    text.value(gauge.name, &[("queue", queue.stats.queue.as_str())], value);
                }
            }
        }
        write_ledger(&mut text, status);
        write_endpoints(&mut text, status);
        write_dead_letters(&mut text, status);
        redis::write(&mut text, status);
        write_replays(&mut text, status);
        text.0
    }
}

fn install() -> PrometheusHandle {
    let end_to_end = Matcher::Full("stashgate_end_to_end_seconds".into());
    let recorder = PrometheusBuilder::new()
        .set_buckets(&SHORT)
        .and_then(|builder| builder.set_buckets_for_metric(end_to_end, &LONG))
        .expect("invariant: there are buckets")
        .build_recorder();
    let handle = recorder.handle();
    // Fails only where somebody else counts already; then theirs is shown elsewhere.
    if metrics::set_global_recorder(recorder).is_ok() {
        describe();
    }
    handle
}

/// A gauge of each queue.
struct QueueGauge {
    name: &'static str,
    help: &'static str,
    /// `None`: there is nothing to say now.
    value: fn(&QueueStatus, &Status) -> Option<f64>,
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    value: fn(&QueueStatus, &Status) -> Option<f64>,
) -> QueueGauge {
    QueueGauge { name, help, value }
}

const QUEUE_GAUGES: &[QueueGauge] = &[
    gauge(
        "stashgate_spool_waiting_events",
        "Events that nobody holds and nobody confirmed.",
        |q, _| Some(q.stats.waiting_events as f64),
    ),
    gauge(
        "stashgate_spool_waiting_bytes",
        "Length of the waiting records.",
        |q, _| Some(q.stats.waiting_bytes as f64),
    ),
    gauge(
        "stashgate_spool_max_bytes",
        "Most bytes of waiting records.",
        |q, _| Some(q.max_bytes as f64),
    ),
    gauge(
        "stashgate_spool_oldest_seconds",
        "Age of the oldest batch that is not settled; 0 if all are.",
        |q, status| Some(age(q.stats.oldest_unsettled, status)),
    ),
    gauge(
        "stashgate_spool_time_to_full_seconds",
        "When the queue is full if it goes on filling like this; absent if it does not fill.",
        |q, _| q.rates?.seconds_to_full,
    ),
    gauge(
        "stashgate_spool_time_to_drain_seconds",
        "When the queue is empty if it goes on draining like this; absent if it does not drain.",
        |q, _| q.rates?.seconds_to_drain,
    ),
    gauge(
        "stashgate_spool_full",
        "1 while batches are refused for want of room.",
        |q, _| Some(f64::from(u8::from(q.stats.full.is_some()))),
    ),
    gauge(
        "stashgate_spool_poisoned",
        "1 after a disk operation failed: nothing more is taken until a restart.",
        |q, _| Some(f64::from(u8::from(q.stats.poisoned.is_some()))),
    ),
    gauge(
        "stashgate_spool_leased_events",
        "Events held for sending.",
        |q, _| Some(q.stats.leased_events as f64),
    ),
    gauge(
        "stashgate_spool_leased_batches",
        "Batches held for sending.",
        |q, _| Some(q.stats.leased_batches as f64),
    ),
    gauge(
        "stashgate_spool_quarantined_records",
        "Damaged records that were set aside.",
        |q, _| Some(q.stats.quarantined_records as f64),
    ),
    gauge(
        "stashgate_archive_bytes",
        "Bytes on disk, settled batches included.",
        |q, _| Some(q.stats.stored_bytes as f64),
    ),
    gauge(
        "stashgate_archive_window_seconds",
        "How far back the stored batches reach.",
        |q, status| Some(age(q.stats.stored_since, status)),
    ),
    gauge(
        "stashgate_ledger_unaccounted_events",
        "What the ledger leaves over: 0, or events were lost or made.",
        |q, _| Some(q.unaccounted_events as f64),
    ),
];

/// What concerns the dead letters of all sources.
fn write_store(text: &mut Text, letters: Option<&DeadLetterStats>) {
    let Some(letters) = letters else { return };
    let name = "stashgate_dead_letters_unfiled_events";
    text.metric(name, Kind::Gauge, "Dead letters that cannot be listed yet.");
    text.value(name, &[], letters.unfiled);

    let name = "stashgate_dead_letters_expiring_events";
    let help = "Dead letters that are thrown away within three days.";
    text.metric(name, Kind::Gauge, help);
    text.value(name, &[], letters.expiring);

    let name = "stashgate_dead_letters_trouble";
    let help = "1 while the store of dead letters cannot be used.";
    text.metric(name, Kind::Gauge, help);
    text.value(name, &[], u8::from(letters.trouble.is_some()));

    let name = "stashgate_dead_letters_reason_events";
    text.metric(
        name,
        Kind::Gauge,
        "Dead letters that can be listed, by reason.",
    );
    for (reason, events) in &letters.reasons {
        text.value(name, &[("reason", reason)], *events);
    }
}

/// A gauge of each group of sources of dead letters.
struct PlaceGauge {
    name: &'static str,
    help: &'static str,
    value: fn(&PlaceStats) -> i64,
}

const PLACE_GAUGES: &[PlaceGauge] = &[
    PlaceGauge {
        name: "stashgate_dead_letters_held_events",
        help: "Dead letters held.",
        value: |place| place.held as i64,
    },
    PlaceGauge {
        name: "stashgate_dead_letters_bytes",
        help: "Their length as stored.",
        value: |place| place.bytes as i64,
    },
    PlaceGauge {
        name: "stashgate_dead_letters_full",
        help: "1 while the store or the inbox of dead letters has no room for more.",
        value: |place| i64::from(place.full),
    },
    PlaceGauge {
        name: "stashgate_dead_letters_poisoned",
        help: "1 after a disk operation failed: no more are kept until a restart.",
        value: |place| i64::from(place.poisoned.is_some()),
    },
    PlaceGauge {
        name: "stashgate_dead_letters_unaccounted_events",
        help: "What the letters' ledger leaves over: 0, or letters were lost or made.",
        value: |place| place.unaccounted,
    },
];

/// Seconds from `since` to the time of the status.
fn age(since: Option<crate::batch::UnixMillis>, status: &Status) -> f64 {
    since.map_or(0.0, |since| {
        status.at.0.saturating_sub(since.0) as f64 / 1000.0
    })
}

fn write_process(text: &mut Text, status: &Status) {
    let name = "stashgate_build_info";
    text.metric(name, Kind::Gauge, "1; the release is in the label.");
    text.value(name, &[("version", &status.version)], 1);

    let name = "stashgate_ready";
    text.metric(name, Kind::Gauge, "1 while batches are taken.");
    text.value(name, &[], u8::from(status.state == State::Running));

    let name = "process_start_time_seconds";
    text.metric(
        name,
        Kind::Gauge,
        "When it was started, in seconds since 1970 UTC.",
    );
    text.value(name, &[], status.started_at.0 as f64 / 1000.0);

    let name = "process_cpu_seconds_total";
    text.metric(name, Kind::Counter, "CPU time used, user and system.");
    text.value(name, &[], process::cpu_time().as_secs_f64());

    if let Some(bytes) = process::resident_bytes() {
        let name = "process_resident_memory_bytes";
        text.metric(name, Kind::Gauge, "Resident memory.");
        text.value(name, &[], bytes);
    }
}

fn write_ledger(text: &mut Text, status: &Status) {
    let name = "stashgate_ledger_events_total";
    text.metric(
        name,
        Kind::Counter,
        "The ledger's entries since the queue was made.",
    );
    for queue in &status.queues {
        let ledger = &queue.stats.ledger;
        let entries = [
            ("accepted", ledger.accepted),
            ("returned", ledger.returned),
            ("replayed", ledger.replayed),
            ("foreign", ledger.foreign),
            ("confirmed", ledger.confirmed),
            ("dead_letters", ledger.dead_letters),
            ("discarded", ledger.discarded),
            ("quarantined", ledger.quarantined),
        ];
        for (entry, events) in entries {
            let labels = [("queue", queue.stats.queue.as_str()), ("entry", entry)];
            text.value(name, &labels, events);
        }
    }
}

fn write_replays(text: &mut Text, status: &Status) {
    let name = "stashgate_replays";
    text.metric(
        name,
        Kind::Gauge,
        "Replays that are not over, by what they are doing.",
    );
    for state in replay::State::OPEN {
        let of_it = status.replays.iter().filter(|job| job.state == state);
        text.value(name, &[("state", state.as_str())], of_it.count());
    }
    let name = "stashgate_replay_remaining_events";
    text.metric(
        name,
        Kind::Gauge,
        "Events that replays have still to go through, as far as they are counted.",
    );
    let remaining = status.replays.iter().map(replay::Job::remaining_events);
    text.value(name, &[], remaining.sum::<u64>());
}

fn write_endpoints(text: &mut Text, status: &Status) {
    let name = "stashgate_endpoint_state";
    text.metric(
        name,
        Kind::Gauge,
        "1; what the endpoint is doing is in the label.",
    );
    for queue in &status.queues {
        for endpoint in &queue.endpoints {
            let labels = [
                ("queue", queue.stats.queue.as_str()),
                ("endpoint", &endpoint.address),
                ("state", &endpoint.state),
            ];
            text.value(name, &labels, 1);
        }
    }
}

fn write_dead_letters(text: &mut Text, status: &Status) {
    write_store(text, status.dead_letters.as_ref());
    let places = status.dead_letters.iter().flat_map(|l| &l.places);
    let places: Vec<&PlaceStats> = places.collect();
    for gauge in PLACE_GAUGES {
        text.metric(gauge.name, Kind::Gauge, gauge.help);
        for place in &places {
            text.value(gauge.name, &[("place", &place.place)], (gauge.value)(place));
        }
    }
    let name = "stashgate_dead_letters_ledger_events_total";
    text.metric(
        name,
        Kind::Counter,
        "The letters' ledger since the store was made.",
    );
    for place in places {
        for (entry, events) in [
            ("received", place.received),
            ("returned", place.returned),
            ("sent_elsewhere", place.sent_elsewhere),
            ("discarded", place.discarded),
            ("expired", place.expired),
            ("quarantined", place.quarantined),
        ] {
            text.value(name, &[("place", &place.place), ("entry", entry)], events);
        }
    }
}
