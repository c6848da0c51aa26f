//! Looks on while the gateway works: a bar on a terminal, nothing elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::http::Remote;
use crate::cli::output::{span, thousands};
use crate::cli::{Exit, Failure};
use crate::log::escape;
use crate::replay::{Job, State};
use crate::shutdown::Signals;

/// How often the gateway is asked.
const EVERY: Duration = Duration::from_millis(300);
/// How long a gateway may take to come back: a replay outlives its restart.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the looking on ended.
pub(super) enum Left {
    /// Nothing more happens by itself.
    Ended(Job),
    /// Somebody had enough of it; it goes on.
    Interrupted(Job),
}

/// Looks on until nothing more happens with `job`, or Ctrl-C.
pub(super) fn watch(remote: &Remote, mut job: Job, quietly: bool) -> Result<Left, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::No, error))?;
    let listening = runtime.block_on(async { Signals::listen() });
    let mut signals = listening.map_err(|error| Failure::new(Exit::No, error))?;
    let bar = (!quietly && std::io::stderr().is_terminal()).then(bar);
    let mut answered = Instant::now();
    while !job.state.rests() {
        if let Some(bar) = &bar {
            show(bar, &job);
        }
        if runtime.block_on(interrupted(&mut signals)) {
            clear(bar);
            return Ok(Left::Interrupted(job));
        }
        match super::get(remote, &format!("/{}", job.id)) {
            Ok(body) => {
                job = super::read(&body)?;
                answered = Instant::now();
            }
            Err(failure) if failure.exit == Exit::Unreachable && answered.elapsed() < PATIENCE => {
                if let Some(bar) = &bar {
                    bar.set_message("the gateway does not answer; waiting for it");
                }
            }
            Err(failure) => {
                clear(bar);
                return Err(failure);
            }
        }
    }
    clear(bar);
    Ok(Left::Ended(job))
}

/// Waits until it is time to ask again. Whether Ctrl-C came first.
async fn interrupted(signals: &mut Signals) -> bool {
    tokio::time::timeout(EVERY, signals.next()).await.is_ok()
}

fn bar() -> ProgressBar {
    ProgressBar::new(0).with_style(ProgressStyle::default_bar())
}

fn clear(bar: Option<ProgressBar>) {
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn show(bar: &ProgressBar, job: &Job) {
    let known = job.state == State::Running;
    let template = match known {
        true => "replay {prefix} {bar:30} {percent}% {msg}",
        false => "replay {prefix} {spinner} {msg}",
    };
    // The templates are constant; a wrong one would show the default.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
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
