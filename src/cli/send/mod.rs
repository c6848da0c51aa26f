//! `stashgate send`

mod batches;
mod input;
mod job;
mod show;
mod summary;

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};

use super::{Exit, Failure, output};
use crate::batch::QueueName;
use crate::client::{Client, Compression};
use batches::Batches;
use input::Input;
use job::{Job, Stop};

/// Send events to a gateway: one JSON object a line, from a file or standard
/// input.
///
/// A gateway that is not there, or full, is waited for. Lines that are not
/// accepted are printed with their numbers; the exit code is 0 only if every
/// line was accepted.
#[derive(Debug, Args)]
pub(super) struct Send {
    /// The file, gzip or not; - for standard input.
    file: PathBuf,
    /// The gateway's gRPC address. Not the admin address, which the other commands
    /// take as --url or STASHGATE_URL.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7171")]
    to: String,
    /// The queue.
    #[arg(long, value_name = "NAME", default_value = QueueName::DEFAULT)]
    queue: QueueName,
    /// Most events in a batch.
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u32).range(1..))]
    batch_events: u32,
    /// Most bytes in a batch; a longer line goes alone.
    #[arg(long, value_name = "SIZE", default_value = "1MiB")]
    batch_bytes: ByteSize,
    /// How batches are compressed on their way.
    #[arg(long, value_enum, default_value_t)]
    compression: Wire,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Wire {
    #[default]
    None,
    Gzip,
    Zstd,
}

impl From<Wire> for Compression {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::None => Self::None,
            Wire::Gzip => Self::Gzip,
            Wire::Zstd => Self::Zstd,
        }
    }
}

impl Send {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Start, error))?;
        let exit = runtime.block_on(self.send());
        // A thread may still wait for standard input; nobody waits for it.
        runtime.shutdown_background();
        exit
    }

    async fn send(self) -> Result<Exit, Failure> {
        let client = Client::builder(&self.to)
            .queue(self.queue.as_str())
            .compression(self.compression.into())
            .connect()
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        let input = Input::open(&self.file).map_err(|error| {
            let what = format!("cannot read {}: {error}", self.file.display());
            Failure::new(Exit::Usage, what)
        })?;
        let bytes = usize::try_from(self.batch_bytes.as_u64()).unwrap_or(usize::MAX);
        let batches = Batches::new(self.batch_events as usize, bytes);
        let mut job = Job::new(client, &self.to, batches, &input);
        let stop = tokio::select! {
            stop = job.run(input) => stop,
            _ = tokio::signal::ctrl_c() => Stop::Interrupted,
        };
        let summary = job.finish(stop).await;
        output::print(if self.json {
            summary.json()
        } else {
            summary.to_string()
        });
        Ok(summary.exit())
    }
}
