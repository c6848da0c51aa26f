//! Load tests for stashgate: what does an event cost?
//!
//! One run starts the real gateway on one core and holds the load generator and
//! a counting sink on the other. Beside it run two baselines, relays that do
//! nothing but pass bytes on, so that every figure is a ratio to something
//! measured on the same machine in the same minute.

mod affinity;
mod backlog;
mod confirm;
mod events;
mod frozen;
mod generate;
mod ghz;
mod measure;
mod process;
mod redis;
mod relay;
mod replay;
mod report;
mod run;
mod scenario;
mod sink;
mod subject;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load tests for stashgate.
#[derive(Parser)]
#[command(name = "loadtest")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs scenarios through the gateway and the baselines, prints one table.
    Run(run::Options),
    /// Lets ten million events wait, kills the gateway, drains.
    Backlog(backlog::Options),
    /// Freezes one of three hosts and holds the others against two alone.
    Frozen(frozen::Options),
    /// Replays ten million events behind live traffic, and measures what that loses.
    Replay(replay::Options),
    /// Passes bytes from one TCP port on to another; a baseline.
    Relay(relay::Options),
    /// Counts events that arrive over TCP until it is stopped; for runs by hand.
    Sink {
        /// Where it listens.
        #[arg(long, default_value = "127.0.0.1:5000")]
        listen: std::net::SocketAddr,
        /// The most events that can be told apart.
        #[arg(long, default_value_t = 100_000_000)]
        events: u64,
        /// The most events a second that it takes; 0: as many as come.
        #[arg(long, default_value_t = 0)]
        rate: u64,
    },
    /// Lets ghz send, and checks that what it saw answered has arrived.
    #[command(subcommand)]
    Ghz(ghz::Options),
    /// Sends the events of a scenario to a gateway that runs already.
    Generate {
        /// The scenario.
        scenario: PathBuf,
        /// Where the scenario's receiver listens.
        #[arg(long)]
        to: std::net::SocketAddr,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(options) => run::run(&options),
        Command::Backlog(options) => backlog::run(&options),
        Command::Frozen(options) => frozen::run(&options),
        Command::Relay(options) => relay::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Sink {
            listen,
            events,
            rate,
        } => sink::serve_by_hand(listen, events, rate),
        Command::Ghz(options) => ghz::run(&options),
        Command::Generate { scenario, to } => generate::by_hand(&scenario, to),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
