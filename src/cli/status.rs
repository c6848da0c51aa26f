//! `stashgate status`

mod redis;

use std::fmt::Write;

use bytesize::ByteSize;
use clap::Args;

use super::http::Remote;
use super::output::{self, span, thousands};
use super::{Exit, Failure};
use crate::batch::UnixMillis;
use crate::log::escape;
use crate::status::{DeadLetterStats, Endpoint, QueueStatus, Status as Answer};

/// Show what a running gateway is doing.
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    remote: Remote,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let body = self.remote.get("/api/v1/status")?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|error| {
            let what = format!(
                "what answers at {} is no stashgate: {error}",
                self.remote.url
            );
            Failure::new(Exit::Unreachable, what)
        })?;
        if self.json {
            output::print(format_args!("{}\n", String::from_utf8_lossy(&body)));
        } else {
            output::print(view(&answer));
        }
        Ok(Exit::Done)
    }
}

/// The status for a person.
fn view(status: &Answer) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_view(&mut text, status);
    text
}

fn write_view(out: &mut String, status: &Answer) -> std::fmt::Result {
    writeln!(
        out,
        "stashgate {} is {}, for {}, in {}",
        escape(&status.version),
        status.state.as_str(),
        age(status.started_at, status),
        escape(&status.data_dir.to_string_lossy()),
    )?;
    let listeners = status.listeners.iter();
    let listeners: Vec<_> = listeners
        .map(|l| format!("{} {}", escape(&l.name), l.address))
        .collect();
    writeln!(out, "listening     {}", listeners.join(", "))?;
    if let Some(redis) = &status.redis {
        redis::write(out, redis)?;
    }
    for queue in &status.queues {
        write_queue(out, queue, status)?;
    }
    if let Some(letters) = &status.dead_letters {
        write_letters(out, letters)?;
    }
    for job in status.replays.iter().filter(|job| !job.state.is_over()) {
        writeln!(out, "\n{}", super::replay::line(job))?;
    }
    for warning in &status.warnings {
        writeln!(out, "warning: {}", escape(warning))?;
    }
    Ok(())
}

fn write_letters(out: &mut String, letters: &DeadLetterStats) -> std::fmt::Result {
    writeln!(
        out,
        "\ndead letters  {} events, {}",
        thousands(letters.held),
        ByteSize(letters.bytes)
    )?;
    for place in letters.places.iter().filter(|place| place.received > 0) {
        write!(
            out,
            "  {:<11} received {} = held {}",
            escape(&place.place),
            thousands(place.received),
            thousands(place.held)
        )?;
        for (what, events) in [
            ("returned", place.returned),
            ("sent elsewhere", place.sent_elsewhere),
            ("discarded", place.discarded),
            ("expired", place.expired),
            ("quarantined", place.quarantined),
        ] {
            if events > 0 {
                write!(out, " + {what} {}", thousands(events))?;
            }
        }
        writeln!(out, "; unaccounted: {}", place.unaccounted)?;
    }
    if letters.held > 0 {
        writeln!(
            out,
            "  what is wrong with them: stashgate dead-letters groups"
        )?;
    }
    if letters.full {
        writeln!(
            out,
            "  FULL        if it is not the disk: return, export or discard some, or raise dead_letters.max_bytes"
        )?;
    }
    for place in letters.places.iter().filter(|place| place.quarantined > 0) {
        writeln!(
            out,
            "  SET ASIDE   what could not be read: dead-letters/{}/quarantine in the data folder",
            escape(&place.place)
        )?;
    }
    if let Some(trouble) = &letters.trouble {
        let unfiled = thousands(letters.unfiled);
        writeln!(
            out,
            "  NOT FILED   {unfiled} events wait: {}",
            escape(trouble)
        )?;
    }
    write_poisoned(out, letters.poisoned.as_deref())
}

fn write_queue(out: &mut String, queue: &QueueStatus, status: &Answer) -> std::fmt::Result {
    let stats = &queue.stats;
    writeln!(out, "\nqueue {}", stats.queue)?;
    write_waiting(out, queue, status)?;
    redis::write_queue(out, queue)?;
    write_rates(out, queue)?;
    write_ledger(out, queue)?;
    write_archive(out, queue, status)?;
    for endpoint in &queue.endpoints {
        write_endpoint(out, endpoint, status)?;
    }
    if let Some(full) = stats.full {
        writeln!(out, "  FULL        {full}")?;
    }
    write_poisoned(out, stats.poisoned.as_deref())
}

fn write_waiting(out: &mut String, queue: &QueueStatus, status: &Answer) -> std::fmt::Result {
    let stats = &queue.stats;
    write!(
        out,
        "  waiting     {} events, {} of {}",
        thousands(stats.waiting_events),
        ByteSize(stats.waiting_bytes),
        ByteSize(queue.max_bytes)
    )?;
    match stats.oldest_unsettled {
        Some(oldest) => writeln!(out, "; the oldest accepted {} ago", age(oldest, status))?,
        None => writeln!(out)?,
    }
    writeln!(
        out,
        "  in hand     {} events in {} batches",
        thousands(stats.leased_events),
        thousands(stats.leased_batches)
    )
}

fn write_endpoint(out: &mut String, endpoint: &Endpoint, status: &Answer) -> std::fmt::Result {
    write!(out, "  to          {}", escape(&endpoint.host))?;
    if endpoint.address != endpoint.host {
        write!(out, " ({})", escape(&endpoint.address))?;
    }
    let since = age(endpoint.since, status);
    write!(out, " is {} for {since}", escape(&endpoint.state))?;
    if let Some(detail) = &endpoint.detail {
        write!(out, ": {}", escape(detail))?;
    }
    writeln!(out)
}

fn write_poisoned(out: &mut String, poisoned: Option<&str>) -> std::fmt::Result {
    let Some(poisoned) = poisoned else {
        return Ok(());
    };
    let poisoned = escape(poisoned);
    writeln!(
        out,
        "  POISONED    {poisoned}; restart when the disk is well"
    )
}

fn write_rates(out: &mut String, queue: &QueueStatus) -> std::fmt::Result {
    let Some(rates) = &queue.rates else {
        return Ok(());
    };
    let rate = |per_second: f64| thousands(per_second.max(0.0).round() as u64);
    write!(
        out,
        "  rates       in {}/s, out {}/s",
        rate(rates.accepted_per_second),
        rate(rates.confirmed_per_second)
    )?;
    if let Some(seconds) = rates.seconds_to_full.filter(|_| queue.stats.full.is_none()) {
        write!(out, "; full in {}", span(seconds))?;
    }
    if let Some(seconds) = rates.seconds_to_drain {
        write!(out, "; empty in {}", span(seconds))?;
    }
    writeln!(out)
}

fn write_ledger(out: &mut String, queue: &QueueStatus) -> std::fmt::Result {
    let ledger = &queue.stats.ledger;
    write!(out, "  ledger      accepted {}", thousands(ledger.accepted))?;
    let came = [
        ("returned", ledger.returned),
        ("replayed", ledger.replayed),
        ("foreign", ledger.foreign),
    ];
    for (what, events) in came.into_iter().filter(|(_, events)| *events > 0) {
        write!(out, " + {what} {}", thousands(events))?;
    }
    write!(
        out,
        " = confirmed {} + waiting {} + in hand {}",
        thousands(ledger.confirmed),
        thousands(queue.stats.waiting_events),
        thousands(queue.stats.leased_events)
    )?;
    let went = [
        ("dead letters", ledger.dead_letters),
        ("discarded", ledger.discarded),
        ("quarantined", ledger.quarantined),
    ];
    for (what, events) in went.into_iter().filter(|(_, events)| *events > 0) {
        write!(out, " + {what} {}", thousands(events))?;
    }
    writeln!(out, "; unaccounted: {}", queue.unaccounted_events)
}

fn write_archive(out: &mut String, queue: &QueueStatus, status: &Answer) -> std::fmt::Result {
    let stats = &queue.stats;
    let place = match stats.redis {
        Some(_) => "stored  ",
        None => "on disk ",
    };
    write!(out, "  {place}    {}", ByteSize(stats.stored_bytes))?;
    if let Some(since) = stats.stored_since {
        write!(out, ", reaching back {}", age(since, status))?;
    }
    if stats.quarantined_records > 0 {
        write!(
            out,
            "; {} damaged records set aside",
            thousands(stats.quarantined_records)
        )?;
    }
    writeln!(out)
}

fn age(since: UnixMillis, status: &Answer) -> String {
    span(status.at.0.saturating_sub(since.0) as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::status::PlaceStats;

    #[test]
    fn a_store_of_dead_letters_that_failed_is_shown_with_its_books() {
        let letters = DeadLetterStats {
            held: 2,
            bytes: 400,
            full: true,
            poisoned: Some("sync: Input/output error".into()),
            unfiled: 0,
            expiring: 0,
            reasons: BTreeMap::new(),
            trouble: None,
            places: vec![PlaceStats {
                place: "door".into(),
                returned: 0,
                sent_elsewhere: 0,
                discarded: 0,
                expired: 0,
                received: 4,
                held: 2,
                quarantined: 1,
                unaccounted: 1,
                bytes: 400,
                full: true,
                poisoned: Some("sync: Input/output error".into()),
            }],
        };
        let mut text = String::new();
        write_letters(&mut text, &letters).expect("a string takes all");
        for line in [
            "  door        received 4 = held 2 + quarantined 1; unaccounted: 1",
            "  FULL        if it is not the disk: return, export or discard some, or raise dead_letters.max_bytes",
            "  SET ASIDE   what could not be read: dead-letters/door/quarantine in the data folder",
            "  POISONED    sync: Input/output error; restart when the disk is well",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line:?} in\n{text}");
        }
    }
}
