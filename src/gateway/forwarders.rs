//! The forwarders, one a queue, and their exchange while the gateway runs.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::batch::QueueName;
use crate::config::{Config, Output};
use crate::dead_letter::DeadLetters;
use crate::forwarder::{Forwarder, Status};
use crate::spool::Spool;

pub(super) struct Forwarders {
    spool: Spool,
    letters: DeadLetters,
    /// Ends all of them.
    closing: CancellationToken,
    running: Mutex<BTreeMap<QueueName, Running>>,
}

#[derive(Clone)]
struct Running {
    forwarder: Forwarder,
    /// Ends this one.
    stop: CancellationToken,
}

impl Forwarders {
    /// Starts one for each queue.
    pub(super) fn start(
        config: &Config,
        spool: &Spool,
        letters: &DeadLetters,
        closing: &CancellationToken,
    ) -> Self {
        let forwarders = Self {
            spool: spool.clone(),
            letters: letters.clone(),
            closing: closing.clone(),
            running: Mutex::default(),
        };
        for (queue, settings) in &config.queues {
            forwarders.begin(queue, &settings.output);
        }
        forwarders
    }

    /// Sends what is in `queue` by `output` from now on. The old forwarder has
    /// settled or given back all it had in hand before the new one leases, so
    /// that `ordered` holds across the two. How long that takes is bounded by
    /// the forwarder itself. Dropped half-way, the queue stands still.
    pub(super) async fn exchange(&self, queue: &QueueName, output: &Output) {
        let old = self.running().get(queue).cloned();
        if let Some(old) = old {
            old.stop.cancel();
            old.forwarder.join().await;
        }
        self.begin(queue, output);
    }

    pub(super) fn status(&self) -> Vec<Status> {
        let running = self.running();
        running.values().map(|r| r.forwarder.status()).collect()
    }

    /// Waits until everything in hand is settled; to be called after the stop.
    pub(super) async fn join(&self) {
        let running: Vec<Running> = self.running().values().cloned().collect();
        for Running { forwarder, .. } in running {
            forwarder.join().await;
        }
    }

    fn begin(&self, queue: &QueueName, output: &Output) {
        let stop = self.closing.child_token();
        let forwarder = Forwarder::start(
            queue.clone(),
            output.clone(),
            self.spool.clone(),
            self.letters.clone(),
            stop.clone(),
        );
        let running = Running { forwarder, stop };
        self.running().insert(queue.clone(), running);
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<QueueName, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
