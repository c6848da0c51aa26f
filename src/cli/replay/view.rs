//! Replays for a person.

use std::fmt::Write;

use bytesize::ByteSize;

use crate::batch::UnixMillis;
use crate::cli::output::{span, thousands};
use crate::log::escape;
use crate::replay::{Job, State};

/// What was counted.
pub(super) fn counted(job: &Job) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_counted(&mut out, job);
    out
}

fn write_counted(out: &mut String, job: &Job) -> std::fmt::Result {
    let counted = &job.counted;
    for (day, of_it) in &counted.days {
        writeln!(
            out,
            "  {}  {:>15} events  {:>11} batches  {:>10}",
            escape(day),
            thousands(of_it.events),
            thousands(of_it.batches),
            ByteSize(of_it.bytes)
        )?;
    }
    writeln!(
        out,
        "queue {}: {} events in {} batches, {}",
        job.wanted.queue,
        thousands(counted.events),
        thousands(counted.batches),
        ByteSize(counted.bytes)
    )?;
    if let (Some(oldest), Some(newest)) = (counted.oldest, counted.newest) {
        writeln!(out, "accepted from {oldest} to {newest}")?;
    }
    if job.wanted.filter.is_some() {
        let matching = thousands(counted.matching_events);
        writeln!(out, "picked by the expression: {matching} events")?;
    }
    if counted.failed_events > 0 {
        let failed = thousands(counted.failed_events);
        writeln!(
            out,
            "the expression fails on {failed} events: they are not sent"
        )?;
    }
    if let Some(since) = job.kept_since {
        let from = job.wanted.from.unwrap_or_default();
        let asked = match from {
            UnixMillis(0) => String::new(),
            from => format!(", asked for is {from}"),
        };
        writeln!(out, "what is kept begins at {since}{asked}")?;
    }
    if counted.foreign_events > 0 {
        let foreign = thousands(counted.foreign_events);
        writeln!(
            out,
            "{foreign} of them were put into Redis by others and have no stable id: sent again, they become new documents"
        )?;
    }
    if counted.unreadable > 0 {
        let unreadable = thousands(counted.unreadable);
        writeln!(
            out,
            "{unreadable} cannot be read: damaged, or of another release"
        )?;
    }
    Ok(())
}

/// What became of it.
pub(super) fn ended(job: &Job) -> String {
    let events = thousands(job.sent.events);
    let queue = job.wanted.target();
    let mut text = match job.state {
        State::Done => format!(
            "replay {}: {events} events are in queue {queue} again\n",
            job.id
        ),
        state => format!(
            "replay {} is {}; {events} events are in queue {queue} again\n",
            job.id,
            state.as_str()
        ),
    };
    text += &notes(job);
    text
}

/// One, with all there is to say.
pub(super) fn detail(job: &Job) -> String {
    let mut text = line(job) + "\n" + &counted(job);
    if let Some(filter) = &job.wanted.filter {
        text += &format!("where {}\n", escape(filter));
    }
    text + &notes(job)
}

/// Each in a line.
pub(super) fn list(jobs: &[Job]) -> String {
    if jobs.is_empty() {
        return "there are no replays\n".to_owned();
    }
    jobs.iter().map(|job| line(job) + "\n").collect()
}

/// One in a line.
pub(in crate::cli) fn line(job: &Job) -> String {
    let wanted = &job.wanted;
    let mut text = format!("replay {} of {}", job.id, wanted.queue);
    if wanted.target() != &wanted.queue {
        text += &format!(" to {}", wanted.target());
    }
    let time = |at: Option<UnixMillis>| at.map_or("the beginning".to_owned(), |at| at.to_string());
    text += &format!(", {} to {}", time(wanted.from), time(wanted.to));
    text += &format!(
        ": {}, {} of {} events",
        job.state.as_str(),
        thousands(job.sent.read_events),
        thousands(job.counted.events)
    );
    if let Some(seconds) = job.seconds_left {
        text += &format!(", {} left", span(seconds));
    }
    if let Some(reason) = &job.reason {
        text += &format!("; {}", escape(reason));
    }
    text
}

fn notes(job: &Job) -> String {
    let mut text = String::new();
    for (events, what) in [
        (job.sent.left_out, "were not picked by the expression"),
        (
            job.sent.failed,
            "were not sent: the expression failed on them",
        ),
        (
            job.missing_events,
            "were counted and had gone when they were to be sent: retention took them",
        ),
    ] {
        if events > 0 {
            text += &format!("{} events {what}\n", thousands(events));
        }
    }
    if let Some(reason) = job.reason.as_ref().filter(|_| job.state == State::Failed) {
        text += &format!("why: {}\n", escape(reason));
    }
    text
}
