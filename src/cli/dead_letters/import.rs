//! `stashgate dead-letters import`

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::thread;

use bytes::Bytes;
use clap::Args;
use tokio::sync::mpsc;

use super::job::{self, Job, Sum, Words};
use super::{Common, api, tell};
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

const WORDS: Words = Words {
    done: "imported",
    changes: true,
    broken_off: "Import the same file again: what is there already stays as it is.",
};

impl Import {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let lines = self.open().map_err(|error| self.unreadable(&error))?;
        let mut chunks = read_ahead(lines);
        let mut job = Job::new(&self.common.remote, WORDS, None)?;
        let mut sum = Report::default();
        let mut line = 1;
        while let Some(chunk) = job.wait(chunks.recv())? {
            let chunk = chunk.map_err(|error| self.unreadable(&error))?;
            let body = Bytes::from(chunk.bytes);
            let call = || Ok(api::post_bytes("/import", NDJSON, body.clone()));
            let answer = job.ask(chunk.lines, call);
            let report: Report = job.read(answer).map_err(|failure| in_file(failure, line))?;
            job.add(&mut sum, report);
            line += chunk.lines;
        }
        let sum = job.end(sum);
        match self.common.json {
            true => tell::json(&sum),
            false => output::print(told(&sum)),
        }
        Ok(job::exit(&sum))
    }

    fn open(&self) -> io::Result<Box<dyn BufRead + Send>> {
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

/// A line of a chunk that cannot be read, as a line of the file; the chunk begins at
/// `first`.
fn in_file(failure: Failure, first: usize) -> Failure {
    let words = failure.to_string();
    let line = words.strip_prefix("line ").and_then(|rest| {
        let (line, why) = rest.split_once(": ")?;
        Some((line.parse::<usize>().ok()?, why.to_owned()))
    });
    match line {
        Some((line, why)) => {
            Failure::new(failure.exit, format!("line {}: {why}", first + line - 1))
        }
        None => failure,
    }
}

fn told(sum: &Sum) -> String {
    let mut text = tell::done(sum);
    let unchanged = sum.report.unchanged;
    if unchanged > 0 {
        text += &format!(", {} were there as they are", thousands(unchanged));
    }
    text += "\n";
    text + &tell::failures(&sum.report, "could not be imported")
}

/// The input in chunks, read by a thread: nobody waits for what does not come when the
/// command is broken off.
fn read_ahead(mut from: Box<dyn BufRead + Send>) -> mpsc::Receiver<io::Result<Lines>> {
    let (to, chunks) = mpsc::channel(1);
    thread::spawn(move || {
        loop {
            let chunk = read_chunk(&mut from);
            let is_end = chunk.as_ref().is_ok_and(|chunk| chunk.lines == 0);
            let is_last = chunk.is_err();
            if is_end || to.blocking_send(chunk).is_err() || is_last {
                return;
            }
        }
    });
    chunks
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    lines: usize,
}

/// The next lines; none at the end.
fn read_chunk(from: &mut impl BufRead) -> io::Result<Lines> {
    let mut chunk = Lines::default();
    while chunk.lines < CHUNK && chunk.bytes.len() < ENOUGH_BYTES {
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
