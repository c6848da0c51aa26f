//! `stashgate dead-letters return`

use clap::Args;

use super::Common;
use super::filter::WhichToChange;
use super::job::{self, Sum, Words};
use super::tell::{self, letters};
use crate::batch::QueueName;
use crate::cli::output;
use crate::cli::{Exit, Failure};
use crate::dead_letter::workbench::Question;

/// Put the events of letters into their queue again.
///
/// They go out with their old id, so that an index which has them already keeps one
/// copy, and marked as one attempt more. What is refused once more comes back as that
/// attempt; after dead_letters.max_attempts it is parked, and stays here unless you ask
/// for it by --parked or --id.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json: the sum on one line.

Examples:
  stashgate dead-letters return --field user.id --dry-run
  stashgate dead-letters return --field user.id
  stashgate dead-letters return --reason index_missing --to-queue fallback
  stashgate dead-letters return --all

It may be broken off and run again at any time: what is sent twice has the same id.
Exit code 1: there are letters with which it cannot be done; repair them first.")]
pub(super) struct Return {
    #[command(flatten)]
    which: WhichToChange,
    /// Put them into this queue instead of their own.
    #[arg(long, value_name = "QUEUE")]
    to_queue: Option<QueueName>,
    /// Only tell how many there are.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

impl Return {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let words = Words::of(!self.dry_run, "returned", "would be returned");
        let remote = &self.common.remote;
        let question = Question {
            to_queue: self.to_queue.clone(),
            ..Question::default()
        };
        let sum = job::run(remote, "/return", &self.which, words, question)?;
        match self.common.json {
            true => tell::json(&sum),
            false => output::print(self.told(&sum)),
        }
        Ok(job::exit(&sum))
    }

    fn told(&self, sum: &Sum) -> String {
        let mut text = tell::done(sum);
        if let Some(queue) = &self.to_queue {
            text += &format!(" to queue {queue}");
        }
        text += "\n";
        if sum.report.parked > 0 {
            text += &format!(
                "{} parked and left alone: they were refused as often as they may be; \
                 --parked returns them all the same\n",
                letters(sum.report.parked)
            );
        }
        text += &tell::failures(&sum.report, "cannot be returned");
        text
    }
}
