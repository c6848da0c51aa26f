//! `stashgate dead-letters`: one file a subcommand.
//!
//! - `api` asks the gateway; `job` goes over many letters in chunks, with `progress`.
//! - `filter` is which letters are meant, as arguments.
//! - `table`, `pretty`, `diff` and `tell` show what came back. An event is an attacker's
//!   text: nothing of it reaches the terminal unescaped.

mod api;
mod diff;
mod discard;
mod export;
mod filter;
mod groups;
mod import;
mod job;
mod list;
mod pretty;
mod progress;
mod repair;
mod return_;
mod show;
mod table;
mod tell;

use clap::{Args, Subcommand};

use super::http::Remote;
use super::{Exit, Failure};

/// Look at, repair and return events that could not be processed.
///
/// Begin with `groups`: it tells what is wrong, how often, and since when. Then `list`
/// and `show` the letters, try a `repair`, do it, and `return` them. docs/dead-letters.md
/// is the guide.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  stashgate dead-letters groups
  stashgate dead-letters list --field user.id
  stashgate dead-letters repair --field user.id '.user.id |= tostring'
  stashgate dead-letters repair --field user.id '.user.id |= tostring' --yes
  stashgate dead-letters return --field user.id";

#[derive(Debug, Subcommand)]
enum Command {
    Groups(groups::Groups),
    List(list::List),
    Show(show::Show),
    Repair(repair::Repair),
    Return(return_::Return),
    Discard(discard::Discard),
    Export(export::Export),
    Import(import::Import),
}

/// What every subcommand takes.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    remote: Remote,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl DeadLetters {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self.command {
            Command::Groups(groups) => groups.run(),
            Command::List(list) => list.run(),
            Command::Show(show) => show.run(),
            Command::Repair(repair) => repair.run(),
            Command::Return(return_) => return_.run(),
            Command::Discard(discard) => discard.run(),
            Command::Export(export) => export.run(),
            Command::Import(import) => import.run(),
        }
    }
}
