//! `stashgate dead-letters discard`

use clap::Args;

use super::Common;
use super::filter::WhichToChange;
use super::job::{self, Sum, Words};
use super::tell;
use crate::cli::output;
use crate::cli::{Exit, Failure};
use crate::dead_letter::workbench::Question;

/// Throw letters away.
///
/// Without --yes nothing is thrown away: you see how many it would be. There is no way
/// back; `export --take` keeps them in a file. For dead_letters.retention is remembered
/// that they are gone, so that a late copy does not bring them back.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json: the sum on one line.

Examples:
  stashgate dead-letters discard --reason invalid_json --source tcp
  stashgate dead-letters discard --reason invalid_json --source tcp --yes
  stashgate dead-letters discard --where '.level == \"debug\"' --yes")]
pub(super) struct Discard {
    #[command(flatten)]
    which: WhichToChange,
    /// Do it.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

impl Discard {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let words = Words::of(self.yes, "discarded", "would be discarded");
        let remote = &self.common.remote;
        let question = Question::default();
        let sum = job::run(remote, "/discard", &self.which, words, question)?;
        match self.common.json {
            true => tell::json(&sum),
            false => output::print(self.told(&sum)),
        }
        Ok(job::exit(&sum))
    }

    fn told(&self, sum: &Sum) -> String {
        let mut text = tell::done(sum) + "\n";
        text += &tell::failures(&sum.report, "could not be discarded");
        if !self.yes && sum.report.done > 0 {
            let next = format!("discard{} --yes", self.which.written());
            let next = tell::command(&self.common.remote, &next);
            text += &format!("nothing has been changed; to do it:\n  {next}\n");
        }
        text
    }
}
