//! Progress on standard error: a bar on a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use crate::cli::bar;
use crate::cli::output::thousands;
use crate::log::escape;

/// How often progress is told where there is no terminal.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How often the bar moves, also while an answer takes long.
const TICK: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Progress {
    /// `total`: letters to look at, as far as is known.
    pub(super) fn new(total: Option<u64>) -> Self {
        Self {
            bar: bar::on_terminal(of(total)).inspect(|bar| bar.enable_steady_tick(TICK)),
            told: Instant::now(),
        }
    }

    pub(super) fn say(&self, line: &str) {
        let line = escape(line);
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    pub(super) fn show(&mut self, examined: u64, text: &str) {
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
}

/// However the command ends, nothing of the bar stays.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn of(total: Option<u64>) -> ProgressBar {
    match total {
        Some(total) => ProgressBar::new(total).with_style(bar::style(
            "{bar:30} {human_pos}/{human_len}  ETA {eta}  {wide_msg}",
            "{human_pos}/{human_len}  {wide_msg}",
        )),
        None => {
            let template = "{spinner} {human_pos} looked at  {wide_msg}";
            ProgressBar::no_length().with_style(bar::style(template, template))
        }
    }
}
