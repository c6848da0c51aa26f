//! What became of letters, for a person and as JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::batch::UnixMillis;
use crate::cli::http::Remote;
use crate::cli::output::{self, span, thousands};
use crate::dead_letter::workbench::Report;
use crate::log::escape;

use super::job::Sum;

/// Failures that are shown.
const SHOWN: usize = 10;

/// The sum of a job as JSON.
#[derive(Serialize)]
struct Told<'r> {
    /// Whether it was done, or would be.
    applied: bool,
    /// So many more may be done: nobody answered.
    unanswered: u64,
    #[serde(flatten)]
    report: &'r Report,
}

/// Prints the sum of a job as one line of JSON.
pub(super) fn json(sum: &Sum) {
    let told = serde_json::to_value(Told {
        applied: sum.words.changes,
        unanswered: sum.unanswered,
        report: &sum.report,
    });
    if let Ok(serde_json::Value::Object(mut told)) = told {
        // There is nothing more to ask for.
        told.remove("next");
        output::print(format_args!("{}\n", serde_json::Value::Object(told)));
    }
}

/// `412 letters returned`, and how many more that may be.
pub(super) fn done(sum: &Sum) -> String {
    let more = unanswered(sum.unanswered, sum.words.done);
    format!("{} {}{more}", letters(sum.report.done), sum.words.done)
}

/// What follows on `412 letters returned` if a call was not answered.
pub(super) fn unanswered(letters: u64, done: &str) -> String {
    match letters {
        0 => String::new(),
        more => format!(
            ", and up to {} more may be {done}: the gateway had them in hand and did not answer",
            thousands(more)
        ),
    }
}

/// The letters with which it could not be done; nothing if there are none.
pub(super) fn failures(report: &Report, words: &str) -> String {
    let mut text = String::new();
    if report.failed == 0 {
        return text;
    }
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{} {words}:", letters(report.failed));
    for failure in report.failures.iter().take(SHOWN) {
        let why = failure.why.lines().collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "  {}  {}", escape(&failure.id), escape(&why));
    }
    let more = report.failed - report.failures.len().min(SHOWN) as u64;
    if more > 0 {
        let _ = writeln!(text, "  ... and {} more", thousands(more));
    }
    text
}

/// `1 letter`, `2 letters`.
pub(super) fn letters(n: u64) -> String {
    let word = if n == 1 { "letter" } else { "letters" };
    format!("{} {word}", thousands(n))
}

/// How long ago, in the largest units.
pub(super) fn ago(at: UnixMillis, now: UnixMillis) -> String {
    span(now.0.saturating_sub(at.0) as f64 / 1000.0)
}

/// A command line that goes on from here, for the same gateway.
pub(super) fn command(remote: &Remote, rest: &str) -> String {
    remote.command(&format!("dead-letters {rest}"))
}
