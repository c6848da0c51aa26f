//! `stashgate status`

use std::fmt::Write;

use bytesize::ByteSize;
use clap::Args;

use super::http::Remote;
use super::output::{self, span, thousands};
use super::{Exit, Failure};
use crate::batch::UnixMillis;
use crate::log::escape;
use crate::status::{QueueStatus, Status as Answer};

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
    for queue in &status.queues {
        write_queue(out, queue, status)?;
    }
    if let Some(letters) = &status.dead_letters {
        let full = if letters.full {
            "; FULL: more are not kept"
        } else {
            ""
        };
        writeln!(
            out,
            "\ndead letters  {} events, {}{full}",
            thousands(letters.held),
            ByteSize(letters.bytes)
        )?;
    }
    for warning in &status.warnings {
        writeln!(out, "warning: {}", escape(warning))?;
    }
    Ok(())
}

fn write_queue(out: &mut String, queue: &QueueStatus, status: &Answer) -> std::fmt::Result {
    let stats = &queue.stats;
    writeln!(out, "\nqueue {}", stats.queue)?;
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
    )?;
    write_rates(out, queue)?;
    write_ledger(out, queue)?;
    write_archive(out, queue, status)?;
    for endpoint in &queue.endpoints {
        let detail = endpoint
            .detail
            .as_deref()
            .map(|d| format!(": {}", escape(d)));
        let since = age(endpoint.since, status);
        writeln!(
            out,
            "  to          {} is {} for {since}{}",
            escape(&endpoint.address),
            escape(&endpoint.state),
            detail.unwrap_or_default()
        )?;
    }
    if let Some(full) = stats.full {
        writeln!(out, "  FULL        {full}")?;
    }
    if let Some(poisoned) = &stats.poisoned {
        writeln!(
            out,
            "  POISONED    {}; restart when the disk is well",
            escape(poisoned)
        )?;
    }
    Ok(())
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
    if let Some(seconds) = rates.seconds_to_full {
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
    write!(out, "  on disk     {}", ByteSize(stats.stored_bytes))?;
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
