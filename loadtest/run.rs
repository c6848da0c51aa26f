//! One run: each scenario through the gateway and through the baselines.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;

use crate::measure::measure;
use crate::report::{self, Report};
use crate::scenario::{Input, Output, Scenario};
use crate::subject::What;
use crate::{affinity, redis};

/// `loadtest run`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The scenarios; none: all of `loadtest/scenarios`.
    scenarios: Vec<PathBuf>,
    /// How often each is run; the table shows the median and the spread.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// The gateway's program.
    #[arg(long, default_value = "target/release/stashgate")]
    gateway: PathBuf,
    /// Where the results are written; without it they are only printed.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Runs it all and prints the table.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(
        options.gateway.exists(),
        "{} is not there; build it with `cargo build --release`",
        options.gateway.display()
    );
    ensure!(options.repeat > 0, "--repeat must be at least 1");
    let mut report = Report::new(affinity::has_both());
    affinity::move_to(affinity::LOAD);
    let scenarios = scenarios(options)?;
    // Round by round, so that what is compared was measured soon after one another.
    for round in 1..=options.repeat {
        for scenario in &scenarios {
            for what in subjects(scenario) {
                eprintln!(
                    "{} through {} ({round} of {})",
                    scenario.name,
                    what.name(),
                    options.repeat
                );
                let figures = measure(scenario, what, &options.gateway)
                    .with_context(|| format!("{} through {}", scenario.name, what.name()))?;
                report.add(scenario, what, figures);
            }
        }
    }
    print!("{}", report.table());
    if let Some(folder) = &options.results {
        report::write(&report, folder)?;
    }
    Ok(())
}

/// Those that this machine can run.
fn scenarios(options: &Options) -> anyhow::Result<Vec<Scenario>> {
    let files = scenario_files(options)?;
    let mut scenarios = files
        .iter()
        .map(|path| Scenario::read(path))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if !redis::is_installed() {
        scenarios.retain(|scenario| {
            if scenario.redis.is_some() {
                eprintln!(
                    "{}: skipped, because redis-server or redis-benchmark is not installed",
                    scenario.name
                );
            }
            scenario.redis.is_none()
        });
    }
    Ok(scenarios)
}

fn scenario_files(options: &Options) -> anyhow::Result<Vec<PathBuf>> {
    if !options.scenarios.is_empty() {
        return Ok(options.scenarios.clone());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("loadtest/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<_>>()?;
    files.sort();
    Ok(files)
}

/// A relay takes TCP only; the other inputs are held against the same relays.
fn subjects(scenario: &Scenario) -> &'static [What] {
    let is_plain = scenario.input == Input::Tcp && scenario.output == Output::JsonLines;
    if is_plain && scenario.rate.is_none() {
        &[What::Gateway, What::Relay, What::DurableRelay]
    } else {
        &[What::Gateway]
    }
}

/// A quantile in milliseconds.
pub(crate) fn millis(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}
