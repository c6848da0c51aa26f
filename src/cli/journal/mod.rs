//! `stashgate journal check | repair | dump | stat`: works on the files of a
//! gateway that does not run.

mod dump;
mod view;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::settings::Settings;
use super::{Exit, Failure, output};
use crate::spool::journal::tools::{self, ToolError};
use dump::Dump;

/// Look at the files of a gateway that does not run, and repair them.
#[derive(Debug, Args)]
pub(super) struct Journal {
    #[command(subcommand)]
    tool: Tool,
}

#[derive(Debug, Subcommand)]
enum Tool {
    /// Read every byte and tell what is damaged; changes nothing. Exit code 1 if
    /// there is something to repair.
    Check(Shown),
    /// Cut off what was never answered, and copy what is damaged to quarantine/.
    /// A start does the same; this does it for all segments at once.
    Repair(Shown),
    /// Print what is stored: a line a batch, or the events themselves.
    Dump(Dump),
    /// Tell what each queue holds, without reading it all.
    Stat(Shown),
}

/// Which files.
#[derive(Debug, Args)]
struct Place {
    #[command(flatten)]
    settings: Settings,
    /// The inbox of the dead letters instead of the journal.
    #[arg(long)]
    dead_letters: bool,
}

#[derive(Debug, Args)]
struct Shown {
    #[command(flatten)]
    place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Journal {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self.tool {
            Tool::Check(shown) => {
                let report = tools::check(&shown.place.folder()?).map_err(failure)?;
                shown.print(&report, view::report(&report))?;
                Ok(if report.is_clean() {
                    Exit::Done
                } else {
                    Exit::No
                })
            }
            Tool::Repair(shown) => {
                let repair = tools::repair(&shown.place.folder()?).map_err(failure)?;
                shown.print(&repair, view::repair(&repair))?;
                Ok(Exit::Done)
            }
            Tool::Stat(shown) => {
                let stat = tools::stat(&shown.place.folder()?).map_err(failure)?;
                shown.print(&stat, view::stat(&stat))?;
                Ok(Exit::Done)
            }
            Tool::Dump(dump) => dump.run(),
        }
    }
}

impl Place {
    fn folder(&self) -> Result<PathBuf, Failure> {
        let data_dir = self.settings.load()?.data_dir;
        let name = if self.dead_letters {
            "dead-letters"
        } else {
            "journal"
        };
        Ok(data_dir.join(name))
    }
}

impl Shown {
    fn print(&self, found: &impl Serialize, text: String) -> Result<(), Failure> {
        if self.json {
            let json =
                serde_json::to_string_pretty(found).map_err(|e| Failure::new(Exit::No, e))?;
            output::print(format_args!("{json}\n"));
        } else {
            output::print(text);
        }
        Ok(())
    }
}

fn failure(error: ToolError) -> Failure {
    Failure::new(Exit::Start, error)
}
