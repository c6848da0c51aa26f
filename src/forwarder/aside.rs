//! Suspects that wait for their trial, while others are sent.
//!
//! A batch that broke the connection alone waits for a verdict until other events
//! are confirmed. It must not stand in their way: whatever goes back to the queue
//! is leased first, and as many such batches as there are lanes would keep every
//! lane busy for ever. So a lane that leases one sets it aside and leases on. One
//! lane an endpoint at a time tries them, in turns with stretches of others.
//!
//! What is aside counts as leased. At most [`MOST`] are: then one more goes back,
//! and the lane that leased it pauses. On stop all of them go back.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{OwnedMutexGuard, watch};
use tokio::time::{Instant, sleep_until};

use super::in_hand::requeue;
use super::lane::Lane;
use super::work::Work;
use crate::spool::Lease;

/// A lease is some hundred bytes; its payload is not held.
const MOST: usize = if cfg!(test) { 8 } else { 1024 };

/// The suspects of a queue that are set aside, those that wait longest first.
#[derive(Debug)]
pub(super) struct Aside(watch::Sender<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    leases: VecDeque<Lease>,
    closed: bool,
}

impl Default for Aside {
    fn default() -> Self {
        Self(watch::Sender::new(Waiting::default()))
    }
}

impl Aside {
    /// Sets `lease` aside; gives it back if there is no room, or after the stop.
    pub(super) fn put(&self, lease: Lease) -> Result<(), Box<Lease>> {
        let mut refused = None;
        self.0.send_if_modified(|waiting| {
            if waiting.closed || waiting.leases.len() >= MOST {
                refused = Some(Box::new(lease));
                return false;
            }
            waiting.leases.push_back(lease);
            true
        });
        refused.map_or(Ok(()), Err)
    }

    fn take(&self) -> Option<Lease> {
        let mut taken = None;
        self.0.send_if_modified(|waiting| {
            taken = waiting.leases.pop_front();
            taken.is_some()
        });
        taken
    }

    fn close(&self) -> VecDeque<Lease> {
        let mut left = VecDeque::new();
        self.0.send_modify(|waiting| {
            waiting.closed = true;
            left = std::mem::take(&mut waiting.leases);
        });
        left
    }

    /// Waits until something is aside. Cancel safe.
    async fn holds_some(&self) {
        let mut waiting = self.0.subscribe();
        // It ends with an error only when the sender, `self`, is gone.
        let _ = waiting.wait_for(|waiting| !waiting.leases.is_empty()).await;
    }
}

/// Gives everything back at the stop.
pub(super) async fn give_back_at_stop(work: Arc<Work>) {
    work.stop.cancelled().await;
    for lease in work.aside.close() {
        requeue(&work, lease, false).await;
    }
}

/// A suspect, and the right to try it.
pub(super) struct Trial {
    lease: Lease,
    _gate: OwnedMutexGuard<()>,
}

impl Lane {
    /// The suspect that waits longest, if this lane is to try one now.
    pub(super) fn next_trial(&mut self) -> Option<Trial> {
        if !self.endpoint.is_on_duty() {
            return None;
        }
        if std::mem::take(&mut self.tried) || self.endpoint.trial_due() > Instant::now() {
            return None;
        }
        let gate = self.endpoint.trial.clone().try_lock_owned().ok()?;
        let lease = self.work.aside.take()?;
        Some(Trial { lease, _gate: gate })
    }

    pub(super) async fn hold(&mut self, trial: Trial) {
        self.tried = true;
        let treatment = self.work.suspects.treatment(trial.lease.header());
        self.try_suspect(trial.lease, treatment).await;
    }

    /// Waits until a suspect may be tried, a pause long at least: whatever else can
    /// be leased goes first. Cancel safe.
    pub(super) async fn trial_is_due(&self) {
        loop {
            self.work.aside.holds_some().await;
            sleep_until(self.endpoint.trial_due().max(self.after_a_pause())).await;
            if self.endpoint.trial.try_lock().is_ok() {
                return;
            }
        }
    }

    pub(super) fn after_a_pause(&self) -> Instant {
        Instant::now() + self.work.timing.backoff.0
    }
}
