//! `stashgate hold` and `stashgate resume`

use clap::Args;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::http::{Call, JSON, No, Remote};
use super::{Exit, Failure, output};
use crate::log::escape;

/// Send nothing to an endpoint or from a queue for a while.
///
/// For maintenance: what is on its way is finished, connections close, and the
/// spool fills; `stashgate status` tells for how long there is room. A hold lasts
/// until `stashgate resume`, restarts included.
#[derive(Debug, Args)]
pub(super) struct Hold {
    #[command(flatten)]
    wish: Wish,
}

/// Send again to what is held.
#[derive(Debug, Args)]
pub(super) struct Resume {
    #[command(flatten)]
    wish: Wish,
}

#[derive(Debug, Args)]
struct Wish {
    #[command(flatten)]
    remote: Remote,
    /// A queue, or an endpoint: host:port as configured, or the address and port
    /// behind it as `stashgate status` shows it.
    #[arg(value_name = "QUEUE|ENDPOINT")]
    name: String,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Answer {
    held: Vec<String>,
}

impl Hold {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        self.wish.ask("/api/v1/hold")
    }
}

impl Resume {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        self.wish.ask("/api/v1/resume")
    }
}

impl Wish {
    fn ask(self, path: &str) -> Result<Exit, Failure> {
        let call =
            Call::new(Method::POST, path).with(JSON, json!({ "name": self.name }).to_string());
        let body = self.remote.call(call).map_err(|no| match no {
            No::Refused(StatusCode::NOT_FOUND, words) => Failure::new(Exit::No, words),
            no => self.remote.failure(&no.to_string()),
        })?;
        if self.json {
            output::print(format_args!("{}\n", String::from_utf8_lossy(&body)));
            return Ok(Exit::Done);
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|error| Failure::new(Exit::Unreachable, error))?;
        output::print(match answer.held.is_empty() {
            true => "nothing is held\n".to_owned(),
            false => format!("held: {}\n", escape(&answer.held.join(", "))),
        });
        Ok(Exit::Done)
    }
}
