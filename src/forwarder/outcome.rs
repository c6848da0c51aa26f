//! What became of a stretch when it was not confirmed.

use std::io;
use std::time::Duration;

use super::connect::ConnectError;

/// Nobody knows what became of the events: they are sent again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unknown {
    #[error("the peer closed the connection before everything was sent")]
    ClosedEarly,
    #[error("the connection broke: {0}")]
    Reset(io::Error),
    #[error("the peer closed the connection without having received everything")]
    Unacknowledged,
    #[error("the peer closed the connection and listens no more ({0}): it is being stopped")]
    ListenerGone(ConnectError),
    #[error("the confirmation came {0:?} after the close, too late to tell a stop from a close")]
    TooLate(Duration),
    #[error("no progress, and the address answers no more: {0}")]
    Dead(ConnectError),
    #[error("cannot find out whether the peer's kernel has everything: {0}")]
    Unaccounted(io::Error),
    #[error("{0}")]
    Local(ConnectError),
    #[error("only parts of the batch were sent")]
    InParts,
    #[error("no sign of life for {0:?}")]
    Silent(Duration),
    #[error(
        "the peer broke the connection while it was blocked ({0}): it is being stopped, or gave up waiting"
    )]
    WhileBlocked(Box<Unknown>),
    #[error("the peer does not keep to the protocol: {0}")]
    Protocol(String),
    #[error("the peer closed the connection without an answer")]
    NoAnswer,
    /// Nothing was taken, and will not be until somebody has changed something.
    #[error("it refuses what is sent: {0}; see to its credentials and its path")]
    Refused(String),
    /// Nothing was taken; less at a time may be.
    #[error("too long for one request: {0}")]
    TooLong(String),
    /// It may have taken some.
    #[error("it takes no more for now: {0}")]
    NotNow(String),
    /// It took some at most, and chokes on the rest.
    #[error("it answered {0}")]
    Choked(String),
    #[error("the gateway stops")]
    Stopping,
}

impl Unknown {
    /// The peer had said that it takes nothing for now.
    pub(super) fn while_blocked(self) -> Self {
        match self.blames_what_was_sent() {
            true => Self::WhileBlocked(Box::new(self)),
            false => self,
        }
    }

    /// Whether none of what was sent can have arrived where events are kept: sending
    /// it again makes no second copy.
    pub(super) fn took_nothing(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::TooLong(_))
    }

    /// Whether the peer broke this one connection: what was sent on it may be the
    /// cause, if the peer is otherwise well.
    pub(super) fn blames_what_was_sent(&self) -> bool {
        matches!(
            self,
            Self::ClosedEarly
                | Self::Reset(_)
                | Self::Unacknowledged
                | Self::NoAnswer
                | Self::Choked(_)
        )
    }
}
