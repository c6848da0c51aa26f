//! What `send` shows while it works: a bar on a terminal, lines elsewhere; all
//! on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::output::thousands;
use crate::log::escape;

/// How often a line tells of the progress where there is no bar.
const EVERY: Duration = Duration::from_secs(10);

/// The bar or the lines; clones show on the same.
#[derive(Debug, Clone)]
pub(super) struct Show {
    bar: Option<ProgressBar>,
    started: Instant,
    told: Instant,
}

impl Show {
    /// `length`: bytes of the whole input, if that is known.
    pub(super) fn new(length: Option<u64>) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| bar(length));
        Self {
            bar,
            started: now,
            told: now,
        }
    }

    /// Prints a line beside the progress.
    pub(super) fn say(&self, line: &str) {
        let line = escape(line);
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// `position`: bytes of the input that are answered.
    pub(super) fn progress(&mut self, accepted: u64, position: u64) {
        let rate = accepted as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let text = format!(
            "{} events, {}/s",
            thousands(accepted),
            thousands(rate as u64)
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(position);
                bar.set_message(text);
            }
            None if self.told.elapsed() >= EVERY => {
                self.told = Instant::now();
                eprintln!("{text}");
            }
            None => {}
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (
            ProgressBar::new(length),
            "{bar:30} {bytes}/{total_bytes}  {msg}  ETA {eta}",
        ),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}  {msg}"),
    };
    // The templates are constants; one that did not parse would show the default.
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style)
}
