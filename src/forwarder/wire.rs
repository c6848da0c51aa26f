//! What the sending of a queue needs to know of an output protocol: the one place
//! where protocols are told apart.

use std::time::Duration;

use tokio::time::Instant;

use super::endpoint::Endpoint;
use super::http;
use super::json_lines;
use super::lumberjack;
use super::outcome::Unknown;
use super::timing::Timing;
use super::vigil::Vigil;
use super::work::Work;
use crate::batch::QueueName;
use crate::config::{Output, Protocol};
use crate::record::Header;

/// How an output wants to be served.
#[derive(Debug)]
pub(super) struct Terms {
    /// Senders of a slot. One sends while the others wait to be confirmed.
    pub(super) lanes: usize,
    /// How long a stretch lasts from its first byte; zero: one write.
    pub(super) stretch: Duration,
    /// Least time between the ends of two stretches of a slot.
    pub(super) pace: Duration,
    /// Batches that wait are gathered into one write until it has about so many
    /// bytes as they go out, or events.
    pub(super) write_bytes: usize,
    pub(super) write_events: u64,
    /// What metrics call an event that is done with: `confirmed` or `written`.
    pub(super) result: &'static str,
    /// A warning for each address that is not this machine's.
    pub(super) beyond_loopback: Option<&'static str>,
}

impl Terms {
    /// Says in the log what is to be known of `output`.
    pub(super) fn of(queue: &QueueName, output: &Output, timing: &Timing) -> Self {
        match output.protocol {
            Protocol::JsonLines => json_lines::terms(queue, output, &timing.json_lines),
            Protocol::Lumberjack => lumberjack::terms(),
            Protocol::Http => http::terms(),
        }
    }
}

/// An open session with an endpoint, ready for a stretch. Dropped, it is closed.
#[derive(Debug)]
pub(super) enum Wire {
    JsonLines(json_lines::Session),
    Lumberjack(Box<lumberjack::Session>),
    Http(Box<http::Session>),
}

impl Wire {
    /// One try, with all that has to come before events. `None`: it failed, and
    /// `endpoint` was told. Cancel safe.
    pub(super) async fn open(work: &Work, endpoint: &Endpoint) -> Option<Self> {
        match work.output.protocol {
            Protocol::JsonLines => json_lines::open(work, endpoint).await.map(Self::JsonLines),
            Protocol::Lumberjack => {
                let session = lumberjack::open(work, endpoint).await?;
                Some(Self::Lumberjack(Box::new(session)))
            }
            Protocol::Http => {
                let session = http::open(work, endpoint).await?;
                Some(Self::Http(Box::new(session)))
            }
        }
    }

    pub(super) fn is_open(&mut self) -> bool {
        match self {
            Self::JsonLines(session) => session.is_open(),
            Self::Lumberjack(session) => session.is_open(),
            Self::Http(session) => session.is_open(),
        }
    }

    /// Time since it was opened.
    pub(super) fn age(&self) -> Duration {
        match self {
            Self::JsonLines(session) => session.age(),
            Self::Lumberjack(session) => session.age(),
            Self::Http(session) => session.age(),
        }
    }

    /// When a session on which nothing is sent is to be closed: before the peer
    /// does it.
    pub(super) fn expires(&self) -> Option<Instant> {
        match self {
            Self::JsonLines(_) => None,
            Self::Lumberjack(session) => Some(session.expires()),
            Self::Http(session) => Some(session.expires()),
        }
    }

    /// Ends when the peer ends the session. Cancel safe.
    pub(super) async fn ended(&mut self) -> Unknown {
        match self {
            Self::JsonLines(session) => session.ended().await,
            Self::Lumberjack(session) => session.ended().await,
            Self::Http(session) => session.ended().await,
        }
    }

    /// Appends the events in `lines` to `buffer` as they go out. They are those of
    /// the batch of `header` from position `first` on.
    pub(super) fn encode(&self, header: &Header, lines: &[u8], first: u32, buffer: &mut Vec<u8>) {
        match self {
            Self::JsonLines(session) => session.encode(header, lines, first, buffer),
            Self::Lumberjack(session) => session.encode(header, lines, first, buffer),
            Self::Http(session) => session.encode(header, lines, first, buffer),
        }
    }

    /// How many of the events sent, the first ones, the far side vouched for so far;
    /// the rest of them depends on [`Wire::confirm`].
    pub(super) fn acknowledged(&self) -> u64 {
        match self {
            Self::JsonLines(_) => 0,
            Self::Lumberjack(session) => session.acknowledged(),
            Self::Http(session) => session.acknowledged(),
        }
    }

    /// Sends what was encoded, waiting for a blocked peer. Dropped half-way, the
    /// session is good for nothing but [`Wire::acknowledged`].
    pub(super) async fn write(&mut self, encoded: &[u8], vigil: &Vigil<'_>) -> Result<(), Unknown> {
        match self {
            Self::JsonLines(session) => session.write(encoded, vigil).await,
            Self::Lumberjack(session) => session.write(encoded, vigil).await,
            Self::Http(session) => session.write(encoded, vigil).await,
        }
    }

    /// Waits for the far side's word on everything written; returns the session
    /// that can serve next.
    pub(super) async fn confirm(self, vigil: &Vigil<'_>) -> Result<Self, Unknown> {
        match self {
            Self::JsonLines(session) => session.confirm(vigil).await.map(Self::JsonLines),
            Self::Lumberjack(mut session) => {
                session.confirm();
                Ok(Self::Lumberjack(session))
            }
            Self::Http(mut session) => {
                session.confirm();
                Ok(Self::Http(session))
            }
        }
    }
}
