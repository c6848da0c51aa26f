//! Goes over many letters in chunks.
//!
//! The gateway remembers nothing between two chunks, so a gateway that restarts in the
//! middle is waited for, and a command that was broken off is run again: what was done
//! is not there any more.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use tokio::time::sleep;

use super::filter::{Which, WhichToChange};
use super::groups::Group;
use super::progress::Progress;
use super::{api, tell};
use crate::cli::http::{Call, No, Remote};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::thousands;
use crate::cli::{Exit, Failure};
use crate::dead_letter::workbench::{Question, Report};

/// Letters of a chunk; fewer while the gateway cannot work through so many.
const CHUNK: usize = 500;
/// Failures and samples that are remembered.
const REMEMBERED: usize = 20;
/// For how long a gateway that was there is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// What a command does with letters, in words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    /// `returned`: so many were.
    pub(super) done: &'static str,
    /// Whether that changes anything.
    pub(super) changes: bool,
    /// What there is to say when it is broken off.
    pub(super) broken_off: &'static str,
}

impl Words {
    /// Of what changes letters, or only tells what it `would` do.
    pub(super) fn of(apply: bool, done: &'static str, would: &'static str) -> Self {
        match apply {
            true => Self {
                done,
                changes: true,
                broken_off: "Run the same command again: it goes on with the rest.",
            },
            false => Self {
                done: would,
                changes: false,
                broken_off: "Nothing has been changed.",
            },
        }
    }
}

/// What came of a job.
#[derive(Debug)]
pub(super) struct Sum {
    pub(super) report: Report,
    /// Letters of calls that nobody answered: so many more may be done.
    pub(super) unanswered: u64,
    pub(super) words: Words,
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Ended {
    /// Somebody had enough of it.
    Interrupted,
    /// The gateway does not do it.
    No(No),
}

/// A way over many letters.
pub(super) struct Job<'r> {
    remote: &'r Remote,
    words: Words,
    shown: Progress,
    interrupt: Interrupt,
    so_far: u64,
    unanswered: u64,
    /// Whether the gateway was there before: one that never was is not waited for.
    met: bool,
}

/// Puts `question` to `path` for all letters that are meant, until there is nothing more.
pub(super) fn run(
    remote: &Remote,
    path: &str,
    which: &WhichToChange,
    words: Words,
    question: Question,
) -> Result<Sum, Failure> {
    let question = Question {
        filter: which.filter(words.changes)?,
        apply: words.changes,
        ..question
    };
    let total = total(remote, which.which())?;
    Job::new(remote, words, total)?.run(path, question)
}

impl<'r> Job<'r> {
    /// `total`: letters to look at, as far as is known.
    pub(super) fn new(
        remote: &'r Remote,
        words: Words,
        total: Option<u64>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            remote,
            words,
            interrupt: Interrupt::listen()?,
            shown: Progress::new(total),
            so_far: 0,
            unanswered: 0,
            met: false,
        })
    }

    /// Begins a second way.
    pub(super) fn begin(&mut self, words: Words) {
        (self.words, self.so_far) = (words, 0);
    }

    fn run(mut self, path: &str, mut question: Question) -> Result<Sum, Failure> {
        let mut sum = Report::default();
        let mut limit = CHUNK;
        loop {
            question.limit = Some(limit);
            let call = || api::post(path, &question);
            let report: Report = match self.ask(limit, call) {
                Err(Ended::No(No::Refused(StatusCode::GATEWAY_TIMEOUT, _))) if limit > 1 => {
                    // Each attempt costs half a minute, so this goes down quickly.
                    limit = (limit / 10).max(1);
                    continue;
                }
                answer => self.read(answer)?,
            };
            question.after = report.next;
            self.add(&mut sum, report);
            if question.after.is_none() {
                return Ok(self.end(sum));
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
        let text = format!("{} {}", thousands(done), self.words.done);
        self.shown.show(examined, &text);
    }

    /// It is through.
    pub(super) fn end(self, report: Report) -> Sum {
        Sum {
            report,
            unanswered: self.unanswered,
            words: self.words,
        }
    }

    /// Waits for something that is not the gateway.
    pub(super) fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let done = self.interrupt.until(work);
        done.ok_or_else(|| self.interrupted())
    }

    /// Asks for something to be done with so many `letters` at most. A gateway that was
    /// there before is waited for.
    pub(super) fn ask(
        &mut self,
        letters: usize,
        call: impl Fn() -> Result<Call, Failure>,
    ) -> Result<Bytes, Ended> {
        let until = Instant::now() + PATIENCE;
        let mut told = false;
        loop {
            if self.interrupt.was_heard() {
                return Err(Ended::Interrupted);
            }
            let call = call().map_err(|failure| Ended::No(No::Away(failure.to_string())))?;
            let answer = self.interrupt.finish(self.remote.answer(call));
            if self.words.changes && answer.as_ref().is_none_or(may_be_done) {
                self.unanswered += letters as u64;
            }
            let answer = answer.ok_or(Ended::Interrupted)?;
            self.met |= matches!(answer, Ok(_) | Err(No::BrokenOff(_)));
            match answer {
                Err(no) if self.met && api::may_pass(&no) && Instant::now() < until => {
                    if !told {
                        self.shown.say(&format!(
                            "the gateway does not do it now, trying again for {} s: {no}",
                            PATIENCE.as_secs()
                        ));
                    }
                    told = true;
                    let pause = self.interrupt.until(async { sleep(PAUSE).await });
                    pause.ok_or(Ended::Interrupted)?;
                }
                answer => return answer.map_err(Ended::No),
            }
        }
    }

    /// Reads the answer to [`Job::ask`].
    pub(super) fn read<T: serde::de::DeserializeOwned>(
        &self,
        answer: Result<Bytes, Ended>,
    ) -> Result<T, Failure> {
        let body = answer.map_err(|ended| match ended {
            Ended::Interrupted => self.interrupted(),
            Ended::No(no) => self.refused(&no),
        })?;
        api::read(self.remote, &body)
    }

    fn interrupted(&self) -> Failure {
        let words = format!("broken off: {}", self.so_far());
        Failure::new(Exit::Interrupted, words)
    }

    fn refused(&self, no: &No) -> Failure {
        let failure = api::failure(self.remote, no);
        match self.met {
            false => failure,
            true => Failure::new(failure.exit, format!("{failure}\n{}", self.so_far())),
        }
    }

    /// What was done, and what there is to do.
    fn so_far(&self) -> String {
        let words = self.words;
        let done = tell::letters(self.so_far);
        let more = tell::unanswered(self.unanswered, words.done);
        format!("{done} {}{more}. {}", words.done, words.broken_off)
    }
}

/// Whether a call that has no answer, or this one, may have been done all the same.
fn may_be_done(answer: &Result<Bytes, No>) -> bool {
    matches!(
        answer,
        Err(No::BrokenOff(_) | No::Silent(_) | No::Refused(StatusCode::BAD_GATEWAY, _))
    )
}

/// How many letters there are to look at, if the groups tell.
pub(super) fn total(remote: &Remote, which: &Which) -> Result<Option<u64>, Failure> {
    if !which.is_timeless() {
        return Ok(None);
    }
    let selection = which.filter().selection();
    let groups = super::groups::ask(remote)?.into_iter();
    let meant = |group: &Group| selection.has(&group.key);
    Ok(Some(groups.filter(meant).map(|group| group.events).sum()))
}

/// How the command ends after `sum`.
pub(super) fn exit(sum: &Sum) -> Exit {
    match sum.report.failed {
        0 => Exit::Done,
        _ => Exit::No,
    }
}
