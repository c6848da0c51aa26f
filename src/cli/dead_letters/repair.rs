//! `stashgate dead-letters repair`

use std::fmt::Write;

use clap::Args;

use super::Common;
use super::diff::diff;
use super::filter::WhichToChange;
use super::job::{self, Sum, Words};
use super::tell;
use crate::cli::output::{self, quoted, thousands};
use crate::cli::{Exit, Failure};
use crate::dead_letter::workbench::{Question, Report};
use crate::log::escape;

/// Samples that are shown.
const SHOWN: usize = 3;

/// Change the events of letters by a jq expression.
///
/// Without --yes nothing is changed: you see what the expression makes of some events,
/// and how many it would change. A repaired letter stays where it is until you `return`
/// it, and keeps its original. The expression has to give one object, the new event.
#[derive(Debug, Args)]
#[command(after_help = "\
The language is jq's, as jaq 3 runs it. Most repairs are one line:
  .user.id |= tostring               a number to text
  .took |= tonumber                  text to a number
  .user_name = .user | del(.user)    another name
  del(.debug)                        out with it

With --json: the sum on one line, with samples (before, after) and failures.

Examples:
  stashgate dead-letters repair --field user.id '.user.id |= tostring'
  stashgate dead-letters repair --field user.id '.user.id |= tostring' --yes
  stashgate dead-letters return --field user.id

Exit code 1: there are letters with which it cannot be done.")]
pub(super) struct Repair {
    #[command(flatten)]
    which: WhichToChange,
    /// What an event becomes, as a jq expression.
    #[arg(value_name = "JQ")]
    expression: String,
    /// Do it.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

impl Repair {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let words = Words::of(self.yes, "repaired", "would change");
        let remote = &self.common.remote;
        let question = Question {
            expression: Some(self.expression.clone()),
            ..Question::default()
        };
        let sum = job::run(remote, "/repair", &self.which, words, question)?;
        match (self.common.json, self.yes) {
            (true, _) => tell::json(&sum),
            (false, true) => output::print(self.done(&sum)),
            (false, false) => output::print(self.would(&sum)),
        }
        Ok(job::exit(&sum))
    }

    fn done(&self, sum: &Sum) -> String {
        let report = &sum.report;
        let mut text = tell::done(sum);
        if report.unchanged > 0 {
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                ", {} were as they should be",
                thousands(report.unchanged)
            );
        }
        text += "\n";
        text += &tell::failures(report, "could not be repaired");
        if report.done > 0 {
            let next = format!("return{}", self.which.written());
            let next = tell::command(&self.common.remote, &next);
            text += &format!("to send them again: {next}\n");
        }
        text
    }

    fn would(&self, sum: &Sum) -> String {
        let report = &sum.report;
        let mut text = samples(report, console::colors_enabled());
        text += &format!(
            "{}, {} would not\n",
            tell::done(sum),
            thousands(report.unchanged)
        );
        text += &tell::failures(report, "cannot be repaired like this");
        if report.done > 0 {
            let (which, jq) = (self.which.written(), quoted(&self.expression));
            let next = tell::command(&self.common.remote, &format!("repair{which} {jq} --yes"));
            text += &format!("nothing has been changed; to do it:\n  {next}\n");
        }
        text
    }
}

fn samples(sum: &Report, coloured: bool) -> String {
    let mut text = String::new();
    for sample in sum.samples.iter().take(SHOWN) {
        let (before, after) = (sample.before.get(), sample.after.get());
        text += &format!("{}  {}\n", sample.queue, escape(&sample.id));
        text += &diff(before, after, coloured);
        text += "\n";
    }
    let more = sum.done.saturating_sub(SHOWN as u64);
    if more > 0 && !text.is_empty() {
        text += &format!("... and {} more\n\n", thousands(more));
    }
    text
}
