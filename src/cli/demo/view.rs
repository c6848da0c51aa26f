//! The live view: bars on a terminal, a line a second elsewhere.

use std::fmt;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::stand_in::State;
use crate::cli::output::{self, thousands};

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Moment {
    pub(super) accepted: u64,
    pub(super) waiting: u64,
    pub(super) in_hand: u64,
    pub(super) confirmed: u64,
    pub(super) logstash: State,
}

impl Moment {
    fn logstash(&self) -> &'static str {
        match self.logstash {
            State::Running => "running",
            State::Stopping => "stopping: its listener is closed, unread events are lost with it",
            State::Away => "away, being upgraded",
            State::Back => "running again",
        }
    }
}

/// Shows how it goes.
pub(super) enum View {
    Bars(Bars),
    Lines { next: Duration },
}

pub(super) struct Bars {
    accepted: ProgressBar,
    waiting: ProgressBar,
    confirmed: ProgressBar,
    logstash: ProgressBar,
}

impl View {
    pub(super) fn new(events: u64) -> Self {
        if stderr().is_terminal() {
            Self::Bars(Bars::new(events))
        } else {
            Self::Lines {
                next: Duration::ZERO,
            }
        }
    }

    pub(super) fn show(&mut self, at: Duration, moment: &Moment) {
        match self {
            Self::Bars(bars) => bars.show(moment),
            Self::Lines { next } if at >= *next => {
                *next = at + Duration::from_secs(1);
                output::print(format_args!(
                    "{:>4.1} s  accepted {:>11}  waiting {:>11}  confirmed {:>11}  Logstash is {}\n",
                    at.as_secs_f64(),
                    thousands(moment.accepted),
                    thousands(moment.waiting + moment.in_hand),
                    thousands(moment.confirmed),
                    moment.logstash()
                ));
            }
            Self::Lines { .. } => {}
        }
    }

    pub(super) fn finish(self) {
        if let Self::Bars(bars) = self {
            bars.finish();
        }
    }
}

impl Bars {
    fn new(events: u64) -> Self {
        let all = MultiProgress::new();
        let style = |template: &str| {
            ProgressStyle::with_template(template).expect("invariant: the template is well formed")
        };
        let counted =
            style("{prefix:>10} {wide_bar} {human_pos:>11} {rate:>12}").with_key("rate", rate);
        let plain = style("{prefix:>10} {wide_bar} {human_pos:>11}             ");
        let add = |style: ProgressStyle, name: &'static str| {
            all.add(ProgressBar::new(events).with_style(style).with_prefix(name))
        };
        Self {
            accepted: add(counted.clone(), "accepted"),
            waiting: add(plain, "waiting"),
            confirmed: add(counted, "confirmed"),
            logstash: add(style("{prefix:>10} {msg}"), "Logstash"),
        }
    }

    fn show(&self, moment: &Moment) {
        self.accepted.set_position(moment.accepted);
        self.waiting.set_position(moment.waiting + moment.in_hand);
        self.confirmed.set_position(moment.confirmed);
        self.logstash
            .set_message(format!("is {}", moment.logstash()));
    }

    fn finish(&self) {
        for bar in [
            &self.accepted,
            &self.waiting,
            &self.confirmed,
            &self.logstash,
        ] {
            bar.abandon();
        }
    }
}

fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    // Writing to the bar's own text cannot fail.
    let _ = write!(out, "{}/s", thousands(state.per_sec() as u64));
}
