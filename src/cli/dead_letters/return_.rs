//! `stashgate dead-letters return`

use clap::Args;

use super::Common;
use super::filter::WhichToChange;
use super::job::{self, Job};
use super::tell::{self, letters};
use crate::batch::QueueName;
use crate::cli::output;
use crate::cli::{Exit, Failure};
use crate::dead_letter::workbench::{Question, Report};

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
        let filter = match self.dry_run {
            true => self.which.which().filter(),
            false => self.which.to_change()?,
        };
        let question = Question {
            filter,
            apply: !self.dry_run,
            to_queue: self.to_queue.clone(),
            ..Question::default()
        };
        let remote = &self.common.remote;
        let total = job::total(remote, self.which.which())?;
        let sum = Job::new(remote, self.word(), total).run("/return", question)?;
        match self.common.json {
            true => tell::json(!self.dry_run, &sum),
            false => output::print(self.told(&sum)),
        }
        Ok(job::exit(&sum))
    }

    fn word(&self) -> &'static str {
        match self.dry_run {
            true => "would be returned",
            false => "returned",
        }
    }

    fn told(&self, sum: &Report) -> String {
        let mut text = format!("{} {}", letters(sum.done), self.word());
        if let Some(queue) = &self.to_queue {
            text += &format!(" to queue {queue}");
        }
        text += "\n";
        if sum.parked > 0 {
            text += &format!(
                "{} parked and left alone: they were refused as often as they may be; \
                 --parked returns them all the same\n",
                letters(sum.parked)
            );
        }
        text += &tell::failures(sum, "cannot be returned");
        text
    }
}
