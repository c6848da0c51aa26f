//! What is sent, and how. One TOML file a scenario.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// A scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Its name in the table.
    pub(crate) name: String,
    /// The receiver that takes the events.
    pub(crate) input: Input,
    /// What the gateway sends to.
    #[serde(default)]
    pub(crate) output: Output,
    /// Connections that send.
    pub(crate) clients: usize,
    /// Events in a batch.
    pub(crate) batch_events: usize,
    /// Bytes of an event, without its line end.
    #[serde(default = "default_event_bytes")]
    pub(crate) event_bytes: usize,
    /// Batches a connection may have unanswered.
    #[serde(default = "default_in_flight")]
    pub(crate) in_flight: usize,
    /// Events in all.
    pub(crate) events: u64,
    /// Events a second, in all; absent: as fast as answers come.
    pub(crate) rate: Option<u64>,
    /// Whether the events of a batch differ by more than their numbers.
    #[serde(default)]
    pub(crate) varied: bool,
    /// Batches wait in a Redis; absent: in the journal.
    pub(crate) redis: Option<Redis>,
    /// Another scenario, whose CPU time this one's is held against.
    pub(crate) beside: Option<String>,
}

/// A Redis that is started for the scenario, and what the gateway is told of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redis {
    /// When Redis syncs its file: `always`, `everysec` or `no`.
    pub(crate) appendfsync: String,
    /// Settings of `[spool.redis]` other than the defaults.
    #[serde(default)]
    pub(crate) settings: toml::Table,
}

fn default_event_bytes() -> usize {
    300
}

fn default_in_flight() -> usize {
    8
}

/// How the events travel to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Input {
    /// `AppendStream`.
    GrpcStream,
    /// `Append`.
    GrpcUnary,
    /// `POST /v1/events`.
    Http,
    /// Newline-delimited JSON.
    Tcp,
}

/// How the events leave the gateway. One sink takes both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Output {
    /// As to Logstash's tcp input, confirmed by close.
    #[default]
    JsonLines,
    /// As to its beats input.
    Lumberjack,
}

impl Output {
    /// As a setting.
    pub(crate) fn protocol(self) -> &'static str {
        match self {
            Self::JsonLines => "json_lines",
            Self::Lumberjack => "lumberjack",
        }
    }
}

impl Scenario {
    /// Reads a scenario from its file.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the scenario {}", path.display()))?;
        let mut scenario: Self =
            toml::from_str(&text).with_context(|| format!("{} is no scenario", path.display()))?;
        // Whole batches only, the same number for each client.
        let step = (scenario.batch_events * scenario.clients) as u64;
        scenario.events = scenario.events.div_ceil(step) * step;
        Ok(scenario)
    }

    /// Batches that each client sends.
    pub(crate) fn batches_per_client(&self) -> u64 {
        self.events / (self.batch_events * self.clients) as u64
    }
}
