//! Every duration and size the forwarder goes by, in one place. Not settings:
//! each follows from what was measured of the far side. Tests shorten them.

use std::time::Duration;

use super::{http, json_lines, lumberjack};

#[derive(Debug, Clone)]
pub(super) struct Timing {
    /// What `json_lines` alone goes by.
    pub(super) json_lines: json_lines::Timing,
    /// What `lumberjack` alone goes by.
    pub(super) lumberjack: lumberjack::Timing,
    /// What `http` alone goes by.
    pub(super) http: http::Timing,
    /// What a stretch carries at most, in bytes as leased.
    pub(super) stretch_bytes: u64,
    /// How many batches it carries at most: their leases are held in memory.
    pub(super) stretch_batches: usize,
    /// How long a connect may take.
    pub(super) connect: Duration,
    /// Without progress for this long an endpoint is shown as blocked.
    pub(super) blocked: Duration,
    /// Without progress for this long a probe connect asks whether the host lives.
    pub(super) alive: Duration,
    /// Shortest and longest bound of the random wait after a failure.
    pub(super) backoff: (Duration, Duration),
    /// Longest such bound after a break for which a suspect alone is to blame.
    pub(super) spared: Duration,
    /// How soon after a break the listener has to answer, so that the break counts
    /// against what was sent.
    pub(super) answer: Duration,
    /// How long the witness is given to show that the peer restarted.
    pub(super) witness: Duration,
    /// A connection closed while idle counts as a failure when it is younger.
    pub(super) young: Duration,
    /// How often a name is resolved again while nothing fails.
    pub(super) resolve: Duration,
    /// How long what is in hand may take after the stop signal.
    pub(super) drain: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            json_lines: json_lines::Timing::default(),
            lumberjack: lumberjack::Timing::default(),
            http: http::Timing::default(),
            stretch_bytes: 32 << 20,
            stretch_batches: 10_000,
            connect: Duration::from_secs(10),
            blocked: Duration::from_secs(5),
            alive: Duration::from_secs(30),
            backoff: (Duration::from_millis(100), Duration::from_secs(30)),
            spared: Duration::from_secs(1),
            answer: Duration::from_millis(500),
            witness: Duration::from_secs(1),
            young: Duration::from_secs(1),
            resolve: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}
