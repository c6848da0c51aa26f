//! What the forwarder's timing leaves to this protocol.

use std::time::Duration;

#[derive(Debug, Clone)]
pub(in crate::forwarder) struct Timing {
    /// Without any sign for this long the peer is dead.
    pub(in crate::forwarder) silence: Duration,
    /// A window that took this long halves the next: so long after the last frame
    /// Logstash says that it is blocked.
    pub(in crate::forwarder) slow: Duration,
    /// After this long blocked it is said in log and status.
    pub(in crate::forwarder) alarm: Duration,
    /// A session on which nothing was sent for this long is closed.
    pub(in crate::forwarder) idle: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(30),
            slow: Duration::from_secs(5),
            alarm: Duration::from_secs(300),
            idle: Duration::from_secs(45),
        }
    }
}
