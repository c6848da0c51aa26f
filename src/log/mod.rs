//! Logs: `tracing` to standard error, as text or JSON.
//!
//! What came from outside (a peer's name, a bad event, an error of another
//! program) may hold control characters that move a terminal's cursor or forge
//! a line. The text form escapes them all; JSON does so by itself.

mod complaints;
mod escape;

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

pub(crate) use complaints::{Complaints, SharedComplaints};
use escape::EscapingWriter;
pub use escape::escape;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// One readable line an entry.
    #[default]
    Text,
    /// One JSON object an entry.
    Json,
}

/// Why logs cannot be written as asked.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not understood.
    #[error(
        "{0:?} is no log level; write error, warn, info, debug, trace, or a filter such as info,stashgate::forwarder=debug"
    )]
    Level(String),
    /// Logs were set up already.
    #[error("logs are already set up")]
    Twice,
}

/// Sets the process's logs up. `level`: a level or a filter as in `RUST_LOG`.
pub fn init(format: Format, level: &str) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(level).map_err(|_| LogError::Level(level.to_owned()))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let done = match format {
        Format::Text => builder
            .with_ansi(false)
            .with_writer(EscapedStderr)
            .try_init(),
        Format::Json => builder.json().with_writer(io::stderr).try_init(),
    };
    done.map_err(|_| LogError::Twice)
}

#[derive(Debug)]
struct EscapedStderr;

impl<'a> MakeWriter<'a> for EscapedStderr {
    type Writer = EscapingWriter<io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapingWriter(io::stderr())
    }
}
