//! `stashgate dead-letters export`

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::filter::WhichToChange;
use super::job::{self, Job, Words};
use super::tell::letters;
use super::{Common, api, tell};
use crate::cli::output;
use crate::cli::{Exit, Failure};
use crate::dead_letter::workbench::{Cursor, Filter, Handle, Report};

/// Letters of a chunk.
const CHUNK: usize = 500;

/// Write letters to a file, one JSON object a line.
///
/// `import` reads it again, also after somebody changed `event` in it. With --take the
/// letters leave the gateway, once the file is safe on the disk.
#[derive(Debug, Args)]
#[command(after_help = "\
The form of a line is in docs/dead-letters.md. With --json, how many there were is
told as JSON.

Examples:
  stashgate dead-letters export letters.ndjson --field user.id
  stashgate dead-letters export - --reason mapping_conflict | jq .event
  stashgate dead-letters export old.ndjson --to 2026-11-01 --take")]
pub(super) struct Export {
    /// The file, which must not be there yet, or - for standard output.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    which: WhichToChange,
    /// Take them out of the gateway.
    #[arg(long)]
    take: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Wanted<'f> {
    filter: &'f Filter,
    after: Option<Cursor>,
    limit: usize,
}

#[derive(Deserialize)]
struct Chunk {
    letters: Vec<Box<RawValue>>,
    handles: Vec<Handle>,
    examined: u64,
    next: Option<Cursor>,
}

#[derive(Deserialize)]
struct Taken {
    taken: u64,
}

/// Into a file that is not there before all is in it.
const TO_FILE: Words = Words {
    done: "written",
    changes: false,
    broken_off: "There is no file, and nothing has been changed.",
};
const TO_STDOUT: Words = Words {
    broken_off: "Nothing has been changed.",
    ..TO_FILE
};
const TAKE: Words = Words {
    done: "taken out",
    changes: true,
    broken_off: "All are in the file; what was not taken out is in the gateway, too: \
                 run the same command again with another file.",
};

impl Export {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let filter = self.which.filter(self.take)?;
        let to_stdout = self.file == Path::new("-");
        if to_stdout && self.take {
            return Err(Failure::new(
                Exit::Usage,
                "--take needs a file: what goes elsewhere may be lost on the way",
            ));
        }
        if !to_stdout && self.file.symlink_metadata().is_ok() {
            return Err(self.failed(&io::Error::other("it is there already")));
        }
        let remote = &self.common.remote;
        let total = job::total(remote, self.which.which())?;
        if to_stdout {
            return self.to_stdout(Job::new(remote, TO_STDOUT, total)?, &filter);
        }
        let mut job = Job::new(remote, TO_FILE, total)?;
        let handles = self.to_file(&mut job, &filter)?;
        let taken = match self.take {
            true => Some(take(&mut job, &handles)?),
            false => None,
        };
        let sum = job.end(Report::default());
        output::print(self.told(handles.len() as u64, taken, sum.unanswered));
        Ok(Exit::Done)
    }

    /// A reader that has enough (`| head`) is no error.
    fn to_stdout(&self, mut job: Job<'_>, filter: &Filter) -> Result<Exit, Failure> {
        match write_all(&mut job, filter, &mut io::stdout().lock()) {
            Ok(handles) => {
                drop(job);
                // Standard output is the letters themselves.
                eprint!("{}", self.told(handles.len() as u64, None, 0));
                Ok(Exit::Done)
            }
            Err(Stopped::Out(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
            Err(stopped) => Err(self.stopped(stopped)),
        }
    }

    /// The file appears under its name when all is in it and on the disk.
    fn to_file(&self, job: &mut Job<'_>, filter: &Filter) -> Result<Vec<Handle>, Failure> {
        let failed = |error: io::Error| self.failed(&error);
        let folder = match self.file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(".letters-")
            .suffix(".part")
            .tempfile_in(folder);
        let mut file = file.map_err(failed)?;
        let mut out = io::BufWriter::new(file.as_file_mut());
        let handles = write_all(job, filter, &mut out).map_err(|stopped| self.stopped(stopped))?;
        out.flush().map_err(failed)?;
        drop(out);
        file.as_file().sync_all().map_err(failed)?;
        file.persist_noclobber(&self.file)
            .map_err(|error| failed(error.error))?;
        // The name is durable only with its folder.
        let folder = File::open(folder).and_then(|folder| folder.sync_all());
        folder.map_err(failed)?;
        Ok(handles)
    }

    fn stopped(&self, stopped: Stopped) -> Failure {
        match stopped {
            Stopped::Gateway(failure) => failure,
            Stopped::Out(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let file = self.file.display();
        Failure::new(Exit::Start, format!("cannot write {file}: {error}"))
    }

    fn told(&self, written: u64, taken: Option<u64>, unanswered: u64) -> String {
        if self.common.json {
            let taken = taken.unwrap_or(0);
            let told = json!({ "written": written, "taken": taken, "unanswered": unanswered });
            return format!("{told}\n");
        }
        let mut text = format!("{} written", letters(written));
        if let Some(taken) = taken {
            text += &format!(", {} taken out of the gateway", letters(taken));
        }
        text + &tell::unanswered(unanswered, TAKE.done) + "\n"
    }
}

/// Why not all is written.
enum Stopped {
    Gateway(Failure),
    Out(io::Error),
}

/// Writes all letters that fit; their handles.
fn write_all(
    job: &mut Job<'_>,
    filter: &Filter,
    out: &mut impl Write,
) -> Result<Vec<Handle>, Stopped> {
    let (mut handles, mut after, mut examined) = (Vec::new(), None, 0);
    loop {
        let limit = CHUNK;
        let wanted = Wanted {
            filter,
            after,
            limit,
        };
        let answer = job.ask(CHUNK, || api::post("/export", &wanted));
        let chunk: Chunk = job.read(answer).map_err(Stopped::Gateway)?;
        for letter in &chunk.letters {
            writeln!(out, "{}", letter.get()).map_err(Stopped::Out)?;
        }
        handles.extend(chunk.handles);
        examined += chunk.examined;
        job.progress(examined, handles.len() as u64);
        after = chunk.next;
        if after.is_none() {
            return Ok(handles);
        }
    }
}

/// Takes them out of the gateway; how many were still as they were written.
fn take(job: &mut Job<'_>, handles: &[Handle]) -> Result<u64, Failure> {
    job.begin(TAKE);
    let (mut taken, mut looked_at) = (0, 0);
    for handles in handles.chunks(CHUNK) {
        let call = || api::post("/take", &json!({ "handles": handles }));
        let answer = job.ask(handles.len(), call);
        let answer: Taken = job.read(answer)?;
        taken += answer.taken;
        looked_at += handles.len() as u64;
        job.progress(looked_at, taken);
    }
    Ok(taken)
}
