//! The forwarders, one a queue, and their exchange while the gateway runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::holds::Holds;
use crate::batch::QueueName;
use crate::config::{Config, Output};
use crate::dead_letter::DeadLetters;
use crate::forwarder::{Forwarder, Route, Status};
use crate::spool::Spool;
use crate::tls::{self, TlsError};

pub(super) struct Forwarders {
    spool: Spool,
    letters: DeadLetters,
    holds: Arc<Holds>,
    /// Ends all of them.
    closing: CancellationToken,
    running: Mutex<BTreeMap<QueueName, Running>>,
}

#[derive(Clone)]
struct Running {
    forwarder: Forwarder,
    output: Output,
    tls: Option<tls::Client>,
    /// Ends this one.
    stop: CancellationToken,
}

impl Forwarders {
    /// Starts one for each queue; none if the files of one of them cannot be used.
    pub(super) fn start(
        config: &Config,
        spool: &Spool,
        letters: &DeadLetters,
        holds: &Arc<Holds>,
        closing: &CancellationToken,
    ) -> Result<Self, TlsError> {
        let forwarders = Self {
            spool: spool.clone(),
            letters: letters.clone(),
            holds: holds.clone(),
            closing: closing.clone(),
            running: Mutex::default(),
        };
        let mut loaded = Vec::new();
        for (queue, settings) in &config.queues {
            let tls = tls::Client::load(&settings.output.tls)?;
            loaded.push((queue, &settings.output, tls));
        }
        for (queue, output, tls) in loaded {
            forwarders.begin(queue, output, tls);
        }
        Ok(forwarders)
    }

    /// Sends what is in `queue` by `output` from now on, if that is another one or
    /// the files of its TLS were replaced. The old forwarder has
    /// settled or given back all it had in hand before the new one leases, so
    /// that `ordered` holds across the two. How long that takes is bounded by
    /// the forwarder itself. Dropped half-way, the queue stands still.
    pub(super) async fn exchange(&self, queue: &QueueName, output: &Output) {
        let tls = match tls::Client::load(&output.tls) {
            Ok(tls) => tls,
            // They were good when the settings were read, a moment ago.
            Err(error) => {
                tracing::error!(%queue, "its output stays as it was: {error}");
                return;
            }
        };
        let old = self.running().get(queue).cloned();
        if let Some(old) = old {
            if old.output == *output && old.tls == tls {
                return;
            }
            if old.output == *output {
                tracing::info!(%queue, "the files of the output's TLS were replaced: connecting anew");
            }
            old.stop.cancel();
            old.forwarder.join().await;
        }
        self.begin(queue, output, tls);
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

    fn begin(&self, queue: &QueueName, output: &Output, tls: Option<tls::Client>) {
        let stop = self.closing.child_token();
        let forwarder = Forwarder::start(
            queue.clone(),
            Route {
                output: output.clone(),
                tls: tls.clone(),
                held: self.holds.subscribe(),
            },
            self.spool.clone(),
            self.letters.clone(),
            stop.clone(),
        );
        let running = Running {
            forwarder,
            output: output.clone(),
            tls,
            stop,
        };
        self.running().insert(queue.clone(), running);
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<QueueName, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
