//! What a run found: a table for people, JSON for programs, a picture.

mod picture;
mod redis;

use std::fmt::Write as _;
use std::path::Path;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::confirm::Confirmations;
use crate::redis::RedisFigures;
use crate::run::millis;
use crate::scenario::{Input, Scenario};
use crate::subject::What;

/// Above this share of a core, used by others during a run, its figures are not
/// to be trusted.
const BUSY_SHARE: f64 = 0.10;

/// What one round of one scenario gave.
pub(crate) struct Figures {
    pub(crate) events: u64,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
    pub(crate) answers: Histogram<u64>,
    pub(crate) arrivals: Histogram<u64>,
    pub(crate) confirmed: Option<Confirmations>,
    pub(crate) duplicates: u64,
    pub(crate) missing: u64,
    pub(crate) others_cpu_share: f64,
    pub(crate) redis: Option<RedisFigures>,
}

impl Figures {
    fn cpu_micros_per_event(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.events as f64
    }
}

/// All rounds of all scenarios.
pub(crate) struct Report {
    both_cores: bool,
    rows: Vec<Row>,
}

struct Row {
    scenario: Scenario,
    what: What,
    rounds: Vec<Figures>,
}

/// A row of the table: the medians of its rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) scenario: String,
    pub(crate) subject: &'static str,
    pub(crate) events_per_second: f64,
    pub(crate) megabytes_per_second: f64,
    pub(crate) cpu_seconds_per_million_events: f64,
    /// Largest less smallest, over the median.
    pub(crate) cpu_spread: f64,
    /// What the subject could do with a whole core of CPU.
    pub(crate) events_per_cpu_second: f64,
    pub(crate) peak_mebibytes: f64,
    /// From due time to answer; absent for TCP, which has none.
    pub(crate) answer_millis: Option<Quantiles>,
    /// From due time to the sink.
    pub(crate) arrival_millis: Quantiles,
    /// From acceptance to confirmation: at most so long; p50 and p99.
    pub(crate) confirm_millis: Option<(f64, f64)>,
    pub(crate) duplicates: u64,
    pub(crate) missing: u64,
    /// CPU per event over that of the relays, of the same run.
    pub(crate) ratio_to_relay: Option<f64>,
    pub(crate) ratio_to_relay_that_syncs: Option<f64>,
    /// The name of another scenario, and the CPU per event over that one's.
    pub(crate) ratio_beside: Option<(String, f64)>,
    /// What Redis had to do for it.
    pub(crate) redis: Option<redis::Summary>,
    /// The largest share of a core that other programs took during a round.
    pub(crate) others_cpu_share: f64,
}

/// In milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Quantiles {
    fn of(rounds: &[Figures], which: impl Fn(&Figures) -> &Histogram<u64>) -> Self {
        let at = |quantile| median(rounds.iter().map(|round| millis(which(round), quantile)));
        Self {
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl Report {
    /// An empty report. `both_cores`: whether subject and load had a core each.
    pub(crate) fn new(both_cores: bool) -> Self {
        Self {
            both_cores,
            rows: Vec::new(),
        }
    }

    /// Adds a round.
    pub(crate) fn add(&mut self, scenario: &Scenario, what: &What, figures: Figures) {
        let row = self
            .rows
            .iter_mut()
            .find(|r| r.what == *what && r.scenario.name == scenario.name);
        match row {
            Some(row) => row.rounds.push(figures),
            None => self.rows.push(Row {
                scenario: scenario.clone(),
                what: *what,
                rounds: vec![figures],
            }),
        }
    }

    /// One summary a row.
    pub(crate) fn summaries(&self) -> Vec<Summary> {
        let relay = self.cpu_of(What::Relay);
        let durable = self.cpu_of(What::DurableRelay);
        self.rows
            .iter()
            .map(|row| {
                let mut summary = row.summary(relay, durable);
                summary.ratio_beside = self.ratio_beside(row);
                summary
            })
            .collect()
    }

    fn ratio_beside(&self, row: &Row) -> Option<(String, f64)> {
        let name = row.scenario.beside.as_ref()?;
        let mut rows = self.rows.iter();
        let other = rows.find(|r| r.what == row.what && r.scenario.name == *name)?;
        Some((name.clone(), row.cpu() / other.cpu()))
    }

    fn cpu_of(&self, what: What) -> Option<f64> {
        self.rows.iter().find(|row| row.what == what).map(Row::cpu)
    }

    /// The table, and what is to be said about its worth.
    pub(crate) fn table(&self) -> String {
        let mut out = String::from("\n");
        line(&mut out, &HEAD.map(String::from));
        for row in self.summaries() {
            line(&mut out, &row.cells());
        }
        for row in self.summaries() {
            if let Some((other, ratio)) = &row.ratio_beside {
                let name = &row.scenario;
                let _ = writeln!(out, "{name}: {ratio:.2} times the CPU time of {other}");
            }
        }
        redis::table(&self.summaries(), &mut out);
        self.warn(&mut out);
        out
    }

    fn warn(&self, out: &mut String) {
        let summaries = self.summaries();
        let missing: u64 = summaries.iter().map(|row| row.missing).sum();
        let duplicates: u64 = summaries.iter().map(|row| row.duplicates).sum();
        let _ = writeln!(
            out,
            "\nmissing at the sink: {missing}; arrived twice: {duplicates}"
        );
        if !self.both_cores {
            out.push_str("NOT TO BE TRUSTED: this machine gives no two cores; subject and load shared one.\n");
        }
        let busiest = summaries
            .iter()
            .map(|row| row.others_cpu_share)
            .fold(0.0, f64::max);
        if busiest > BUSY_SHARE {
            let _ = writeln!(
                out,
                "NOT TO BE TRUSTED: other programs took up to {:.0} % of a core during a round.",
                busiest * 100.0
            );
        }
    }
}

/// The columns and how wide they are.
const HEAD: [&str; 12] = [
    "scenario",
    "through",
    "events/s",
    "MB/s",
    "CPU s/M",
    "spread",
    "peak MiB",
    "answer p50/p99/p99.9 ms",
    "arrival p50/p99/p99.9 ms",
    "confirm p50/p99 ms <=",
    "/relay",
    "/synced",
];
const WIDTH: [usize; 12] = [30, 16, 9, 7, 7, 6, 8, 23, 24, 21, 6, 7];

fn line(out: &mut String, cells: &[String; 12]) {
    for (i, (cell, width)) in cells.iter().zip(WIDTH).enumerate() {
        // Words to the left, figures to the right.
        let _ = match i {
            0 | 1 => write!(out, "{cell:<width$} "),
            _ => write!(out, "{cell:>width$} "),
        };
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
}

impl Summary {
    fn cells(&self) -> [String; 12] {
        let none = || "-".to_owned();
        let ratio = |ratio: Option<f64>| ratio.map_or_else(none, |r| format!("{r:.2}"));
        let three = |q: &Quantiles| format!("{:.1}/{:.1}/{:.1}", q.p50, q.p99, q.p999);
        [
            self.scenario.clone(),
            self.subject.to_owned(),
            format!("{:.0}", self.events_per_second),
            format!("{:.1}", self.megabytes_per_second),
            format!("{:.3}", self.cpu_seconds_per_million_events),
            format!("{:.0}%", self.cpu_spread * 100.0),
            format!("{:.1}", self.peak_mebibytes),
            self.answer_millis.as_ref().map_or_else(none, three),
            three(&self.arrival_millis),
            self.confirm_millis
                .map_or_else(none, |(p50, p99)| format!("{p50:.0}/{p99:.0}")),
            ratio(self.ratio_to_relay),
            ratio(self.ratio_to_relay_that_syncs),
        ]
    }
}

impl Row {
    fn cpu(&self) -> f64 {
        median(self.rounds.iter().map(Figures::cpu_micros_per_event))
    }

    /// The medians of the rounds.
    fn confirmations(&self) -> Option<(f64, f64)> {
        let known = || self.rounds.iter().filter_map(|r| r.confirmed.as_ref());
        let at = |quantile| median(known().map(|c| c.millis_at_most(quantile)));
        known().next().map(|_| (at(0.5), at(0.99)))
    }

    fn summary(&self, relay: Option<f64>, durable: Option<f64>) -> Summary {
        let rounds = &self.rounds;
        let cpu = self.cpu();
        let cpus = || rounds.iter().map(Figures::cpu_micros_per_event);
        let spread = cpus().fold(0.0, f64::max) - cpus().fold(f64::MAX, f64::min);
        let rate = median(
            rounds
                .iter()
                .map(|round| round.events as f64 / round.seconds),
        );
        let answered = self.what == What::Gateway && self.scenario.input != Input::Tcp;
        Summary {
            scenario: self.scenario.name.clone(),
            subject: self.what.name(),
            events_per_second: rate,
            megabytes_per_second: rate * self.scenario.event_bytes as f64 / 1e6,
            cpu_seconds_per_million_events: cpu,
            cpu_spread: spread / cpu,
            events_per_cpu_second: 1e6 / cpu,
            peak_mebibytes: rounds.iter().map(|r| r.peak_bytes).max().unwrap_or(0) as f64
                / f64::from(1 << 20),
            answer_millis: answered.then(|| Quantiles::of(rounds, |round| &round.answers)),
            arrival_millis: Quantiles::of(rounds, |round| &round.arrivals),
            confirm_millis: self.confirmations(),
            duplicates: rounds.iter().map(|round| round.duplicates).sum(),
            missing: rounds.iter().map(|round| round.missing).sum(),
            ratio_to_relay: relay.map(|relay| cpu / relay),
            ratio_to_relay_that_syncs: durable.map(|durable| cpu / durable),
            ratio_beside: None,
            redis: redis::Summary::of(rounds),
            others_cpu_share: rounds
                .iter()
                .map(|r| r.others_cpu_share)
                .fold(0.0, f64::max),
        }
    }
}

/// Writes `results.json`, `results.txt` and `results.svg` into `folder`.
pub(crate) fn write(report: &Report, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let summaries = report.summaries();
    std::fs::write(
        folder.join("results.json"),
        serde_json::to_vec_pretty(&summaries)?,
    )?;
    std::fs::write(folder.join("results.txt"), report.table())?;
    std::fs::write(folder.join("results.svg"), picture::bars(&summaries))?;
    println!("written to {}", folder.display());
    Ok(())
}
