//! `stashgate health`

use clap::Args;

use super::http::Remote;
use super::{Exit, Failure, output};

/// Ask a running gateway whether it works at all, as a container's health check does.
///
/// Needs no token. An outage of Logstash or Redis is no reason to restart a gateway,
/// so it is healthy all the same.
#[derive(Debug, Args)]
pub(super) struct Health {
    #[command(flatten)]
    remote: Remote,
}

impl Health {
    /// Errors, with the code for "no gateway answers as it should", if it does not work.
    pub(super) fn run(self) -> Result<Exit, Failure> {
        self.remote.get("/healthz")?;
        output::print("healthy\n");
        Ok(Exit::Done)
    }
}
