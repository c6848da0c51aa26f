//! What the forwarder's timing leaves to this protocol.

use std::time::Duration;

#[derive(Debug, Clone)]
pub(in crate::forwarder) struct Timing {
    /// How long a stretch lasts from its first byte.
    pub(in crate::forwarder) stretch: Duration,
    /// Least time between two closes of one slot, times the slots of an address:
    /// keeps an address under 100 closes a second, so that the ports left in
    /// TIME_WAIT (60 s each) stay far below the 28,000 there are.
    pub(in crate::forwarder) pace: Duration,
    /// How often a half-closed socket is looked at.
    pub(in crate::forwarder) look: Duration,
    /// How soon after the last look that saw the socket open the listener has to
    /// answer.
    pub(in crate::forwarder) window: Duration,
    /// How long the empty probe waits for its FIN.
    pub(in crate::forwarder) probe: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            stretch: Duration::from_millis(250),
            pace: Duration::from_millis(10),
            look: Duration::from_millis(100),
            window: Duration::from_millis(500),
            probe: Duration::from_secs(10),
        }
    }
}
