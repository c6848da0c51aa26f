//! `stashgate run`

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use super::settings::Settings;
use super::{Exit, Failure, output};
use crate::config::Config;
use crate::gateway::{Gateway, Reloaded};
use crate::log::escape;
use crate::shutdown::{Reloads, Signals};
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
///
/// SIGHUP: the configuration is read again, from the same places. Limits, the
/// admin token and outputs change at once; the log says what changed and what
/// needs a restart. A configuration that is wrong changes nothing.
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
        let exit = runtime.block_on(serve(config, &self.settings));
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

async fn serve(config: Config, settings: &Settings) -> Result<Exit, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::new(Exit::Start, error))?;
    let mut reloads = Reloads::listen().map_err(|error| Failure::new(Exit::Start, error))?;
    let outputs = outputs(&config);
    let started = tokio::select! {
        started = Gateway::start(config) => started,
        _ = signals.next() => return Ok(Exit::Done),
    };
    let mut gateway = started.map_err(|error| Failure::new(Exit::Start, error))?;
    output::print(banner(&gateway.status(), &outputs));

    let exit = loop {
        let signal = tokio::select! {
            signal = signals.next() => Some(signal),
            () = gateway.broken() => break Exit::Start,
            () = reloads.next() => tokio::select! {
                signal = signals.next() => Some(signal),
                () = reload(&mut gateway, settings) => None,
            },
        };
        if let Some(signal) = signal {
            tracing::info!(signal, "stopping: finishing what is in hand");
            break Exit::Done;
        }
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

/// Reads the configuration again, and says what came of it.
async fn reload(gateway: &mut Gateway, settings: &Settings) {
    let config = match settings.load() {
        Ok(config) => config,
        Err(failure) => {
            tracing::error!("not reloaded; what was in force stays in force");
            for line in failure.to_string().lines() {
                tracing::error!("{line}");
            }
            return;
        }
    };
    let Reloaded {
        applied,
        needs_restart,
    } = gateway.reload(&config).await;
    for change in &applied {
        tracing::info!("reloaded {change}");
    }
    for change in &needs_restart {
        tracing::warn!("takes effect after a restart: {change}");
    }
    tracing::info!(
        applied = applied.len(),
        needs_restart = needs_restart.len(),
        "the configuration was read again"
    );
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
    let redis = status.redis.iter();
    lines.extend(redis.map(|redis| format!("  spool in Redis at {}", escape(&redis.url))));
    let listener = |l: &Listener| format!("  {} on {}", l.name, l.address);
    lines.extend(status.listeners.iter().map(listener));
    lines.extend(outputs.iter().map(|output| format!("  {output}")));
    let warnings = status.warnings.iter();
    lines.extend(warnings.map(|warning| format!("  warning: {}", escape(warning))));
    lines.join("\n") + "\n"
}
