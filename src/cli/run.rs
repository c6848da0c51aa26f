//! `stashgate run`

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use super::settings::Settings;
use super::{Exit, Failure, output};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::log::escape;
use crate::shutdown::Signals;
use crate::status::{Listener, Status};

/// Run the gateway.
///
/// Needs no configuration: with none it keeps its journal in ./stashgate-data,
/// forwards to Logstash at 127.0.0.1:5000 and listens on loopback only. A
/// Logstash that is not there is waited for.
///
/// SIGTERM or SIGINT: new work is refused, what is in hand is finished, exit 0
/// within 25 seconds. A second signal ends it at once; nothing that was answered
/// is lost.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    settings: Settings,
}

impl Run {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let config = self.settings.load()?;
        raise_open_files();
        let runtime = runtime()?;
        let exit = runtime.block_on(serve(config));
        // A thread that hangs on the disk does not hold the end up.
        runtime.shutdown_background();
        exit
    }
}

/// A runtime with a thread for each core.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Start, format!("cannot start threads: {error}")))
}

async fn serve(config: Config) -> Result<Exit, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::new(Exit::Start, error))?;
    let outputs = outputs(&config);
    let started = tokio::select! {
        started = Gateway::start(config) => started,
        _ = signals.next() => return Ok(Exit::Done),
    };
    let gateway = started.map_err(|error| Failure::new(Exit::Start, error))?;
    output::print(banner(&gateway.status(), &outputs));

    let exit = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping: finishing what is in hand");
            Exit::Done
        }
        () = gateway.broken() => Exit::Start,
    };
    tokio::select! {
        () = gateway.stop() => {
            tracing::info!("stopped");
            Ok(exit)
        }
        signal = signals.next() => {
            tracing::warn!(signal, "stopped at once; what was in hand is sent again after the next start");
            Ok(Exit::Forced)
        }
    }
}

/// Each connection is a file; the usual soft limit of 1024 is for programs that
/// use `select`.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

fn outputs(config: &Config) -> Vec<String> {
    let queues = config.queues.iter();
    queues
        .map(|(name, queue)| {
            let output = &queue.output;
            format!("queue {name} -> {}", escape(&output.hosts.join(", ")))
        })
        .collect()
}

fn banner(status: &Status, outputs: &[String]) -> String {
    let mut lines = vec![
        format!("stashgate {}", status.version),
        format!("  data in {}", escape(&status.data_dir.to_string_lossy())),
    ];
    let listener = |l: &Listener| format!("  {} on {}", l.name, l.address);
    lines.extend(status.listeners.iter().map(listener));
    lines.extend(outputs.iter().map(|output| format!("  {output}")));
    let warnings = status.warnings.iter();
    lines.extend(warnings.map(|warning| format!("  warning: {}", escape(warning))));
    lines.join("\n") + "\n"
}
