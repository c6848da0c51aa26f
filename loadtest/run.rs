//! One run: each scenario through the gateway and through the baselines.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;

use crate::process::{Subject, Usage, free_address, machine_cpu_seconds, own_cpu_seconds};
use crate::report::{self, Figures, Report};
use crate::scenario::{Input, Scenario};
use crate::sink::{SendTimes, Sink};
use crate::{affinity, generate};

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
    for path in scenario_files(options)? {
        let scenario = Scenario::read(&path)?;
        for round in 1..=options.repeat {
            for what in subjects(&scenario) {
                eprintln!(
                    "{} through {} ({round} of {})",
                    scenario.name,
                    what.name(),
                    options.repeat
                );
                let figures = measure(&scenario, what, &options.gateway)
                    .with_context(|| format!("{} through {}", scenario.name, what.name()))?;
                report.add(&scenario, what, figures);
            }
        }
    }
    print!("{}", report.table());
    if let Some(folder) = &options.results {
        report::write(&report, folder)?;
    }
    Ok(())
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

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// stashgate.
    Gateway,
    /// The relay that only passes on.
    Relay,
    /// The relay that syncs a file first.
    DurableRelay,
}

impl What {
    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Relay => "relay",
            Self::DurableRelay => "relay that syncs",
        }
    }
}

/// A relay takes TCP only; the other inputs are held against the same relays.
fn subjects(scenario: &Scenario) -> &'static [What] {
    if scenario.input == Input::Tcp && scenario.rate.is_none() {
        &[What::Gateway, What::Relay, What::DurableRelay]
    } else {
        &[What::Gateway]
    }
}

fn measure(scenario: &Scenario, what: &What, gateway: &Path) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir()?;
    let times = Arc::new(SendTimes::new(scenario.events, scenario.batch_events));
    let sink = Sink::start(
        ([127, 0, 0, 1], 0).into(),
        scenario.events,
        Arc::clone(&times),
    )?;
    let input = free_address()?;
    let log = folder.path().join("subject.log");
    let command = match what {
        What::Gateway => {
            gateway_command(gateway, folder.path(), scenario.input, input, sink.address)?
        }
        What::Relay => relay_command(input, sink.address, None)?,
        What::DurableRelay => {
            relay_command(input, sink.address, Some(&folder.path().join("relay.data")))?
        }
    };
    let mut subject = Subject::start(command, &log)?;
    let before = measure_from(&mut subject, input).with_context(|| {
        format!(
            "its messages: {}",
            std::fs::read_to_string(&log).unwrap_or_default()
        )
    })?;
    let (others, own) = (machine_cpu_seconds(), own_cpu_seconds());
    let started = Instant::now();
    let answers = generate::run(scenario, input, &times)?;
    wait_for_all(&sink, answers.accepted)?;
    let seconds = started.elapsed().as_secs_f64();
    let after = subject.usage()?;
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    let used_by_us = own_cpu_seconds() - own + cpu_seconds;
    let others = (machine_cpu_seconds() - others - used_by_us).max(0.0);
    Ok(Figures {
        events: answers.accepted,
        seconds,
        cpu_seconds,
        peak_bytes: after.peak_bytes,
        answers: answers.latency,
        arrivals: sink.arrivals(),
        duplicates: sink.counts.duplicates(),
        missing: answers.accepted.saturating_sub(sink.counts.distinct()),
        others_cpu_share: others / seconds,
    })
}

fn measure_from(subject: &mut Subject, input: SocketAddr) -> anyhow::Result<Usage> {
    subject.wait_for(input)?;
    // What starting cost is not what an event costs.
    thread::sleep(Duration::from_millis(500));
    subject.usage()
}

fn wait_for_all(sink: &Sink, events: u64) -> anyhow::Result<()> {
    let (mut last, mut since) = (0, Instant::now());
    while sink.counts.distinct() < events {
        if sink.counts.distinct() != last {
            (last, since) = (sink.counts.distinct(), Instant::now());
        }
        if since.elapsed() > Duration::from_secs(30) {
            bail!("{last} of {events} events arrived, and for 30 s no more");
        }
        thread::sleep(Duration::from_millis(5));
    }
    ensure!(
        sink.counts.strange() == 0,
        "{} lines had no number",
        sink.counts.strange()
    );
    Ok(())
}

/// The gateway as anybody would run it: only addresses and folder are set.
pub(crate) fn gateway_command(
    program: &Path,
    folder: &Path,
    input: Input,
    listen: SocketAddr,
    sink: SocketAddr,
) -> anyhow::Result<Command> {
    let unused = free_address;
    let at = |wanted: &[Input]| {
        if wanted.contains(&input) {
            Ok(listen)
        } else {
            unused()
        }
    };
    let config = format!(
        "data_dir = {:?}\n\
         [receivers.grpc]\nlisten = \"{}\"\n\
         [receivers.http]\nlisten = \"{}\"\n\
         [receivers.tcp.default]\nlisten = \"{}\"\n\
         [admin]\nlisten = \"{}\"\n\
         [queues.logstash.output]\nprotocol = \"json_lines\"\nhosts = [\"{sink}\"]\n",
        folder.join("data"),
        at(&[Input::GrpcStream, Input::GrpcUnary])?,
        at(&[Input::Http])?,
        at(&[Input::Tcp])?,
        unused()?,
    );
    let file = folder.join("stashgate.toml");
    std::fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(file);
    Ok(command)
}

fn relay_command(
    listen: SocketAddr,
    to: SocketAddr,
    file: Option<&Path>,
) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("relay")
        .arg("--listen")
        .arg(listen.to_string())
        .arg("--to")
        .arg(to.to_string());
    if let Some(file) = file {
        command.arg("--file").arg(file);
    }
    Ok(command)
}

/// A quantile in milliseconds.
pub(crate) fn millis(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}
