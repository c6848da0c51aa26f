//! A connection with what its requests need.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::exchange::{ask, read_body};
use super::request::Requests;
use super::{MOST_BYTES, MOST_EVENTS};
use crate::event::Stamper;
use crate::forwarder::connect::ConnectError;
use crate::forwarder::connection::Connection;
use crate::forwarder::endpoint::Endpoint;
use crate::forwarder::outcome::Unknown;
use crate::forwarder::vigil::Vigil;
use crate::forwarder::work::Work;
use crate::record::Header;
use crate::wire::http::Head;
use crate::wire::lumberjack::window_len;

/// Events of a connection's first request, and of the smallest.
const FIRST_EVENTS: usize = 64;
const LEAST_EVENTS: usize = 16;
/// Memory that a session keeps from one request to the next, in bytes.
const KEPT_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(in crate::forwarder) struct Session {
    connection: Connection,
    requests: Requests,
    /// What was read of the last answer.
    answer: Vec<u8>,
    /// The connection serves no other request.
    over: bool,
    /// Most events of the next request.
    events: usize,
    /// Events of the stretch that the peer vouched for.
    acknowledged: u64,
    /// When it was last sent on.
    used: Instant,
    idle: Duration,
    event_id: bool,
}

/// One try. `None`: it failed, and `endpoint` was told.
pub(in crate::forwarder) async fn open(work: &Work, endpoint: &Endpoint) -> Option<Session> {
    match endpoint.dial(work.timing.connect).await {
        Ok(connection) => Some(Session::new(connection, work, endpoint)),
        Err(error) => {
            endpoint.unreachable(&error);
            None
        }
    }
}

impl Session {
    fn new(connection: Connection, work: &Work, endpoint: &Endpoint) -> Self {
        Self {
            connection,
            requests: Requests::new(endpoint.host(), &work.output.http),
            answer: Vec::new(),
            over: false,
            events: FIRST_EVENTS,
            acknowledged: 0,
            used: Instant::now(),
            idle: work.timing.http.idle,
            event_id: work.output.event_id,
        }
    }

    /// Whatever the peer says unasked, it is not the answer to the next request.
    pub(in crate::forwarder) fn is_open(&self) -> bool {
        let is_quiet = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        !self.over && self.connection.receive(&mut [0]).is_err_and(is_quiet)
    }

    pub(in crate::forwarder) fn age(&self) -> Duration {
        self.connection.age()
    }

    pub(in crate::forwarder) fn expires(&self) -> Instant {
        self.used + self.idle
    }

    pub(in crate::forwarder) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(in crate::forwarder) async fn ended(&self) -> Unknown {
        if self.over {
            // That it ends is agreed upon.
            std::future::pending::<()>().await;
        }
        match self.connection.read(&mut [0]).await {
            Ok(0) => Unknown::ClosedEarly,
            Ok(_) => Unknown::Protocol("it speaks, and was not asked".into()),
            Err(error) => Unknown::Reset(error),
        }
    }

    pub(in crate::forwarder) fn encode(
        &self,
        header: &Header,
        lines: &[u8],
        first: u32,
        buffer: &mut Vec<u8>,
    ) {
        Stamper::new(header, self.event_id).stamp(lines, first, buffer);
    }

    /// Sends `lines` window by window, each when the one before is confirmed.
    pub(in crate::forwarder) async fn write(
        &mut self,
        mut lines: &[u8],
        vigil: &Vigil<'_>,
    ) -> Result<(), Unknown> {
        while !lines.is_empty() {
            let most = vigil.link.endpoint().takes_at_most().min(MOST_BYTES);
            let (window, rest) = lines.split_at(window_len(lines, self.events, most));
            self.send(window, vigil).await?;
            lines = rest;
        }
        self.requests.shrink_to(KEPT_BYTES);
        self.used = Instant::now();
        Ok(())
    }

    async fn send(&mut self, window: &[u8], vigil: &Vigil<'_>) -> Result<(), Unknown> {
        if !self.is_open() {
            // Nothing of this window was sent.
            self.reconnect(vigil).await?;
        }
        let count = memchr::memchr_iter(b'\n', window).count();
        let begun = Instant::now();
        let timing = &vigil.timing.http;
        let request = self.requests.post(window);
        let asked = ask(&self.connection, request, &mut self.answer, timing);
        let head = vigil.patiently(asked).await.and_then(|asked| asked);
        let head = head.map_err(|unknown| match begun.elapsed() < vigil.timing.blocked {
            true => unknown,
            false => unknown.while_blocked(),
        })?;
        if !head.is_success() {
            return Err(self.failed(&head, count, window.len(), vigil.link.endpoint()));
        }
        self.acknowledged += count as u64;
        vigil.link.endpoint().takes_it();
        self.over = !read_body(&self.connection, &head, &self.answer, timing).await;
        self.events = match begun.elapsed() < timing.slow {
            true => (self.events * 2).min(MOST_EVENTS),
            false => (self.events / 2).max(LEAST_EVENTS),
        };
        Ok(())
    }

    async fn reconnect(&mut self, vigil: &Vigil<'_>) -> Result<(), Unknown> {
        let dialed = vigil.link.endpoint().dial(vigil.timing.connect).await;
        self.connection = dialed.map_err(|error| match error {
            ConnectError::Local(_) => Unknown::Local(error),
            _ => Unknown::ListenerGone(error),
        })?;
        self.over = false;
        Ok(())
    }

    /// What an answer means that is no success: see [`super`].
    fn failed(&mut self, head: &Head, count: usize, bytes: usize, endpoint: &Endpoint) -> Unknown {
        self.over = true;
        let said = head.to_string();
        match head.status {
            413 if count > 1 => {
                endpoint.take_at_most(bytes / 2);
                Unknown::TooLong(said)
            }
            400 | 413 | 500 => Unknown::Choked(said),
            408 | 429 | 501.. => Unknown::NotNow(said),
            _ => Unknown::Refused(said),
        }
    }

    /// All is confirmed, or `write` had failed.
    pub(in crate::forwarder) fn confirm(&mut self) {
        self.acknowledged = 0;
    }
}
