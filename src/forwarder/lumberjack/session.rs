//! A connection with what its windows need.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::exchange::{Exchange, read_ack};
use super::watch::Watch;
use super::{MOST_BYTES, MOST_EVENTS};
use crate::event::{Stamper, rename_lone_line};
use crate::forwarder::connection::Connection;
use crate::forwarder::endpoint::Endpoint;
use crate::forwarder::outcome::Unknown;
use crate::forwarder::vigil::Vigil;
use crate::forwarder::work::Work;
use crate::record::Header;
use crate::wire::lumberjack::{Acks, Encoder, window_len};

/// Events of a connection's first window, and of the smallest.
const FIRST_EVENTS: usize = 64;
const LEAST_EVENTS: usize = 16;
/// Memory that a session keeps from one window to the next, in bytes.
const KEPT_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(in crate::forwarder) struct Session {
    connection: Connection,
    acks: Acks,
    encoder: Encoder,
    /// The window on its way.
    frames: Vec<u8>,
    /// Most events of the next window.
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
        let level = work.output.compression.level(endpoint.address.ip());
        Self {
            connection,
            acks: Acks::default(),
            encoder: Encoder::new(level),
            frames: Vec::new(),
            events: FIRST_EVENTS,
            acknowledged: 0,
            used: Instant::now(),
            idle: work.timing.lumberjack.idle,
            event_id: work.output.event_id,
        }
    }

    pub(in crate::forwarder) fn is_open(&mut self) -> bool {
        self.is_quiet().is_ok()
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

    pub(in crate::forwarder) async fn ended(&mut self) -> Unknown {
        let mut buffer = [0; 64];
        loop {
            let heard = match self.connection.read(&mut buffer).await {
                Ok(read) => self.hear(&buffer[..read]),
                Err(error) => Err(Unknown::Reset(error)),
            };
            if let Err(unknown) = heard {
                return unknown;
            }
        }
    }

    pub(in crate::forwarder) fn encode(
        &self,
        header: &Header,
        lines: &[u8],
        first: u32,
        buffer: &mut Vec<u8>,
    ) {
        let start = buffer.len();
        Stamper::new(header, self.event_id).stamp(lines, first, buffer);
        rename_lone_line(buffer, start);
    }

    /// Sends `lines` window by window, each when the one before is acknowledged.
    pub(in crate::forwarder) async fn write(
        &mut self,
        mut lines: &[u8],
        vigil: &Vigil<'_>,
    ) -> Result<(), Unknown> {
        while !lines.is_empty() {
            let (window, rest) = lines.split_at(window_len(lines, self.events, MOST_BYTES));
            self.send(window, vigil).await?;
            lines = rest;
        }
        self.frames.shrink_to(KEPT_BYTES);
        self.encoder.shrink_to(KEPT_BYTES);
        self.used = Instant::now();
        Ok(())
    }

    async fn send(&mut self, window: &[u8], vigil: &Vigil<'_>) -> Result<(), Unknown> {
        self.is_quiet()?;
        self.frames.clear();
        let count = self.encoder.window(window, &mut self.frames);
        let begun = Instant::now();
        let mut watch = Watch::new(*vigil);
        let exchange = Exchange {
            connection: &self.connection,
            acks: &mut self.acks,
            frames: &self.frames,
            count,
            acknowledged: &mut self.acknowledged,
        };
        let outcome = exchange.run(&mut watch).await;
        outcome.map_err(|unknown| match watch.was_kept_waiting {
            true => unknown.while_blocked(),
            false => unknown,
        })?;
        self.events = match begun.elapsed() < vigil.timing.lumberjack.slow {
            true => (self.events * 2).min(MOST_EVENTS),
            false => (self.events / 2).max(LEAST_EVENTS),
        };
        Ok(())
    }

    /// Everything written is acknowledged, or `write` would have failed: another
    /// stretch begins.
    pub(in crate::forwarder) fn confirm(&mut self) {
        self.acknowledged = 0;
    }

    /// Nothing lies there that could be taken for an answer to the next window.
    fn is_quiet(&mut self) -> Result<(), Unknown> {
        let mut buffer = [0; 64];
        loop {
            match self.connection.receive(&mut buffer) {
                Ok(read) => self.hear(&buffer[..read])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Unknown::Reset(error)),
            }
        }
    }

    /// What comes between windows: the end, or a sign of life that was on its way
    /// when the last ack was.
    fn hear(&mut self, mut bytes: &[u8]) -> Result<(), Unknown> {
        if bytes.is_empty() {
            return Err(Unknown::ClosedEarly);
        }
        while let Some(ack) = read_ack(&mut self.acks, &mut bytes)? {
            if ack > 0 {
                return Err(Unknown::Protocol(format!(
                    "it acknowledged the sequence {ack}, and nothing was sent"
                )));
            }
        }
        Ok(())
    }
}
