//! What all connections to one address share: how it stands, when it may be
//! tried, and what was said about it in the log.

mod room;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Gate, Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::connect::{ConnectError, Target, connect};
use super::connection::Connection;
use super::duty::{Duty, STANDBY_AFTER};
use super::outcome::Unknown;
use super::status::{EndpointState, EndpointStatus};
use super::timing::Timing;
use crate::batch::{QueueName, UnixMillis};
use crate::log::Complaints;
use room::Room;

/// One address of one host of one queue.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) queue: QueueName,
    /// `host:port` as configured.
    host: String,
    pub(super) address: SocketAddr,
    pub(super) standby: bool,
    target: Target,
    /// `address` as text: the label of its metrics.
    pub(super) label: String,
    /// Held by the one connection that proves the endpoint, while the others wait.
    pub(super) gate: Gate<()>,
    /// Held by the one lane that tries suspects.
    pub(super) trial: Arc<Gate<()>>,
    /// The gateway stops, or the name has this address no more.
    pub(super) stop: CancellationToken,
    /// Asks for the name to be resolved again.
    refresh: Arc<Notify>,
    room: Room,
    duty: watch::Sender<Duty>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// By number; a place whose [`Link`] is gone is given away again.
    links: Vec<Option<LinkState>>,
    duty: Duty,
    shown: EndpointState,
    since: UnixMillis,
    last_error: Option<String>,
    confirmed_events: u64,
    /// Failures of the endpoint.
    failures: Backoff,
    /// Failures of this machine, which slow us down all the same.
    local: Backoff,
    /// Trials without hope of a verdict, since something was confirmed.
    trials: Backoff,
    /// The longest wait after one of them.
    spared: Duration,
    complaints: Complaints,
    proof: Proof,
    /// Whether a proof was ever given.
    fit: bool,
    last_confirmed: Option<Instant>,
    /// When it last failed in a way that no event can cause.
    last_gone: Instant,
    spoke: bool,
}

/// What one sender's connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    Idle,
    Open,
    Blocked,
}

/// One sender's part in what its endpoint shows; gone when dropped.
#[derive(Debug)]
pub(super) struct Link {
    endpoint: Arc<Endpoint>,
    index: usize,
}

impl Link {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        let index = endpoint.state().add_link();
        Self { endpoint, index }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn shows(&self, now: LinkState) {
        self.set(Some(now));
    }

    fn set(&self, now: Option<LinkState>) {
        let mut state = self.endpoint.state();
        state.links[self.index] = now;
        state.show();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.set(None);
    }
}

/// Whether the endpoint is known to keep to its protocol, where that can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// Not since it last failed.
    Missing,
    /// It did not.
    Refuted,
    Given,
}

/// How an endpoint fails to keep to its protocol.
#[derive(Debug)]
pub(super) struct Unfit {
    /// For the status.
    pub(super) error: &'static str,
    /// For the log, if it kept to it before.
    pub(super) now: &'static str,
    /// For the log, if it never did.
    pub(super) ever: &'static str,
}

impl Endpoint {
    pub(super) fn new(
        queue: QueueName,
        host: String,
        target: Target,
        timing: &Timing,
        stop: CancellationToken,
        refresh: Arc<Notify>,
    ) -> Self {
        Self {
            queue,
            host,
            address: target.address,
            standby: false,
            label: target.address.to_string(),
            target,
            gate: Gate::new(()),
            trial: Arc::default(),
            stop,
            refresh,
            room: Room::default(),
            duty: watch::Sender::new(Duty::Active),
            state: Mutex::new(State::new(timing)),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `host:port` as configured.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Opens a connection: the one place that does.
    pub(super) async fn dial(&self, patience: Duration) -> Result<Connection, ConnectError> {
        Connection::open(&self.target, patience).await
    }

    /// Whether it listens. No TLS: the kernel answers for a Logstash that is
    /// blocked, and only Logstash itself answers in TLS.
    pub(super) async fn answers(&self, patience: Duration) -> Result<(), ConnectError> {
        connect(self.address, patience).await.map(drop)
    }

    /// When it may be tried again.
    pub(super) fn due(&self) -> Instant {
        let state = self.state();
        state.failures.until().max(state.local.until())
    }

    /// When this machine has got over its own trouble.
    pub(super) fn local_due(&self) -> Instant {
        self.state().local.until()
    }

    pub(super) fn is_proven(&self) -> bool {
        self.state().proof == Proof::Given
    }

    /// Whether it failed, and nothing was confirmed since.
    pub(super) fn is_failing(&self) -> bool {
        self.state().failures.failures() > 0
    }

    /// Says whether it is to send. Who does it already finishes.
    pub(super) fn set_duty(&self, duty: Duty) {
        let mut state = self.state();
        if std::mem::replace(&mut state.duty, duty) != duty {
            state.show();
            self.duty.send_replace(duty);
        }
    }

    pub(super) fn is_on_duty(&self) -> bool {
        *self.duty.borrow() == Duty::Active
    }

    /// Waits until it is to send (`true`), or no more (`false`). Cancel safe.
    pub(super) async fn duty_is(&self, active: bool) {
        let mut duty = self.duty.subscribe();
        let is = |duty: &Duty| (*duty == Duty::Active) == active;
        // It ends with an error only when the sender, `self`, is gone.
        let _ = duty.wait_for(is).await;
    }

    /// Whether it may be expected to take something.
    pub(super) fn is_usable(&self) -> bool {
        let state = self.state();
        state.duty != Duty::Held && state.failures.failures() < STANDBY_AFTER
    }

    /// It takes connections, and keeps to its protocol.
    pub(super) fn proven(&self) {
        let mut state = self.state();
        state.proof = Proof::Given;
        state.fit = true;
        state.local.succeeded();
        state.show();
    }

    /// It does not keep to its protocol.
    pub(super) fn not_proven(&self, unfit: &Unfit) {
        let mut state = self.state();
        let now = Instant::now();
        state.failures.failed(now);
        state.proof = Proof::Refuted;
        state.last_error = Some(unfit.error.into());
        if state.complaints.failed(now).is_some() {
            match state.fit {
                true => {
                    tracing::warn!(queue = %self.queue, endpoint = %self.label, "{}", unfit.now)
                }
                false => {
                    tracing::error!(queue = %self.queue, endpoint = %self.label, "{}", unfit.ever)
                }
            }
        }
        state.show();
    }

    /// A stretch ended without confirmation, or a connection was lost. `gone`: no
    /// event can have caused it.
    pub(super) fn lost(&self, unknown: &Unknown, gone: bool) {
        match unknown {
            Unknown::Local(error) => self.local_trouble(error),
            Unknown::Stopping | Unknown::InParts | Unknown::TooLong(_) => {}
            Unknown::Refused(_) => self.refused(unknown),
            broken => self.failed(broken, gone),
        }
    }

    /// It takes nothing until somebody has seen to it.
    fn refused(&self, why: &Unknown) {
        let mut state = self.state();
        let now = Instant::now();
        state.failures.failed(now);
        (state.proof, state.fit) = (Proof::Refuted, false);
        state.last_error = Some(why.to_string());
        if let Some(failures) = state.complaints.failed(now) {
            tracing::error!(queue = %self.queue, host = self.host, endpoint = %self.label, failures, "{why}; nothing is sent until it takes it");
        }
        state.show();
    }

    /// It took what it was sent.
    pub(super) fn takes_it(&self) {
        self.room.took();
        if !self.is_proven() {
            self.proven();
        }
    }

    /// How many bytes it takes at a time, as far as is known.
    pub(super) fn takes_at_most(&self) -> usize {
        self.room.bytes()
    }

    /// It does not take more than `bytes` at a time, for now.
    pub(super) fn take_at_most(&self, bytes: usize) {
        self.room.at_most(bytes);
    }

    /// There is no connection.
    pub(super) fn unreachable(&self, error: &ConnectError) {
        match error {
            ConnectError::Local(_) => self.local_trouble(error),
            _ => self.failed(error, true),
        }
    }

    /// A suspect sent alone broke its connection, and did the endpoint no harm.
    pub(super) fn spared(&self, unknown: &Unknown) {
        let mut state = self.state();
        let now = Instant::now();
        let spared = state.spared;
        state.failures.failed_within(now, spared);
        self.broken(&mut state, now, unknown);
    }

    /// A suspect that broke it before is tried again without hope of a verdict: the
    /// next one waits the longer.
    pub(super) fn trial_in_vain(&self) {
        self.state().trials.failed(Instant::now());
    }

    /// When the next suspect may be tried that was set aside.
    pub(super) fn trial_due(&self) -> Instant {
        self.state().trials.until()
    }

    /// It has taken nothing for `long`, and says that it lives.
    pub(super) fn blocked_for_long(&self, long: Duration) {
        let what =
            format!("blocked for more than {long:?}: it says that it lives, and takes nothing");
        tracing::warn!(queue = %self.queue, host = self.host, endpoint = %self.label, "{what}");
        self.state().last_error = Some(what);
    }

    fn failed(&self, error: &dyn std::fmt::Display, gone: bool) {
        let mut state = self.state();
        let now = Instant::now();
        state.failures.failed(now);
        if gone {
            state.last_gone = now;
        }
        self.broken(&mut state, now, error);
        self.refresh.notify_one();
    }

    fn broken(&self, state: &mut State, now: Instant, error: &dyn std::fmt::Display) {
        state.proof = Proof::Missing;
        state.last_error = Some(error.to_string());
        if let Some(failures) = state.complaints.failed(now) {
            tracing::warn!(queue = %self.queue, host = self.host, endpoint = %self.label, failures, "{error}");
        }
        state.show();
    }

    fn local_trouble(&self, error: &ConnectError) {
        let mut state = self.state();
        let now = Instant::now();
        state.local.failed(now);
        state.last_error = Some(error.to_string());
        if let Some(failures) = state.complaints.failed(now) {
            tracing::warn!(queue = %self.queue, endpoint = %self.label, failures, "{error}; going slower");
        }
    }

    /// A stretch of `events` was confirmed.
    pub(super) fn confirmed(&self, events: u64) {
        let mut state = self.state();
        state.confirmed_events += events;
        state.last_confirmed = Some(Instant::now());
        state.last_error = None;
        state.local.succeeded();
        state.trials.succeeded();
        if state.failures.failures() > 0 {
            state.failures.succeeded();
        }
        if let Some(failures) = state.complaints.recovered() {
            tracing::info!(queue = %self.queue, host = self.host, endpoint = %self.label, failures, "the endpoint confirms again");
        }
        state.show();
    }

    /// Whether something was confirmed later than `moment`.
    pub(super) fn confirmed_since(&self, moment: Instant) -> bool {
        self.state().last_confirmed.is_some_and(|at| at > moment)
    }

    /// When it last failed in a way that no event can cause; at first: when it
    /// became known.
    pub(super) fn last_gone(&self) -> Instant {
        self.state().last_gone
    }

    /// It sent something; whether for the first time.
    pub(super) fn speaks_for_the_first_time(&self) -> bool {
        !std::mem::replace(&mut self.state().spoke, true)
    }

    pub(super) fn status(&self) -> EndpointStatus {
        let state = self.state();
        EndpointStatus {
            address: self.address,
            state: state.shown,
            since: state.since,
            last_error: state.last_error.clone(),
            confirmed_events: state.confirmed_events,
            consecutive_failures: state.failures.failures(),
        }
    }
}

impl State {
    fn new(timing: &Timing) -> Self {
        Self {
            links: Vec::new(),
            duty: Duty::Active,
            shown: EndpointState::Connecting,
            since: UnixMillis::now(),
            last_error: None,
            confirmed_events: 0,
            failures: Backoff::new(timing.backoff),
            local: Backoff::new(timing.backoff),
            trials: Backoff::new(timing.backoff),
            spared: timing.spared,
            complaints: Complaints::default(),
            proof: Proof::Missing,
            fit: false,
            last_confirmed: None,
            last_gone: Instant::now(),
            spoke: false,
        }
    }

    fn add_link(&mut self) -> usize {
        let free = self.links.iter().position(Option::is_none);
        let index = free.unwrap_or(self.links.len());
        match free {
            Some(index) => self.links[index] = Some(LinkState::Idle),
            None => self.links.push(Some(LinkState::Idle)),
        }
        index
    }

    /// Derives what is shown from what is.
    fn show(&mut self) {
        let refuted = self.proof == Proof::Refuted;
        let busy =
            |link: &Option<LinkState>| matches!(link, Some(LinkState::Open | LinkState::Blocked));
        let shown = if self.duty != Duty::Active && !self.links.iter().any(busy) {
            match self.duty {
                Duty::Held => EndpointState::Held,
                _ => EndpointState::Standby,
            }
        } else if refuted && !self.fit {
            EndpointState::Unsuitable
        } else if refuted || self.links.contains(&Some(LinkState::Blocked)) {
            EndpointState::Blocked
        } else if self.links.contains(&Some(LinkState::Open)) {
            EndpointState::Open
        } else if self.failures.failures() > 0 {
            EndpointState::BackingOff
        } else {
            EndpointState::Connecting
        };
        if shown != self.shown {
            self.shown = shown;
            self.since = UnixMillis::now();
        }
    }
}
