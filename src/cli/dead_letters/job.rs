//! Goes over many letters in chunks.
//!
//! The gateway remembers nothing between two chunks, so a gateway that restarts in the
//! middle is waited for, and a command that was broken off is run again: what was done
//! is not there any more.

use std::io::IsTerminal;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use indicatif::{ProgressBar, ProgressStyle};

use super::api;
use super::filter::Which;
use super::groups::Group;
use crate::cli::http::{Call, No, Remote};
use crate::cli::output::thousands;
use crate::cli::{Exit, Failure};
use crate::dead_letter::workbench::{Question, Report};
use crate::log::escape;

/// Letters of a chunk; fewer while the gateway cannot work through so many.
const CHUNK: usize = 500;
/// Failures and samples that are remembered.
const REMEMBERED: usize = 20;
/// For how long a gateway that was there is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);
/// How often progress is told where there is no terminal.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A way over many letters.
pub(super) struct Job<'r> {
    remote: &'r Remote,
    /// What is done, for the progress: `repaired`.
    done_word: &'static str,
    bar: Bar,
    so_far: u64,
    /// Whether the gateway was there before: one that never was is not waited for.
    met: bool,
}

impl<'r> Job<'r> {
    /// `total`: letters to look at, as far as is known.
    pub(super) fn new(remote: &'r Remote, done_word: &'static str, total: Option<u64>) -> Self {
        Self {
            remote,
            done_word,
            bar: Bar::new(total),
            so_far: 0,
            met: false,
        }
    }

    /// Begins a second way.
    pub(super) fn begin(&mut self, done_word: &'static str) {
        (self.done_word, self.so_far) = (done_word, 0);
    }

    /// Puts the question to `path` until there is nothing more; the sum of the answers.
    pub(super) fn run(&mut self, path: &str, mut question: Question) -> Result<Report, Failure> {
        let mut sum = Report::default();
        let mut limit = CHUNK;
        loop {
            question.limit = Some(limit);
            let report: Report = match self.ask(|| api::post(path, &question)) {
                Err(No::Refused(StatusCode::GATEWAY_TIMEOUT, _)) if limit > 1 => {
                    // Each attempt costs half a minute, so this goes down quickly.
                    limit = (limit / 10).max(1);
                    continue;
                }
                answer => self.read(answer)?,
            };
            question.after = report.next;
            self.add(&mut sum, report);
            if question.after.is_none() {
                self.bar.end();
                return Ok(sum);
            }
        }
    }

    /// Adds a chunk's report.
    pub(super) fn add(&mut self, sum: &mut Report, mut part: Report) {
        sum.examined += part.examined;
        sum.matched += part.matched;
        sum.done += part.done;
        sum.unchanged += part.unchanged;
        sum.parked += part.parked;
        sum.failed += part.failed;
        sum.failures.append(&mut part.failures);
        sum.samples.append(&mut part.samples);
        sum.failures.truncate(REMEMBERED);
        sum.samples.truncate(REMEMBERED);
        self.progress(sum.examined, sum.done);
    }

    /// Shows how far it is.
    pub(super) fn progress(&mut self, examined: u64, done: u64) {
        self.so_far = done;
        let text = format!("{} {}", thousands(done), self.done_word);
        self.bar.progress(examined, &text);
    }

    pub(super) fn end(&self) {
        self.bar.end();
    }

    /// Asks; a gateway that was there before is waited for.
    pub(super) fn ask(&mut self, call: impl Fn() -> Result<Call, Failure>) -> Result<Bytes, No> {
        let until = Instant::now() + PATIENCE;
        let mut told = false;
        loop {
            let call = call().map_err(|failure| No::Away(failure.to_string()))?;
            let answer = self.remote.call(call);
            self.met |= matches!(answer, Ok(_) | Err(No::BrokenOff(_)));
            match answer {
                Err(no) if self.met && api::may_pass(&no) && Instant::now() < until => {
                    if !told {
                        self.bar.say(&format!(
                            "the gateway does not do it now, trying again for {} s: {no}",
                            PATIENCE.as_secs()
                        ));
                    }
                    told = true;
                    sleep(PAUSE);
                }
                answer => return answer,
            }
        }
    }

    /// Reads the answer to [`Job::ask`].
    pub(super) fn read<T: serde::de::DeserializeOwned>(
        &self,
        answer: Result<Bytes, No>,
    ) -> Result<T, Failure> {
        let body = answer.map_err(|no| self.broken_off(&no))?;
        api::read(self.remote, &body)
    }

    fn broken_off(&self, no: &No) -> Failure {
        self.bar.end();
        let failure = api::failure(self.remote, no);
        match self.met {
            false => failure,
            true => Failure::new(
                failure.exit,
                format!(
                    "{failure}\n{} letters were {} before. Run the same command again: it goes on with the rest.",
                    thousands(self.so_far),
                    self.done_word
                ),
            ),
        }
    }
}

/// How many letters there are to look at, if the groups tell.
pub(super) fn total(remote: &Remote, which: &Which) -> Result<Option<u64>, Failure> {
    if !which.is_timeless() {
        return Ok(None);
    }
    let filter = which.filter();
    let groups = super::groups::ask(remote)?.into_iter();
    let meant = |group: &Group| {
        let field = filter.field.as_ref();
        filter.queue.as_ref().is_none_or(|q| *q == group.queue)
            && filter.reason.is_none_or(|r| r == group.reason)
            && field.is_none_or(|field| Some(field) == group.field.as_ref())
    };
    Ok(Some(groups.filter(meant).map(|group| group.events).sum()))
}

/// How the command ends after `sum`.
pub(super) fn exit(sum: &Report) -> Exit {
    match sum.failed {
        0 => Exit::Done,
        _ => Exit::No,
    }
}

/// Progress on standard error: a bar on a terminal, a line now and then elsewhere.
struct Bar {
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Bar {
    fn new(total: Option<u64>) -> Self {
        Self {
            bar: std::io::stderr().is_terminal().then(|| bar(total)),
            told: Instant::now(),
        }
    }

    fn say(&self, line: &str) {
        let line = escape(line);
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    fn progress(&mut self, examined: u64, text: &str) {
        match &self.bar {
            Some(bar) => {
                // More may have come since they were counted.
                let length = bar.length().map(|length| length.max(examined));
                bar.set_length(length.unwrap_or(examined));
                bar.set_position(examined);
                bar.set_message(text.to_owned());
            }
            None if self.told.elapsed() >= TELL_EVERY => {
                self.told = Instant::now();
                eprintln!("{} looked at, {text}", thousands(examined));
            }
            None => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:30} {human_pos}/{human_len}  {msg}  ETA {eta}",
        ),
        None => (
            ProgressBar::no_length(),
            "{spinner} {human_pos} looked at  {msg}",
        ),
    };
    // The templates are constants; one that did not parse would show the default.
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style)
}
