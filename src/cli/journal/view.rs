//! What the tools found, for a person.

use std::fmt::Write;

use bytesize::ByteSize;

use crate::cli::output::thousands;
use crate::log::escape;
use crate::spool::journal::tools::{
    CursorState, Problem, ProblemKind, QueueRepair, QueueReport, QueueStat, Repair, Report,
};

pub(super) fn report(report: &Report) -> String {
    let mut text: String = report.queues.iter().map(queue_report).collect();
    text += if report.is_clean() {
        "nothing to repair\n"
    } else {
        "there is something to repair: `stashgate journal repair`, or the next start, does it\n"
    };
    text
}

fn queue_report(queue: &QueueReport) -> String {
    let cursor = match queue.cursor {
        CursorState::Good => "",
        CursorState::Missing if queue.segments == 0 => "",
        CursorState::Missing => "; the cursor is missing: everything is sent again",
        CursorState::Damaged => "; the cursor is damaged: everything is sent again",
    };
    let span = queue.oldest.zip(queue.newest);
    let span = span.map(|(oldest, newest)| format!(", accepted {oldest} to {newest}"));
    let mut text = format!(
        "queue {}: {} events in {} batches, {} in {} segments{}{cursor}\n",
        queue.queue,
        thousands(queue.events),
        thousands(queue.records),
        ByteSize(queue.bytes),
        queue.segments,
        span.unwrap_or_default()
    );
    for found in &queue.problems {
        problem(&mut text, found);
    }
    text
}

pub(super) fn repair(repair: &Repair) -> String {
    repair.queues.iter().map(queue_repair).collect()
}

fn queue_repair(queue: &QueueRepair) -> String {
    let mut text = format!(
        "queue {}: {} events wait{}\n",
        queue.queue,
        thousands(queue.unsettled_events),
        if queue.cursor_rebuilt {
            "; the cursor was made anew: everything is sent again"
        } else {
            ""
        }
    );
    if queue.set_aside.is_empty() {
        text += "  nothing to set aside\n";
    }
    for found in &queue.set_aside {
        problem(&mut text, found);
    }
    text
}

fn problem(out: &mut String, problem: &Problem) {
    let kind = match problem.kind {
        ProblemKind::Damaged => "damaged",
        ProblemKind::Torn => "torn, never answered",
    };
    let events = match problem.events {
        0 => "an unknown number of events".to_owned(),
        events => format!("{} events", thousands(events)),
    };
    let aside = if problem.set_aside {
        "; set aside before"
    } else {
        ""
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "  {kind}: batches {} to {}, {events}, {} at byte {} of {}{aside}",
        problem.first_sequence,
        problem.last_sequence,
        ByteSize(problem.bytes),
        problem.offset,
        escape(&problem.segment.to_string_lossy())
    );
}

pub(super) fn stat(queues: &[QueueStat]) -> String {
    queues.iter().map(queue_stat).collect()
}

fn queue_stat(queue: &QueueStat) -> String {
    let ledger = &queue.ledger;
    format!(
        "queue {}: {} events wait, {} in {} segments; accepted {}, returned {}, replayed {}, \
         confirmed {}, dead letters {}, quarantined {} in {} batches; unaccounted: {}\n",
        queue.queue,
        thousands(queue.waiting_events),
        ByteSize(queue.stored_bytes),
        queue.segments,
        thousands(ledger.accepted),
        thousands(ledger.returned),
        thousands(ledger.replayed),
        thousands(ledger.confirmed),
        thousands(ledger.dead_letters),
        thousands(ledger.quarantined),
        thousands(queue.quarantined_records),
        ledger.unaccounted(queue.waiting_events, 0)
    )
}
