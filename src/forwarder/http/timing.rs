//! The durations that only `http` goes by.

use std::time::Duration;

#[derive(Debug, Clone)]
pub(in crate::forwarder) struct Timing {
    /// How long a request may hang without a byte taken or sent.
    pub(in crate::forwarder) answer: Duration,
    /// How long the body of a good answer may take.
    pub(in crate::forwarder) body: Duration,
    /// An answer that took longer makes the next window smaller.
    pub(in crate::forwarder) slow: Duration,
    /// An idle connection is closed after this time: many proxies do it after 60 s.
    pub(in crate::forwarder) idle: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(600),
            body: Duration::from_secs(5),
            slow: Duration::from_secs(5),
            idle: Duration::from_secs(45),
        }
    }
}
