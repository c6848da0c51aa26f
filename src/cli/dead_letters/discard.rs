//! `stashgate dead-letters discard`

use clap::Args;

use super::Common;
use super::filter::WhichToChange;
use super::job::{self, Job};
use super::tell::{self, letters};
use crate::cli::output;
use crate::cli::{Exit, Failure};
use crate::dead_letter::workbench::{Question, Report};

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
        let filter = match self.yes {
            true => self.which.to_change()?,
            false => self.which.which().filter(),
        };
        let question = Question {
            filter,
            apply: self.yes,
            ..Question::default()
        };
        let remote = &self.common.remote;
        let total = job::total(remote, self.which.which())?;
        let word = match self.yes {
            true => "discarded",
            false => "would be discarded",
        };
        let sum = Job::new(remote, word, total).run("/discard", question)?;
        match self.common.json {
            true => tell::json(self.yes, &sum),
            false => output::print(self.told(&sum, word)),
        }
        Ok(job::exit(&sum))
    }

    fn told(&self, sum: &Report, word: &str) -> String {
        let mut text = format!("{} {word}\n", letters(sum.done));
        text += &tell::failures(sum, "could not be discarded");
        if !self.yes && sum.done > 0 {
            let next = format!("discard{} --yes", self.which.written());
            let next = tell::command(&self.common.remote, &next);
            text += &format!("nothing has been changed; to do it:\n  {next}\n");
        }
        text
    }
}
