//! One of three hosts freezes while more waits than they take: what the other two still
//! get, held against what two hosts get where there is no third. Every host is a
//! process that takes no more than a given rate, so that the hosts are what limits.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use rustix::process::Signal;

use crate::process::{Subject, free_address};
use crate::scenario::{Input, Output, Scenario};
use crate::sink::SendTimes;
use crate::subject::{Settings, gateway_command};
use crate::{affinity, confirm, generate};

/// From the first event until the freeze.
const BEFORE: Duration = Duration::from_secs(3);

/// From the freeze until it is measured: how much is on its way to a host, and so how
/// far confirmations are behind, settles with the load.
const SETTLING: Duration = Duration::from_secs(5);

/// `loadtest frozen`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Events a second that a host takes.
    #[arg(long, default_value_t = 8_000)]
    rate: u64,
    /// For how many seconds it is measured: long, as `json_lines` confirms in bursts.
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// How often; the kinds take turns.
    #[arg(long, default_value_t = 2)]
    repeat: usize,
    /// The gateway's program.
    #[arg(long, default_value = "target/release/stashgate")]
    gateway: PathBuf,
}

/// Prints what it found; an error if the two get less than 90 % of what two get alone.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    affinity::move_to(affinity::LOAD);
    let mut slowest = f64::INFINITY;
    for output in [Output::Lumberjack, Output::JsonLines] {
        for round in 1..=options.repeat {
            let two = confirmed_a_second(options, output, 2)?;
            let beside_a_frozen_one = confirmed_a_second(options, output, 3)?;
            let ratio = beside_a_frozen_one / two;
            slowest = slowest.min(ratio);
            println!(
                "{}, {round} of {}: two hosts {two:.0} events/s, two beside a frozen one \
                 {beside_a_frozen_one:.0} events/s: {ratio:.3}",
                output.protocol(),
                options.repeat,
            );
        }
    }
    ensure!(slowest >= 0.9, "a frozen host slows the others down");
    Ok(())
}

/// With three hosts the last one freezes.
fn confirmed_a_second(options: &Options, output: Output, hosts: usize) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let scenario = scenario(options, output);
    let addresses = (0..hosts).map(|_| free_address());
    let addresses = addresses.collect::<anyhow::Result<Vec<_>>>()?;
    let sinks = addresses
        .iter()
        .map(|address| start_sink(*address, options, &scenario, folder.path()));
    let sinks = sinks.collect::<anyhow::Result<Vec<_>>>()?;

    let (input, admin) = (free_address()?, free_address()?);
    let settings = Settings {
        output,
        ..Settings::usual(scenario.input, input, admin, addresses[0])
    };
    let mut command = gateway_command(&options.gateway, folder.path(), &settings)?;
    let hosts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    command.env(
        "STASHGATE__QUEUES__LOGSTASH__OUTPUT__HOSTS",
        hosts.join(","),
    );
    let mut gateway = Subject::start(command, &folder.path().join("gateway.log"))?;
    gateway.wait_for(input)?;

    let times = Arc::new(SendTimes::new(scenario.events, scenario.batch_events));
    let load = thread::spawn(move || generate::run(&scenario, input, &times));
    thread::sleep(BEFORE);
    if let Some(third) = sinks.get(2) {
        third.signal(Signal::STOP)?;
    }
    thread::sleep(SETTLING);
    let (before, from) = (confirm::confirmed(admin)?, Instant::now());
    thread::sleep(Duration::from_secs(options.seconds));
    let (after, seconds) = (confirm::confirmed(admin)?, from.elapsed().as_secs_f64());
    load.join().expect("the load does not panic")?;
    // What still waits does not matter here.
    gateway.kill()?;
    for sink in sinks {
        sink.kill()?;
    }
    Ok((after - before) as f64 / seconds)
}

/// Half as much again as two hosts take.
fn scenario(options: &Options, output: Output) -> Scenario {
    let rate = options.rate * 3;
    Scenario {
        name: "frozen".into(),
        input: Input::GrpcStream,
        clients: 2,
        batch_events: 500,
        event_bytes: 300,
        in_flight: 8,
        events: (rate * ((BEFORE + SETTLING).as_secs() + options.seconds)).div_ceil(1000) * 1000,
        rate: Some(rate),
        varied: false,
        output,
        redis: None,
        beside: None,
    }
}

fn start_sink(
    listen: SocketAddr,
    options: &Options,
    scenario: &Scenario,
    folder: &Path,
) -> anyhow::Result<Subject> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("sink").arg("--listen").arg(listen.to_string());
    command.arg("--events").arg(scenario.events.to_string());
    command.arg("--rate").arg(options.rate.to_string());
    let log = folder.join(format!("sink-{}.log", listen.port()));
    let mut sink = Subject::start_on(affinity::LOAD, command, &log)?;
    sink.wait_for(listen)?;
    Ok(sink)
}
