//! What the forwarder tells about itself.

use std::net::SocketAddr;

use serde::Serialize;

use crate::batch::{QueueName, UnixMillis};

/// A queue's forwarder, as of now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The queue.
    pub queue: QueueName,
    /// Its hosts, as configured.
    pub hosts: Vec<HostStatus>,
}

/// A host, as of now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostStatus {
    /// `host:port` as configured.
    pub host: String,
    /// Why its name cannot be resolved.
    pub error: Option<String>,
    /// The addresses it has.
    pub endpoints: Vec<EndpointStatus>,
}

/// One address, as of now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointStatus {
    /// The address.
    pub address: SocketAddr,
    /// How it stands.
    pub state: EndpointState,
    /// Since when.
    pub since: UnixMillis,
    /// The last thing that went wrong, since the last confirmation.
    pub last_error: Option<String>,
    /// Events confirmed (or written) through it since the gateway started, or its
    /// output was changed.
    pub confirmed_events: u64,
    /// Failures in a row.
    pub consecutive_failures: u32,
}

/// How an endpoint stands; written in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// No connection yet, and no failure.
    Connecting,
    /// Connected.
    Open,
    /// Connected; it takes nothing. No error: it is waited for.
    Blocked,
    /// The last try failed; the next one is some seconds away at most.
    BackingOff,
    /// It refuses what is sent (credentials, path), or it does not close a
    /// connection that we half-closed: `confirm = "close"`
    /// cannot work with it, and nothing is sent.
    Unsuitable,
    /// A person holds it, or its queue: nothing is sent.
    Held,
    /// It is a standby host, and not needed.
    Standby,
}
