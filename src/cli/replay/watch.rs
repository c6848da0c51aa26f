//! Looks on while the gateway works: a bar on a terminal, nothing elsewhere.

use std::time::{Duration, Instant};

use hyper::Method;
use indicatif::ProgressBar;

use super::PATH;
use crate::cli::bar;
use crate::cli::http::{Call, Remote};
use crate::cli::interrupt::Interrupt;
use crate::cli::output::{span, thousands};
use crate::cli::{Exit, Failure};
use crate::log::escape;
use crate::replay::{Job, State};

/// How often the gateway is asked.
const EVERY: Duration = Duration::from_millis(300);
/// How long a gateway may take to come back: a replay outlives its restart.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bar of one that does not send.
const COUNTING: &str = "replay {prefix} {spinner} {wide_msg}";

/// How the looking on ended.
pub(super) enum Left {
    /// Nothing more happens by itself.
    Ended(Job),
    /// Somebody had enough of it; it goes on.
    Interrupted(Job),
}

/// Looks on until nothing more happens with `job`, or Ctrl-C.
pub(super) fn watch(
    remote: &Remote,
    interrupt: &mut Interrupt,
    mut job: Job,
    quietly: bool,
) -> Result<Left, Failure> {
    let shown = Shown::new(quietly);
    let mut answered = Instant::now();
    while !job.state.rests() {
        shown.show(&job);
        let path = format!("{PATH}/{}", job.id);
        let asked = async {
            tokio::time::sleep(EVERY).await;
            remote.answer(Call::new(Method::GET, path)).await
        };
        let Some(answer) = interrupt.until(asked) else {
            return Ok(Left::Interrupted(job));
        };
        match super::answered(remote, answer) {
            Ok(body) => {
                job = super::read(&body)?;
                answered = Instant::now();
            }
            Err(failure) if failure.exit == Exit::Unreachable && answered.elapsed() < PATIENCE => {
                shown.say("the gateway does not answer; waiting for it");
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(Left::Ended(job))
}

/// A bar on a terminal. Nothing of it stays, however the looking on ends.
struct Shown(Option<ProgressBar>);

impl Shown {
    fn new(quietly: bool) -> Self {
        Self(
            (!quietly)
                .then(|| bar::on_terminal(ProgressBar::new(0)))
                .flatten(),
        )
    }

    fn show(&self, job: &Job) {
        if let Some(bar) = &self.0 {
            show(bar, job);
        }
    }

    fn say(&self, words: &'static str) {
        if let Some(bar) = &self.0 {
            bar.set_message(words);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn show(bar: &ProgressBar, job: &Job) {
    let known = job.state == State::Running;
    bar.set_style(match known {
        true => bar::style(
            "replay {prefix} {bar:30} {percent}% {wide_msg}",
            "replay {prefix} {percent}% {wide_msg}",
        ),
        false => bar::style(COUNTING, COUNTING),
    });
    bar.set_prefix(job.id.to_string());
    bar.set_length(job.counted.events);
    bar.set_position(if known { job.sent.read_events } else { 0 });
    bar.set_message(message(job));
}

fn message(job: &Job) -> String {
    let counted = thousands(job.counted.events);
    let mut text = match job.state {
        State::Waiting => "waits for its turn".to_owned(),
        State::Counting => format!("counting: {counted} events"),
        _ => format!("{} of {counted} events", thousands(job.sent.read_events)),
    };
    if job.events_per_second > 0.0 {
        text += &format!(", {}/s", thousands(job.events_per_second as u64));
    }
    if let Some(seconds) = job.seconds_left {
        text += &format!(", {} left", span(seconds));
    }
    if let Some(reason) = &job.reason {
        text += &format!("; waits: {}", escape(reason));
    }
    text
}
