//! Every setting: parsed, checked, documented once.
//!
//! A setting comes from the file, else from the environment, else from a flag;
//! what comes later wins (`load`). A key that does not exist is an error that
//! names the nearest one that does (`schema`); what fits together badly is an
//! error that says what to do (`check`); what works but is weaker than it could
//! be is said at start (`weakness`). What a reload changes is told by `diff`.

mod check;
mod check_redis;
mod diff;
mod http_output;
mod listeners;
mod load;
mod place;
mod redis;
mod schema;
mod units;
mod weakness;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::batch::QueueName;
use crate::spool::journal::Sync;
use crate::tls;

pub(crate) use check::split_host;
pub use diff::Change;
pub use http_output::HttpOutput;
pub use listeners::{Listener, ListenerKind};
pub use load::{ConfigError, Origin, Problem, Sources};
pub use place::{fleeting, nearest_existing};
pub use redis::{Redis, RedisUrl};
pub use units::{Compression, Secret};

/// The whole configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the gateway keeps what must outlive it.
    pub data_dir: PathBuf,
    /// Who takes batches.
    pub receivers: Receivers,
    /// Status, metrics, health.
    pub admin: Admin,
    /// What a batch may measure.
    pub limits: Limits,
    /// Where batches wait.
    pub spool: Spool,
    /// How long settled batches are kept.
    pub archive: Archive,
    /// What becomes of events that cannot be processed.
    pub dead_letters: DeadLetters,
    /// The queues by name, each with its output.
    pub queues: BTreeMap<QueueName, Queue>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "./stashgate-data".into(),
            receivers: Receivers::default(),
            admin: Admin::default(),
            limits: Limits::default(),
            spool: Spool::default(),
            archive: Archive::default(),
            dead_letters: DeadLetters::default(),
            queues: BTreeMap::from([(QueueName::default(), Queue::default())]),
        }
    }
}

/// `[receivers]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Receivers {
    /// `[receivers.grpc]`
    pub grpc: Grpc,
    /// `[receivers.http]`
    pub http: Http,
    /// `[receivers.lumberjack]`
    pub lumberjack: Lumberjack,
    /// `[receivers.tcp.NAME]`
    pub tcp: BTreeMap<String, Tcp>,
}

impl Default for Receivers {
    fn default() -> Self {
        Self {
            grpc: Grpc::default(),
            http: Http::default(),
            lumberjack: Lumberjack::default(),
            tcp: BTreeMap::from([("default".into(), Tcp::default())]),
        }
    }
}

/// `[receivers.grpc]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grpc {
    /// Whether it runs.
    pub enabled: bool,
    /// Where it listens.
    #[serde(with = "units::address")]
    pub listen: SocketAddr,
    /// How long a connection may live before the client is asked to make a new
    /// one; 0s: for ever.
    #[serde(with = "units::duration")]
    pub max_connection_age: Duration,
}

impl Default for Grpc {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: ([127, 0, 0, 1], 7171).into(),
            max_connection_age: Duration::ZERO,
        }
    }
}

/// `[receivers.http]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Whether it runs.
    pub enabled: bool,
    /// Where it listens.
    #[serde(with = "units::address")]
    pub listen: SocketAddr,
    /// Origins a browser may send from; `*` for any.
    pub cors_origins: Vec<String>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: ([127, 0, 0, 1], 7172).into(),
            cors_origins: Vec::new(),
        }
    }
}

/// `[receivers.tcp.NAME]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tcp {
    /// Whether it runs.
    pub enabled: bool,
    /// Where it listens.
    #[serde(with = "units::address")]
    pub listen: SocketAddr,
    /// The queue its events go to.
    pub queue: QueueName,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: ([127, 0, 0, 1], 7173).into(),
            queue: QueueName::default(),
        }
    }
}

/// `[receivers.lumberjack]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lumberjack {
    /// Whether it runs.
    pub enabled: bool,
    /// Where it listens.
    #[serde(with = "units::address")]
    pub listen: SocketAddr,
    /// The queue its events go to.
    pub queue: QueueName,
}

impl Default for Lumberjack {
    fn default() -> Self {
        Self {
            enabled: false,
            listen: ([127, 0, 0, 1], 7174).into(),
            queue: QueueName::default(),
        }
    }
}

/// `[admin]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Where it listens.
    #[serde(with = "units::address")]
    pub listen: SocketAddr,
    /// The token callers must bring; needed unless `listen` is loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 7170).into(),
            token: None,
        }
    }
}

/// `[limits]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest event.
    #[serde(with = "units::bytes")]
    pub max_event_bytes: ByteSize,
    /// Longest batch, decompressed.
    #[serde(with = "units::bytes")]
    pub max_batch_bytes: ByteSize,
    /// Most events in a batch.
    pub max_batch_events: usize,
    /// Most bytes of batches that are received and not yet durable.
    #[serde(with = "units::bytes")]
    pub max_in_flight_bytes: ByteSize,
    /// Most connections of a receiver.
    pub max_connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_event_bytes: ByteSize::mib(1),
            max_batch_bytes: ByteSize::mib(8),
            max_batch_events: 10_000,
            max_in_flight_bytes: ByteSize::mib(64),
            max_connections: 1_000,
        }
    }
}

/// `[spool]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// Which kind.
    pub kind: SpoolKind,
    /// Most bytes of waiting batches, all queues together.
    #[serde(with = "units::bytes")]
    pub max_bytes: ByteSize,
    /// `[spool.journal]`
    pub journal: Journal,
    /// `[spool.redis]`
    pub redis: Redis,
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            kind: SpoolKind::Journal,
            max_bytes: ByteSize::gib(10),
            journal: Journal::default(),
            redis: Redis::default(),
        }
    }
}

/// `spool.kind`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpoolKind {
    /// Embedded, on the local disk.
    Journal,
    /// Shared by many gateways.
    Redis,
}

/// `[spool.journal]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// When an append is answered.
    pub sync: Sync,
    /// Length of a segment.
    #[serde(with = "units::bytes")]
    pub segment_bytes: ByteSize,
    /// Appends stop when the disk has less left.
    #[serde(with = "units::bytes")]
    pub min_free_bytes: ByteSize,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            sync: Sync::Batch,
            segment_bytes: ByteSize::mib(128),
            min_free_bytes: ByteSize::gib(1),
        }
    }
}

/// `[archive]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Archive {
    /// How long settled batches are kept; 0s: not at all.
    #[serde(with = "units::duration")]
    pub retention: Duration,
    /// Where they are kept; `None`: where the spool is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<ArchivePlace>,
    /// Most bytes of them in Redis, or on the disk beside a Redis. In the journal that
    /// the batches were in they share `spool.max_bytes`.
    #[serde(with = "units::bytes")]
    pub max_bytes: ByteSize,
}

impl Default for Archive {
    fn default() -> Self {
        Self {
            retention: Duration::from_secs(7 * 24 * 3600),
            place: None,
            max_bytes: ByteSize::gib(1),
        }
    }
}

/// `archive.place`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchivePlace {
    /// In Redis, in a list for each day.
    Redis,
    /// On the local disk: in the journal that the batches were in, or in one beside Redis.
    Journal,
    /// Nowhere.
    Off,
}

/// `[dead_letters]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetters {
    /// Most bytes of dead letters; when it is reached, rejected events are
    /// reported as not kept and TCP clients that send them are disconnected.
    #[serde(with = "units::bytes")]
    pub max_bytes: ByteSize,
    /// How long they are kept, and how long is remembered what became of them.
    #[serde(with = "units::duration")]
    pub retention: Duration,
    /// How often an event may be refused before it is no longer returned with the
    /// others.
    pub max_attempts: u32,
    /// The list, in the Redis of the spool, into which Logstash puts refused events;
    /// `None`: none is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_list: Option<String>,
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::gib(1),
            retention: Duration::from_secs(30 * 24 * 3600),
            max_attempts: 3,
            redis_list: None,
        }
    }
}

/// `[queues.NAME]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Most bytes of waiting batches.
    #[serde(with = "units::bytes")]
    pub max_bytes: ByteSize,
    /// `[queues.NAME.output]`
    pub output: Output,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::gib(10),
            output: Output::default(),
        }
    }
}

/// `[queues.NAME.output]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// What the hosts speak.
    pub protocol: Protocol,
    /// `host:port` of each Logstash.
    pub hosts: Vec<String>,
    /// `host:port` of those that are used only while none of `hosts` is usable.
    pub standby: Vec<String>,
    /// Connections to each address.
    pub connections: usize,
    /// When a batch is confirmed.
    pub confirm: Confirm,
    /// Strict order: one connection, one batch at a time.
    pub ordered: bool,
    /// Whether events get an `@metadata._id`.
    pub event_id: bool,
    /// Of `lumberjack`.
    pub compression: Compression,
    /// Whether the hosts are reached directly, with nothing between that picks
    /// one of several: the user's own word for it.
    pub direct: bool,
    /// `[queues.NAME.output.http]`
    pub http: HttpOutput,
    /// `[queues.NAME.output.tls]`
    pub tls: tls::ClientSettings,
}

impl Default for Output {
    fn default() -> Self {
        Self {
            protocol: Protocol::JsonLines,
            hosts: vec!["127.0.0.1:5000".into()],
            standby: Vec::new(),
            connections: 2,
            confirm: Confirm::Close,
            ordered: false,
            event_id: true,
            compression: Compression::Auto,
            direct: false,
            http: HttpOutput::default(),
            tls: tls::ClientSettings::default(),
        }
    }
}

impl Output {
    /// All hosts, the standby ones last.
    pub fn all_hosts(&self) -> impl Iterator<Item = &String> {
        self.hosts.iter().chain(&self.standby)
    }
}

/// `output.protocol`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Logstash's tcp input with codec `json_lines`.
    JsonLines,
    /// Logstash's beats input: lumberjack version 2.
    Lumberjack,
    /// Logstash's http input.
    Http,
}

/// `output.confirm`, for `json_lines`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirm {
    /// When Logstash closed the connection after everything was sent, and still
    /// listens.
    Close,
    /// When the peer's kernel has the bytes. Loses events when Logstash stops.
    Written,
}
