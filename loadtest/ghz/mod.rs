//! Load by ghz, a load generator for gRPC that this project did not write.
//!
//! Each configuration runs against a gateway and a sink of its own. ghz sends
//! the same payload in every call and no batch id, so the gateway names each
//! batch; every event thereby has an id of its own, and the sink counts ids.

mod ids;
mod report;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use data_encoding::BASE64;
use serde::Deserialize;

use crate::affinity;
use crate::events::Block;
use crate::process::{Subject, free_address};
use crate::scenario::Input;
use crate::subject::{Settings, gateway_command};
use ids::IdSink;
use report::{GhzReport, Row};

/// Where the payloads are written and where ghz writes what it measured.
const WORK: &str = "target/ghz";

/// Bytes of an event, as in the scenarios of our own generator.
const EVENT_BYTES: usize = 300;

/// `loadtest ghz`
#[derive(clap::Subcommand)]
pub(crate) enum Options {
    /// Runs configurations of ghz, each against a fresh gateway and sink.
    Run {
        /// The configurations; none: all of `loadtest/ghz/configs`.
        configs: Vec<PathBuf>,
        /// The program ghz.
        #[arg(long, default_value = "ghz")]
        ghz: PathBuf,
        /// The gateway's program.
        #[arg(long, default_value = "target/release/stashgate")]
        gateway: PathBuf,
        /// Where the results are written; without it they are only printed.
        #[arg(long)]
        results: Option<PathBuf>,
    },
    /// Prints the payload of so many events that the configurations name.
    Payload {
        /// Events in a batch.
        events: usize,
    },
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match options {
        Options::Payload { events } => {
            println!("{}", payload(*events));
            Ok(())
        }
        Options::Run {
            configs,
            ghz,
            gateway,
            results,
        } => run_all(configs, ghz, gateway, results.as_deref()),
    }
}

/// What matters here of a configuration of ghz.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    name: String,
    concurrency: u64,
    /// Messages in a call of a stream.
    #[serde(default = "one")]
    stream_call_count: u64,
    data_file: PathBuf,
    tags: Tags,
}

#[derive(Debug, Deserialize)]
struct Tags {
    batch_events: String,
}

fn one() -> u64 {
    1
}

/// The request as ghz reads it: `ndjson` is bytes, hence base64.
fn payload(events: usize) -> String {
    let mut block = Block::new(events, EVENT_BYTES);
    format!("{{\"ndjson\":\"{}\"}}", BASE64.encode(block.numbered(0)))
}

fn run_all(
    configs: &[PathBuf],
    ghz: &Path,
    gateway: &Path,
    results: Option<&Path>,
) -> anyhow::Result<()> {
    let gateway = gateway
        .canonicalize()
        .with_context(|| format!("{}: build it first", gateway.display()))?;
    // The configurations name files relative to the repository.
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR"))?;
    std::fs::create_dir_all(WORK)?;
    affinity::move_to(affinity::LOAD);
    let configs = match configs {
        [] => all_configs()?,
        some => some.to_vec(),
    };
    let mut rows = Vec::new();
    for path in configs {
        let row = measure(&path, ghz, &gateway).with_context(|| path.display().to_string())?;
        eprintln!("{}: all {} answered events arrived", row.name, row.answered);
        rows.push(row);
    }
    let table = report::table(&rows);
    print!("{table}");
    match results {
        Some(folder) => report::write(&rows, &table, folder),
        None => Ok(()),
    }
}

fn all_configs() -> anyhow::Result<Vec<PathBuf>> {
    let mut files = std::fs::read_dir("loadtest/ghz/configs")?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn measure(path: &Path, ghz: &Path, gateway: &Path) -> anyhow::Result<Row> {
    let config: Config = serde_json::from_slice(&std::fs::read(path)?)?;
    let batch_events: usize = config.tags.batch_events.parse()?;
    std::fs::write(&config.data_file, payload(batch_events))?;

    let folder = tempfile::tempdir()?;
    let sink = IdSink::start()?;
    let grpc = free_address()?;
    let (place, admin) = (folder.path(), free_address()?);
    let settings = Settings::usual(Input::GrpcUnary, grpc, admin, sink.address);
    let command = gateway_command(gateway, place, &settings)?;
    let mut subject = Subject::start(command, &folder.path().join("log"))?;
    subject.wait_for(grpc)?;
    let before = subject.usage()?;
    let ghz_report = call_ghz(ghz, path, &config.name, &grpc.to_string())?;
    let per_call = config.stream_call_count * batch_events as u64;
    let answered = ghz_report.succeeded() * per_call;
    ensure!(answered > 0, "ghz saw no answer: {:?}", ghz_report.errors);
    let arrived = wait_for(&sink, answered)?;
    // Only a call that failed may have stored what ghz saw no answer of.
    ensure!(
        arrived == answered || ghz_report.failed() > 0,
        "{answered} events were answered and {arrived} arrived"
    );
    let cpu_seconds = subject.usage()?.cpu_seconds - before.cpu_seconds;
    Ok(Row {
        name: config.name,
        batch_events,
        concurrency: config.concurrency,
        answered,
        arrived,
        duplicates: sink.duplicates(),
        cpu_seconds,
        ghz: ghz_report,
    })
}

fn call_ghz(ghz: &Path, config: &Path, name: &str, host: &str) -> anyhow::Result<GhzReport> {
    let output = Path::new(WORK).join(format!("{name}.report.json"));
    let status = Command::new(ghz)
        .arg("--config")
        .arg(config)
        .args(["--format", "json", "--output"])
        .arg(&output)
        .arg(host)
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot start {}", ghz.display()))?;
    ensure!(status.success(), "ghz ended with {status}");
    Ok(serde_json::from_slice(&std::fs::read(output)?)?)
}

/// Waits until so many events arrived; how many did.
fn wait_for(sink: &IdSink, events: u64) -> anyhow::Result<u64> {
    let (mut last, mut since) = (0, Instant::now());
    loop {
        let arrived = sink.distinct();
        if arrived >= events {
            return Ok(arrived);
        }
        if arrived != last {
            (last, since) = (arrived, Instant::now());
        }
        if since.elapsed() > Duration::from_secs(30) {
            bail!("{arrived} of {events} answered events arrived, and for 30 s no more");
        }
        thread::sleep(Duration::from_millis(20));
    }
}
