//! The command line: one file a command.

mod bar;
mod check;
mod completions;
mod dead_letters;
mod demo;
mod exit;
mod health;
mod hold;
mod http;
mod interrupt;
mod journal;
mod jq_child;
mod moment;
mod output;
mod replay;
mod run;
mod send;
mod settings;
mod status;

use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use exit::{Exit, Failure};

use crate::log;

/// Durable ingest gateway in front of Logstash.
///
/// Takes batches of JSON events over gRPC, HTTP and TCP, and Beats over lumberjack, makes
/// each batch durable before it answers, and forwards it to Logstash, however long Logstash
/// is away.
#[derive(Debug, Parser)]
#[command(name = "stashgate", version, after_help = exit::TABLE, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct LogArgs {
    /// How logs are written to standard error.
    #[arg(
        long,
        global = true,
        help_heading = "Log",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    log_format: log::Format,
    /// error, warn, info, debug, trace, or a filter such as
    /// info,stashgate::forwarder=debug.
    #[arg(
        long,
        global = true,
        help_heading = "Log",
        env = "RUST_LOG",
        value_name = "LEVEL"
    )]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Status(status::Status),
    Health(health::Health),
    Hold(hold::Hold),
    Resume(hold::Resume),
    Replay(replay::Replay),
    Send(send::Send),
    DeadLetters(dead_letters::DeadLetters),
    Journal(journal::Journal),
    Demo(demo::Demo),
    Completions(completions::Completions),
    #[command(hide = true)]
    JqChild(jq_child::JqChild),
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = start_log(&cli).and_then(|()| run(cli.command));
    let exit = done.unwrap_or_else(|failure| {
        output::complain(&failure.to_string());
        failure.exit
    });
    exit.into()
}

fn run(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(run) => run.run(),
        Command::Journal(journal) => journal.run(),
        Command::Demo(demo) => demo.run(),
        Command::Check(check) => check.run(),
        Command::Status(status) => status.run(),
        Command::Health(health) => health.run(),
        Command::Hold(hold) => hold.run(),
        Command::Resume(resume) => resume.run(),
        Command::Replay(replay) => replay.run(),
        Command::Send(send) => send.run(),
        Command::JqChild(child) => child.run(),
        Command::DeadLetters(letters) => letters.run(),
        Command::Completions(completions) => completions.run(&Cli::command()),
    }
}

/// Only `run` tells of its work unasked: the other commands speak for
/// themselves. hyper warns of every idle connection that it ends, which is
/// nothing to act upon.
fn start_log(cli: &Cli) -> Result<(), Failure> {
    let level = match cli.command {
        Command::Run(_) => "info,hyper=error",
        _ => "error",
    };
    let level = cli.log.log_level.as_deref().unwrap_or(level);
    log::init(cli.log.log_format, level).map_err(|error| Failure::new(Exit::Usage, error))
}
