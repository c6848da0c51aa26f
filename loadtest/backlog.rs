//! A long outage: events wait while no Logstash is there, the gateway is killed
//! and started again, then Logstash comes back.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;

use crate::process::{Subject, free_address};
use crate::scenario::{Input, Output, Scenario};
use crate::sink::{SendTimes, Sink};
use crate::subject::{Settings, gateway_command};
use crate::{affinity, confirm, generate, measure};

/// `loadtest backlog`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Events that wait.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// The gateway's program.
    #[arg(long, default_value = "target/release/stashgate")]
    gateway: PathBuf,
}

/// Runs it and prints what it found; an error if an event is missing.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    affinity::move_to(affinity::LOAD);
    let folder = tempfile::tempdir()?;
    let (input, admin, away) = (free_address()?, free_address()?, free_address()?);
    let log = folder.path().join("gateway.log");
    let scenario = scenario(options.events);
    let command = || {
        let settings = Settings::usual(scenario.input, input, admin, away);
        gateway_command(&options.gateway, folder.path(), &settings)
    };
    let times = Arc::new(SendTimes::new(scenario.events, scenario.batch_events));

    let mut gateway = Subject::start(command()?, &log)?;
    gateway.wait_for(input)?;
    let accepted = generate::run(&scenario, input, &times)?.accepted;
    let peak = gateway.usage()?.peak_bytes >> 20;
    println!("{accepted} events wait while nobody listens; the gateway's peak is {peak} MiB");

    gateway.kill()?;
    let (gateway, seconds) = start_again(command()?, &log, input)?;
    println!("killed with SIGKILL; takes events again after {seconds:.2} s");

    let (started, before) = (Instant::now(), gateway.usage()?);
    let sink = Sink::start(away, scenario.events, times)?;
    measure::wait_for_all(&sink, accepted)?;
    let seconds = started.elapsed().as_secs_f64();
    confirm::wait_for_all(admin, accepted)?;
    let after = gateway.usage()?;
    println!(
        "Logstash is back: all of them arrived in {seconds:.1} s, backoff included; \
         {:.3} CPU s a million events; peak {} MiB",
        (after.cpu_seconds - before.cpu_seconds) * 1e6 / accepted as f64,
        after.peak_bytes >> 20,
    );
    println!(
        "missing 0; arrived twice {}; unaccounted 0",
        sink.counts.duplicates()
    );
    ensure!(
        sink.counts.distinct() == accepted,
        "the sink counts otherwise"
    );
    Ok(())
}

fn scenario(events: u64) -> Scenario {
    Scenario {
        name: "backlog".into(),
        input: Input::GrpcStream,
        clients: 4,
        batch_events: 500,
        event_bytes: 300,
        in_flight: 8,
        events: events.div_ceil(2000) * 2000,
        rate: None,
        varied: false,
        output: Output::JsonLines,
        redis: None,
        beside: None,
    }
}

fn start_again(
    command: Command,
    log: &std::path::Path,
    input: SocketAddr,
) -> anyhow::Result<(Subject, f64)> {
    let started = Instant::now();
    let mut gateway = Subject::start(command, log)?;
    gateway.wait_for(input)?;
    Ok((gateway, started.elapsed().as_secs_f64()))
}
