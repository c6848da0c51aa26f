//! A lane: one connection after another to one endpoint, one stretch on each.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep_until};

use super::fill::{Filled, Reason};
use super::probe::{Probed, probe};
use super::{Turn, confirm, written};
use crate::config::Confirm;
use crate::forwarder::backoff::Backoff;
use crate::forwarder::connection::{Connection, Seen};
use crate::forwarder::endpoint::{Endpoint, Link, LinkState};
use crate::forwarder::in_hand::InHand;
use crate::forwarder::outcome::Unknown;
use crate::forwarder::vigil::Vigil;
use crate::forwarder::work::Work;
use crate::spool::LeaseError;

pub(super) struct Lane {
    pub(super) work: Arc<Work>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) link: Link,
    /// Open, and nothing was sent on it yet.
    pub(super) connection: Option<Connection>,
    pub(super) buffer: Vec<u8>,
    /// The spool cannot be read.
    pub(super) spool_trouble: Backoff,
}

/// The lane has to stop.
#[derive(Debug)]
pub(super) struct Stopped;

impl Lane {
    pub(super) fn new(work: Arc<Work>, endpoint: Arc<Endpoint>) -> Self {
        Self {
            link: Link::new(endpoint.clone()),
            spool_trouble: Backoff::new(work.timing.backoff),
            work,
            endpoint,
            connection: None,
            buffer: Vec::new(),
        }
    }

    /// Sends stretches until it is told to stop.
    pub(super) async fn run(mut self, turn: Arc<Mutex<Turn>>) {
        while let Ok(()) = self.step(&turn).await {}
    }

    async fn step(&mut self, turn: &Arc<Mutex<Turn>>) -> Result<(), Stopped> {
        let connection = self.take_connection().await?;
        let mut turn = self.take_turn(turn).await?;
        let filled = self.fill(&connection).await;
        turn.next = Instant::now() + self.pace();
        drop(turn);
        self.finish(connection, filled).await
    }

    /// Ends the stretch and settles it.
    pub(super) async fn finish(
        &mut self,
        connection: Connection,
        filled: Filled,
    ) -> Result<(), Stopped> {
        let Filled { in_hand, reason } = filled;
        match reason {
            Reason::Complete => {
                let outcome = self.confirm(connection).await;
                self.settle(in_hand, outcome).await;
            }
            Reason::Broken(unknown) if in_hand.is_empty() => self.lost_idle(&connection, &unknown),
            Reason::Broken(unknown) => self.settle(in_hand, Err(unknown)).await,
            Reason::Suspect(lease, treatment) => {
                self.connection = Some(connection);
                self.try_suspect(lease, treatment).await;
            }
            Reason::SpoolTrouble => {
                self.connection = Some(connection);
                self.sleep_until(self.spool_trouble.until()).await?;
            }
            Reason::Stopped => return Err(Stopped),
        }
        Ok(())
    }

    pub(super) fn vigil(&self) -> Vigil<'_> {
        Vigil {
            link: &self.link,
            timing: &self.work.timing,
        }
    }

    /// Least time between two stretches of the slot.
    pub(super) fn pace(&self) -> Duration {
        self.work
            .timing
            .pace
            .saturating_mul(self.work.output.connections as u32)
    }

    /// How long a stretch lasts.
    pub(super) fn stretch(&self) -> Duration {
        self.work.timing.stretch.max(self.pace())
    }

    async fn take_turn(&self, turn: &Arc<Mutex<Turn>>) -> Result<OwnedMutexGuard<Turn>, Stopped> {
        let turn = self
            .endpoint
            .stop
            .run_until_cancelled(turn.clone().lock_owned())
            .await
            .ok_or(Stopped)?;
        self.sleep_until(turn.next.max(self.endpoint.local_due()))
            .await?;
        Ok(turn)
    }

    pub(super) async fn sleep_until(&self, moment: Instant) -> Result<(), Stopped> {
        self.endpoint
            .stop
            .run_until_cancelled(sleep_until(moment))
            .await
            .ok_or(Stopped)
    }

    pub(super) fn spool_failed(&mut self, error: &LeaseError) {
        self.spool_trouble.failed(Instant::now());
        if let Some(failures) = self.work.unread.failed() {
            tracing::error!(queue = %self.work.queue, failures, "cannot lease: {error}; trying again");
        }
    }

    pub(super) fn spool_works(&mut self) {
        self.spool_trouble.succeeded();
        if let Some(failures) = self.work.unread.recovered() {
            tracing::info!(queue = %self.work.queue, failures, "the spool can be read again");
        }
    }

    /// The connection in hand if it is still open, or a new one, however long
    /// that takes.
    async fn take_connection(&mut self) -> Result<Connection, Stopped> {
        loop {
            if let Some(connection) = self.try_connection().await? {
                return Ok(connection);
            }
        }
    }

    /// As [`Lane::take_connection`], one try.
    pub(super) async fn try_connection(&mut self) -> Result<Option<Connection>, Stopped> {
        if let Some(connection) = self.connection.take()
            && let Ok(Seen::Open) = connection.look()
        {
            return Ok(Some(connection));
        }
        self.link.shows(LinkState::Idle);
        let stop = self.endpoint.stop.clone();
        stop.run_until_cancelled(self.connect())
            .await
            .ok_or(Stopped)
    }

    async fn connect(&mut self) -> Option<Connection> {
        if !self.is_proven().await {
            return None;
        }
        match Connection::open(self.endpoint.address, self.work.timing.connect).await {
            Ok(connection) => {
                self.link.shows(LinkState::Open);
                Some(connection)
            }
            Err(error) => {
                self.endpoint.unreachable(&error);
                None
            }
        }
    }

    /// Whether the endpoint is known to work; finds out if need be. One lane asks
    /// while the others wait.
    async fn is_proven(&self) -> bool {
        sleep_until(self.endpoint.due()).await;
        if self.endpoint.is_proven() || self.work.output.confirm == Confirm::Written {
            return true;
        }
        let _gate = self.endpoint.gate.lock().await;
        sleep_until(self.endpoint.due()).await;
        if self.endpoint.is_proven() {
            return true;
        }
        match probe(&self.endpoint, &self.work.timing).await {
            Probed::Closes => self.endpoint.proven(),
            Probed::DoesNotClose => self.endpoint.not_proven(),
            Probed::Broke(unknown) => self.endpoint.lost(&unknown, true),
            Probed::Unreachable(error) => self.endpoint.unreachable(&error),
        }
        self.endpoint.is_proven()
    }

    /// Waits for the far side's word on what was sent on `connection`; keeps the
    /// connection that can serve next.
    pub(super) async fn confirm(&mut self, connection: Connection) -> Result<(), Unknown> {
        if connection.ignored() > 0 {
            self.endpoint.spoke(connection.ignored());
        }
        let vigil = self.vigil();
        let confirmed = async {
            match self.work.output.confirm {
                Confirm::Close => confirm::by_close(connection, &vigil).await,
                Confirm::Written => written::by_kernel(connection, &vigil).await,
            }
        };
        let next = self
            .work
            .give_up
            .run_until_cancelled(confirmed)
            .await
            .unwrap_or(Err(Unknown::Stopping))?;
        self.connection = Some(next);
        Ok(())
    }

    async fn settle(&mut self, in_hand: InHand, outcome: Result<(), Unknown>) {
        match outcome {
            Ok(()) => {
                let result = self.word_for_confirmed();
                in_hand.confirmed(&self.work, &self.endpoint, result).await;
            }
            Err(unknown) => {
                let blamed = self.is_blamed(&unknown).await;
                if blamed {
                    for header in in_hand.headers() {
                        self.work.suspects.broke(header);
                    }
                }
                self.endpoint.lost(&unknown, !blamed);
                in_hand.unknown(&self.work, &self.endpoint, &unknown).await;
            }
        }
    }

    pub(super) fn word_for_confirmed(&self) -> &'static str {
        match self.work.output.confirm {
            Confirm::Close => "confirmed",
            Confirm::Written => "written",
        }
    }

    /// Whether what was sent may have caused `unknown`: the peer broke the
    /// connection, and listens.
    pub(super) async fn is_blamed(&mut self, unknown: &Unknown) -> bool {
        if !unknown.blames_what_was_sent() || self.work.give_up.is_cancelled() {
            return false;
        }
        Connection::open(self.endpoint.address, self.work.timing.window)
            .await
            .is_ok()
    }

    /// The peer closed a connection on which nothing was sent. It may close idle
    /// connections; if it closes new ones, something is wrong.
    fn lost_idle(&self, connection: &Connection, unknown: &Unknown) {
        if connection.age() < self.work.timing.young {
            self.endpoint.lost(unknown, true);
        }
    }
}
