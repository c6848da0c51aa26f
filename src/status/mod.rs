//! What a gateway says about itself: the form of `/api/v1/status`, the source
//! of the gauges in `/metrics`, and what `stashgate status` shows.

mod rates;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use rates::{Limits, Rates, Sampler};

use crate::batch::UnixMillis;
pub use crate::dead_letter::{DeadLetterStats, PlaceStats};
use crate::replay::Job;
use crate::spool::QueueStats;

/// A gateway, as of now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The release that runs.
    pub version: String,
    /// What it is doing.
    pub state: State,
    /// When it was started.
    pub started_at: UnixMillis,
    /// When this was written.
    pub at: UnixMillis,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// The queues; none while it is starting.
    pub queues: Vec<QueueStatus>,
    /// The Redis that the spool is in, if it is in one.
    pub redis: Option<RedisStatus>,
    /// The dead letters; `None` while it is starting.
    pub dead_letters: Option<DeadLetterStats>,
    /// What is sent again from the archive: all that is not over, and what was last.
    #[serde(default)]
    pub replays: Vec<Job>,
    /// What weakens its promises, and what needs a person.
    pub warnings: Vec<String>,
}

/// What a gateway is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Reading what the last run left; takes nothing yet.
    Starting,
    /// Taking and forwarding batches.
    Running,
    /// A disk operation failed: it forwards what it has, and takes nothing more
    /// into that queue, or keeps no more dead letters.
    Poisoned,
    /// Redis takes no batches, and nothing else does: clients are told to come back.
    Unavailable,
    /// It was told to stop, and finishes what is in hand.
    Draining,
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Poisoned => "poisoned",
            Self::Unavailable => "unavailable",
            Self::Draining => "draining",
        }
    }
}

/// The Redis that the spool is in, as of the last look, some seconds ago.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RedisStatus {
    /// Its URL, without what opens it.
    pub url: String,
    /// Why it did not answer the last time, if it did not.
    pub fault: Option<String>,
    /// The servers that serve the queues.
    pub servers: Vec<RedisServer>,
    /// The connections to each server.
    pub pools: Vec<RedisPool>,
}

/// A server that serves queues.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RedisServer {
    /// Host and port.
    pub address: String,
    /// What it calls itself.
    pub version: String,
    /// How many replicas it has.
    pub replicas: u64,
    /// Memory that counts against its limit, in bytes.
    pub used_memory: u64,
    /// The limit, in bytes, if it has one.
    pub max_memory: Option<u64>,
    /// What a crash of it would cost, in a sentence.
    pub durability: String,
    /// How long it took to answer when it was asked for nothing.
    pub round_trip_seconds: f64,
}

/// The connections to a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisPool {
    /// Host and port.
    pub address: String,
    /// Most connections.
    pub max: usize,
    /// Those that are open.
    pub open: usize,
    /// Those that are in use.
    pub in_use: usize,
    /// How many wait for one.
    pub waiting: usize,
}

/// An address that the gateway listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// `admin`, `grpc`, `http`, `lumberjack`, or `tcp.NAME`.
    pub name: String,
    /// The address, with the port that the system chose if it was 0.
    pub address: SocketAddr,
}

/// A queue and its output, as of now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// What it holds.
    #[serde(flatten)]
    pub stats: QueueStats,
    /// Most bytes it may hold.
    pub max_bytes: u64,
    /// What the ledger leaves over; 0, or events were lost or made.
    pub unaccounted_events: i64,
    /// How fast it fills and drains; `None` in the first seconds.
    pub rates: Option<Rates>,
    /// The addresses it is forwarded to.
    pub endpoints: Vec<Endpoint>,
}

/// One Logstash address, as of now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// `host:port` as configured.
    pub host: String,
    /// The IP address and port behind it, as in the metrics; `host` while its name
    /// has no address.
    pub address: String,
    /// In a word.
    pub state: String,
    /// Since when.
    pub since: UnixMillis,
    /// What went wrong last.
    pub detail: Option<String>,
    /// Events confirmed (or written) through it since the gateway started, or its
    /// output was changed.
    pub confirmed_events: u64,
}
