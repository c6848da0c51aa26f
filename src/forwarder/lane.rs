//! Slots and their lanes. A lane has one session after another with one endpoint,
//! and sends one stretch on each.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep_until};

use super::backoff::Backoff;
use super::endpoint::{Endpoint, Link, LinkState};
use super::fill::{Filled, Reason};
use super::in_hand::InHand;
use super::outcome::Unknown;
use super::vigil::Vigil;
use super::wire::Wire;
use super::work::Work;
use crate::spool::LeaseError;

/// The right to send, and when the next stretch may begin.
#[derive(Debug)]
struct Turn {
    next: Instant,
}

/// Starts the slots of `endpoint`, in tasks of their own. With `ordered` it has
/// none: see [`super::ordered`].
pub(super) fn start_slots(work: &Arc<Work>, endpoint: &Arc<Endpoint>) {
    let slots = match work.output.ordered {
        true => 0,
        false => work.output.connections,
    };
    for _ in 0..slots {
        let next = Instant::now();
        let turn = Arc::new(Mutex::new(Turn { next }));
        for _ in 0..work.terms.lanes {
            let lane = Lane::new(work.clone(), endpoint.clone());
            work.tasks.spawn(lane.run(turn.clone()));
        }
    }
}

pub(super) struct Lane {
    pub(super) work: Arc<Work>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) link: Link,
    /// Open, and nothing was sent on it since it was last confirmed.
    pub(super) wire: Option<Wire>,
    pub(super) buffer: Vec<u8>,
    /// The spool cannot be read.
    pub(super) spool_trouble: Backoff,
    /// It tried a suspect that was set aside: others are next.
    pub(super) tried: bool,
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
            wire: None,
            buffer: Vec::new(),
            tried: false,
        }
    }

    /// Sends stretches until it is told to stop.
    async fn run(mut self, turn: Arc<Mutex<Turn>>) {
        while let Ok(()) = self.step(&turn).await {}
    }

    async fn step(&mut self, turn: &Arc<Mutex<Turn>>) -> Result<(), Stopped> {
        let mut wire = self.take_wire().await?;
        if let Some(trial) = self.next_trial() {
            self.wire = Some(wire);
            self.hold(trial).await;
            return Ok(());
        }
        let mut turn = self.take_turn(turn).await?;
        let filled = self.fill(&mut wire).await;
        turn.next = Instant::now() + self.work.terms.pace;
        drop(turn);
        self.finish(wire, filled).await
    }

    /// Ends the stretch and settles it.
    pub(super) async fn finish(&mut self, wire: Wire, filled: Filled) -> Result<(), Stopped> {
        let Filled {
            mut in_hand,
            reason,
        } = filled;
        match reason {
            Reason::Complete => {
                let outcome = self.confirm(wire).await;
                self.settle(in_hand, outcome).await;
            }
            Reason::Broken(unknown) if in_hand.is_empty() => self.lost_idle(&wire, &unknown),
            Reason::Broken(unknown) => {
                let done = wire.acknowledged();
                in_hand.covered(&self.work, &self.endpoint, done).await;
                if in_hand.is_empty() {
                    self.lost_idle(&wire, &unknown);
                } else {
                    drop(wire);
                    self.settle(in_hand, Err(unknown)).await;
                }
            }
            Reason::Expired | Reason::OffDuty => drop(wire),
            Reason::Suspect(lease, treatment) => {
                self.wire = Some(wire);
                self.try_suspect(lease, treatment).await;
            }
            Reason::TrialDue => self.wire = Some(wire),
            Reason::Crowded => {
                self.wire = Some(wire);
                self.sleep_until(self.after_a_pause()).await?;
            }
            Reason::SpoolTrouble => {
                self.wire = Some(wire);
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
        if self.spool_trouble.failures() == 0 {
            return;
        }
        self.spool_trouble.succeeded();
        if let Some(failures) = self.work.unread.recovered() {
            tracing::info!(queue = %self.work.queue, failures, "the spool can be read again");
        }
    }

    /// The session in hand if it is still open, or a new one, however long that
    /// takes.
    async fn take_wire(&mut self) -> Result<Wire, Stopped> {
        loop {
            self.on_duty().await?;
            if let Some(wire) = self.try_wire().await? {
                return Ok(wire);
            }
        }
    }

    async fn on_duty(&mut self) -> Result<(), Stopped> {
        if !self.endpoint.is_on_duty() {
            self.wire = None;
            self.link.shows(LinkState::Idle);
        }
        let stop = &self.endpoint.stop;
        stop.run_until_cancelled(self.endpoint.duty_is(true))
            .await
            .ok_or(Stopped)
    }

    /// As [`Lane::take_wire`], one try; `None` off duty, too.
    pub(super) async fn try_wire(&mut self) -> Result<Option<Wire>, Stopped> {
        if !self.endpoint.is_on_duty() {
            self.wire = None;
            self.link.shows(LinkState::Idle);
            return Ok(None);
        }
        if let Some(mut wire) = self.wire.take()
            && wire.is_open()
        {
            return Ok(Some(wire));
        }
        self.link.shows(LinkState::Idle);
        self.endpoint
            .stop
            .run_until_cancelled(self.open())
            .await
            .ok_or(Stopped)
    }

    async fn open(&self) -> Option<Wire> {
        sleep_until(self.endpoint.due()).await;
        if !self.endpoint.is_on_duty() {
            return None;
        }
        let wire = Wire::open(&self.work, &self.endpoint).await?;
        self.link.shows(LinkState::Open);
        Some(wire)
    }

    /// Waits for the far side's word on what was sent on `wire`; keeps the
    /// session that can serve next.
    pub(super) async fn confirm(&mut self, wire: Wire) -> Result<(), Unknown> {
        let next = self
            .work
            .give_up
            .run_until_cancelled(wire.confirm(&self.vigil()))
            .await
            .unwrap_or(Err(Unknown::Stopping))?;
        self.wire = Some(next);
        Ok(())
    }

    async fn settle(&mut self, in_hand: InHand, outcome: Result<(), Unknown>) {
        match outcome {
            Ok(()) => in_hand.confirmed(&self.work, &self.endpoint).await,
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

    /// Whether what was sent may have caused `unknown`: the peer broke the
    /// connection, and listens.
    pub(super) async fn is_blamed(&self, unknown: &Unknown) -> bool {
        if !unknown.blames_what_was_sent() || self.work.give_up.is_cancelled() {
            return false;
        }
        self.endpoint.answers(self.work.timing.answer).await.is_ok()
    }

    /// The peer ended a session on which nothing was sent. It may end idle ones; if
    /// it ends new ones, something is wrong.
    fn lost_idle(&self, wire: &Wire, unknown: &Unknown) {
        if wire.age() < self.work.timing.young {
            self.endpoint.lost(unknown, true);
        }
    }
}
