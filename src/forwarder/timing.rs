//! Every duration and size the forwarder goes by, in one place. Not settings:
//! each follows from what was measured of the far side. Tests shorten them.

use std::time::Duration;

#[derive(Debug, Clone)]
pub(super) struct Timing {
    /// How long a stretch lasts from its first byte.
    pub(super) stretch: Duration,
    /// What a stretch carries at most, in bytes as leased.
    pub(super) stretch_bytes: u64,
    /// How many batches it carries at most: their leases are held in memory.
    pub(super) stretch_batches: usize,
    /// Least time between two closes of one slot, times the slots of an address:
    /// keeps an address under 100 closes a second, so that the ports left in
    /// TIME_WAIT (60 s each) stay far below the 28,000 there are.
    pub(super) pace: Duration,
    /// How often a half-closed socket is looked at.
    pub(super) look: Duration,
    /// How soon after the last look that saw the socket open the listener has to
    /// answer.
    pub(super) window: Duration,
    /// How long a connect may take.
    pub(super) connect: Duration,
    /// How long the empty probe waits for its FIN.
    pub(super) probe: Duration,
    /// Without progress for this long an endpoint is shown as blocked.
    pub(super) blocked: Duration,
    /// Without progress for this long a probe connect asks whether the host lives.
    pub(super) alive: Duration,
    /// Shortest and longest bound of the random wait after a failure.
    pub(super) backoff: (Duration, Duration),
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
            stretch: Duration::from_millis(250),
            stretch_bytes: 32 << 20,
            stretch_batches: 10_000,
            pace: Duration::from_millis(10),
            look: Duration::from_millis(100),
            window: Duration::from_millis(500),
            connect: Duration::from_secs(10),
            probe: Duration::from_secs(10),
            blocked: Duration::from_secs(5),
            alive: Duration::from_secs(30),
            backoff: (Duration::from_millis(100), Duration::from_secs(30)),
            witness: Duration::from_secs(1),
            young: Duration::from_secs(1),
            resolve: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}
