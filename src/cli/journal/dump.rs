//! `stashgate journal dump`

use std::io::{self, IsTerminal, Write};

use clap::Args;

use super::{Place, failure};
use crate::batch::{QueueName, UnixMillis};
use crate::cli::{Exit, Failure};
use crate::log::escape;
use crate::spool::journal::tools::{self, Dumped, Filter};

#[derive(Debug, Args)]
pub(super) struct Dump {
    #[command(flatten)]
    place: Place,
    /// The queue.
    #[arg(long, value_name = "NAME", default_value = QueueName::DEFAULT)]
    queue: QueueName,
    /// Only batches accepted at this time or later, such as 2026-11-21T20:53:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<UnixMillis>,
    /// Only batches accepted at this time or earlier.
    #[arg(long, value_name = "TIME")]
    to: Option<UnixMillis>,
    /// Only batches that are not delivered.
    #[arg(long)]
    unsettled: bool,
    /// Print the events, one a line, as `stashgate send` takes them.
    #[arg(long, conflicts_with = "json")]
    events: bool,
    /// Print a JSON object a batch.
    #[arg(long)]
    json: bool,
}

impl Dump {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let filter = Filter {
            accepted_from: self.from,
            accepted_to: self.to,
            unsettled: self.unsettled,
        };
        let records = tools::dump(&self.place.folder()?, &self.queue, filter).map_err(failure)?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        for record in records {
            if let Err(error) = self.print(&record.map_err(failure)?, &mut out) {
                return ended(&error);
            }
        }
        out.flush()
            .map_or_else(|error| ended(&error), |()| Ok(Exit::Done))
    }

    fn print(&self, record: &Dumped, out: &mut impl Write) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut *out, record)?;
            return writeln!(out);
        }
        if self.events {
            return print_events(&record.payload, out);
        }
        writeln!(
            out,
            "{} accepted {} events {} bytes {} {} id {}",
            record.sequence,
            record.accepted_at,
            record.events,
            record.payload_bytes,
            if record.settled { "settled" } else { "waiting" },
            record.batch_id
        )
    }
}

/// An event is an attacker's text: a terminal gets it escaped.
fn print_events(block: &[u8], out: &mut impl Write) -> io::Result<()> {
    if !io::stdout().is_terminal() {
        return out.write_all(block);
    }
    for line in String::from_utf8_lossy(block).lines() {
        writeln!(out, "{}", escape(line))?;
    }
    Ok(())
}

/// A reader that has enough (`| head`) is no error.
fn ended(error: &io::Error) -> Result<Exit, Failure> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Ok(Exit::Done)
    } else {
        Err(Failure::new(Exit::No, format!("cannot print: {error}")))
    }
}
