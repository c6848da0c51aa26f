//! What became of letters, for a person and as JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::batch::UnixMillis;
use crate::cli::http::{DEFAULT_URL, Remote};
use crate::cli::output::{self, span, thousands};
use crate::dead_letter::workbench::Report;
use crate::log::escape;

use super::filter::quoted;

/// Failures that are shown.
const SHOWN: usize = 10;

/// The sum of a job as JSON.
#[derive(Serialize)]
struct Sum<'r> {
    /// Whether it was done, or would be.
    applied: bool,
    #[serde(flatten)]
    report: &'r Report,
}

/// Prints the sum of a job as one line of JSON.
pub(super) fn json(applied: bool, report: &Report) {
    let sum = serde_json::to_value(Sum { applied, report });
    if let Ok(serde_json::Value::Object(mut sum)) = sum {
        // There is nothing more to ask for.
        sum.remove("next");
        output::print(format_args!("{}\n", serde_json::Value::Object(sum)));
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
    let from_env = std::env::var("STASHGATE_URL").is_ok_and(|url| url == remote.url);
    let url = match remote.url == DEFAULT_URL || from_env {
        true => String::new(),
        false => format!(" --url {}", quoted(&remote.url)),
    };
    let line = format!("stashgate dead-letters {rest}{url}");
    escape(&line).into_owned()
}
