//! A replay behind live traffic: what live answers lose by it. As many rounds as fit into
//! a whole replay, and then as many without, in one gateway, at the same fixed rate.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::process::{Subject, free_address};
use crate::run::millis;
use crate::scenario::{Input, Output, Scenario};
use crate::sink::{SendTimes, Sink};
use crate::subject::{Settings, gateway_command};
use crate::{affinity, confirm, generate, measure};

/// `loadtest replay`
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Events that were delivered, and are replayed.
    #[arg(long, default_value_t = 10_000_000)]
    events: u64,
    /// Live events a second.
    #[arg(long, default_value_t = 50_000)]
    rate: u64,
    /// How long a round lasts; a replay has to last longer.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many replays.
    #[arg(long, default_value_t = 2)]
    repeat: usize,
    /// The gateway's program.
    #[arg(long, default_value = "target/release/stashgate")]
    gateway: PathBuf,
}

/// Prints what it found; an error if live answers are more than a quarter slower.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    affinity::move_to(affinity::LOAD);
    let folder = tempfile::tempdir()?;
    let (input, admin) = (free_address()?, free_address()?);
    let past = scenario(options.events, None);
    let times = Arc::new(SendTimes::new(past.events, past.batch_events));
    let sink = Sink::start(([127, 0, 0, 1], 0).into(), past.events, Arc::clone(&times))?;
    let settings = Settings::usual(past.input, input, admin, sink.address);
    let mut command = gateway_command(&options.gateway, folder.path(), &settings)?;
    // The archive has to outlive what replays add to it.
    command.env("STASHGATE__SPOOL__MAX_BYTES", "60GiB");
    command.env("STASHGATE__QUEUES__LOGSTASH__MAX_BYTES", "60GiB");
    let mut gateway = Subject::start(command, &folder.path().join("gateway.log"))?;
    gateway.wait_for(input)?;
    let accepted = generate::run(&past, input, &times)?.accepted;
    measure::wait_for_all(&sink, accepted)?;
    confirm::wait_for_all(admin, accepted)?;
    println!("{accepted} events are in the archive");
    let until = stashgate::batch::UnixMillis::now();

    let live = scenario(options.rate * options.seconds, Some(options.rate));
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for replay in 1..=options.repeat {
        let with = beside_one(&live, (input, admin), until)?;
        for slowest in with {
            let without = p99(&live, input)?;
            println!(
                "replay {replay}: live p99 {slowest:.2} ms beside it, {without:.2} ms after it"
            );
            beside.push(slowest);
            alone.push(without);
        }
    }
    let ratio = median(&mut beside) / median(&mut alone);
    println!("median p99 beside a replay over that without: {ratio:.2}");
    gateway.kill()?;
    ensure!(
        ratio <= 1.25,
        "a replay slows live answers by more than a quarter"
    );
    Ok(())
}

fn scenario(events: u64, rate: Option<u64>) -> Scenario {
    Scenario {
        name: "replay".into(),
        input: Input::GrpcStream,
        clients: 4,
        batch_events: 500,
        event_bytes: 300,
        in_flight: 8,
        events: events.div_ceil(2000) * 2000,
        rate,
        varied: false,
        output: Output::JsonLines,
        redis: None,
        beside: None,
    }
}

/// The p99 of live answers, in milliseconds.
fn p99(live: &Scenario, input: SocketAddr) -> anyhow::Result<f64> {
    let times = Arc::new(SendTimes::new(live.events, live.batch_events));
    Ok(millis(&generate::run(live, input, &times)?.latency, 0.99))
}

/// The p99 of each round that a whole replay was beside.
fn beside_one(
    live: &Scenario,
    (input, admin): (SocketAddr, SocketAddr),
    until: stashgate::batch::UnixMillis,
) -> anyhow::Result<Vec<f64>> {
    let begun = Instant::now();
    let id = begin(admin, until)?;
    let mut rounds = Vec::new();
    let ended = loop {
        let slowest = p99(live, input)?;
        let now = job(admin, id)?;
        if now["state"] != "running" {
            // Only a part of this round had it beside.
            break now;
        }
        rounds.push(slowest);
    };
    ensure!(ended["state"] == "done", "the replay is not done: {ended}");
    ensure!(
        !rounds.is_empty(),
        "the replay was over before the first round"
    );
    let (events, seconds) = (events_of(&ended), begun.elapsed().as_secs());
    println!("{events} events were replayed in less than {seconds} s");
    Ok(rounds)
}

/// Begins a replay of all that was accepted before `until`; returns when it sends.
fn begin(admin: SocketAddr, until: stashgate::batch::UnixMillis) -> anyhow::Result<u64> {
    let begun = ask(admin, "POST", "/api/v1/replays", &json!({ "to": until }))?;
    let id = begun["id"].as_u64().context("a replay has a number")?;
    while events_of(&job(admin, id)?) == 0 {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(id)
}

fn job(admin: SocketAddr, id: u64) -> anyhow::Result<Value> {
    ask(admin, "GET", &format!("/api/v1/replays/{id}"), &Value::Null)
}

fn events_of(job: &Value) -> u64 {
    job["sent"]["events"].as_u64().unwrap_or(0)
}

fn ask(admin: SocketAddr, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
    let mut socket = TcpStream::connect(admin)?;
    let body = body.to_string();
    write!(
        socket,
        "{method} {path} HTTP/1.0\r\nhost: {admin}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("a whole answer")?;
    ensure!(head.contains(" 200 "), "{method} {path}: {answer}");
    Ok(serde_json::from_str(body)?)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
