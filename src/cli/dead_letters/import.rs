//! `stashgate dead-letters import`

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;

use super::job::{self, Job};
use super::tell::{self, letters};
use super::{Common, api};
use crate::cli::output::{self, thousands};
use crate::cli::{Exit, Failure};
use crate::dead_letter::workbench::Report;

const NDJSON: &str = "application/x-ndjson";
/// Letters of a chunk, and how many bytes of them are enough.
const CHUNK: usize = 500;
const ENOUGH_BYTES: usize = 4 << 20;
/// The longest line that a gateway takes.
const LONGEST_LINE: u64 = 80 << 20;

/// Bring letters back from a file that `export` wrote.
///
/// Also one in which somebody changed `event`: that is the repair for events that are no
/// JSON. A letter that the gateway holds gets the event of the file; one that was
/// returned or discarded since is held again.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json: the sum on one line.

Examples:
  stashgate dead-letters import letters.ndjson
  jq -c '.event.user.id |= tostring' letters.ndjson | stashgate dead-letters import -")]
pub(super) struct Import {
    /// The file, or - for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    common: Common,
}

impl Import {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let mut lines = self.open().map_err(|error| self.unreadable(&error))?;
        let mut job = Job::new(&self.common.remote, "imported", None);
        let mut sum = Report::default();
        let mut line = 1;
        loop {
            let chunk = read_chunk(&mut lines).map_err(|error| self.unreadable(&error))?;
            if chunk.lines == 0 {
                break;
            }
            let body = Bytes::from(chunk.bytes);
            let answer = job.ask(|| Ok(api::post_bytes("/import", NDJSON, body.clone())));
            let report: Report = job.read(answer).map_err(|failure| {
                let last = line + chunk.lines - 1;
                Failure::new(failure.exit, format!("lines {line} to {last}: {failure}"))
            })?;
            job.add(&mut sum, report);
            line += chunk.lines;
        }
        job.end();
        match self.common.json {
            true => tell::json(true, &sum),
            false => output::print(told(&sum)),
        }
        Ok(job::exit(&sum))
    }

    fn open(&self) -> io::Result<Box<dyn BufRead>> {
        if self.file == Path::new("-") {
            return Ok(Box::new(BufReader::new(io::stdin())));
        }
        Ok(Box::new(BufReader::new(File::open(&self.file)?)))
    }

    fn unreadable(&self, error: &io::Error) -> Failure {
        let file = self.file.display();
        Failure::new(Exit::Usage, format!("cannot read {file}: {error}"))
    }
}

fn told(sum: &Report) -> String {
    let mut text = format!("{} imported", letters(sum.done));
    if sum.unchanged > 0 {
        text += &format!(", {} were there as they are", thousands(sum.unchanged));
    }
    text += "\n";
    text + &tell::failures(sum, "could not be imported")
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    lines: u64,
}

/// The next lines; none at the end.
fn read_chunk(from: &mut impl BufRead) -> io::Result<Lines> {
    let mut chunk = Lines::default();
    while chunk.lines < CHUNK as u64 && chunk.bytes.len() < ENOUGH_BYTES {
        let before = chunk.bytes.len();
        let read = from
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut chunk.bytes)?;
        if read == 0 {
            break;
        }
        if read as u64 == LONGEST_LINE && chunk.bytes[before..].last() != Some(&b'\n') {
            return Err(io::Error::other("a line is longer than any letter"));
        }
        chunk.lines += 1;
    }
    Ok(chunk)
}
