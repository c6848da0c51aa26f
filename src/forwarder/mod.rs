//! Brings leased batches to Logstash.
//!
//! A queue has one [`Forwarder`]. Each of its hosts is resolved to addresses; each
//! address is an endpoint with as many slots as `connections` says; each
//! slot leases when it can send. Balance and backpressure come from that pulling
//! alone: a slow endpoint takes less, a dead one nothing, and what nobody can
//! send stays in the spool.
//!
//! What each failure does:
//!
//! | failure | does |
//! | --- | --- |
//! | name does not resolve | known addresses are kept; asked again |
//! | connect refused, no answer | endpoint backs off, 0.1 to 30 s with full jitter |
//! | no port, file or buffer left here | everything goes slower; no failure of the endpoint |
//! | peer takes nothing | shown as blocked, waited for without limit; every 30 s a connect asks whether it lives |
//! | connection lost, not confirmed | all batches of the stretch go back to their old place, as possible duplicates |
//! | the same batches break again and again | `suspects` decides whether an event is to blame |
//! | dead letters cannot be kept | the batch waits; it is not acknowledged |
//! | spool cannot be read | logged; tried again with backoff |
//! | stop | nothing more is leased; what is in hand has 10 s to be confirmed, else it goes back |
//!
//! Memory: leases are held, payloads are not; each connection has one buffer of
//! about the largest batch.
//!
//! The rooms: `host` (name to addresses), `endpoint` (what the connections to one
//! address share), `connection`, `connect`, `vigil` (sockets and patience),
//! `in_hand` (leases and their settlement), `suspects` (poison). One module an
//! output protocol: `json_lines`. Another one adds its module and its arms in
//! `start_slots` and `start_ordered`.

mod backoff;
mod boot_clock;
mod complaints;
mod connect;
mod connection;
mod endpoint;
mod host;
mod in_hand;
mod json_lines;
mod outcome;
mod status;
mod suspects;
mod timing;
mod vigil;
mod work;

#[cfg(test)]
#[path = "../../tests/support/logstash.rs"]
#[allow(dead_code)]
mod logstash;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use status::{EndpointState, EndpointStatus, HostStatus, Status};

use crate::batch::QueueName;
use crate::config::{Confirm, Output, Protocol};
use crate::dead_letter::DeadLetters;
use crate::spool::Spool;
use endpoint::Endpoint;
use host::Host;
use suspects::Suspects;
use timing::Timing;
use work::Work;

/// Sends the batches of one queue. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Forwarder {
    work: Arc<Work>,
    hosts: Arc<[Arc<Host>]>,
}

impl Forwarder {
    /// Starts to send what `spool` holds for `queue`, in tasks of its own, until
    /// `stop`. Never fails: hosts that are not there are waited for.
    pub fn start(
        queue: QueueName,
        output: Output,
        spool: Spool,
        letters: DeadLetters,
        stop: CancellationToken,
    ) -> Self {
        Self::start_with(queue, output, spool, letters, stop, Timing::default())
    }

    fn start_with(
        queue: QueueName,
        output: Output,
        spool: Spool,
        letters: DeadLetters,
        stop: CancellationToken,
        timing: Timing,
    ) -> Self {
        if output.confirm == Confirm::Written {
            tracing::warn!(%queue,
                "confirm = \"written\" is lossy: what Logstash received and did not process when it stops is lost");
        }
        let hosts = output.hosts.iter().cloned().map(Host::new).map(Arc::new);
        let forwarder = Self {
            hosts: hosts.collect(),
            work: Arc::new(Work {
                queue,
                output,
                spool,
                letters,
                timing,
                suspects: Suspects::default(),
                unread: Default::default(),
                unsettled: Default::default(),
                tasks: TaskTracker::new(),
                stop,
                give_up: CancellationToken::new(),
            }),
        };
        forwarder.spawn();
        forwarder
    }

    fn spawn(&self) {
        let Work { tasks, output, .. } = &*self.work;
        if output.ordered {
            start_ordered(&self.work, self.hosts.to_vec());
        }
        for host in self.hosts.iter() {
            tasks.spawn(host.clone().run(self.work.clone()));
        }
        tasks.close();
        tokio::spawn(limit_drain(self.work.clone()));
    }

    /// How its endpoints stand.
    pub fn status(&self) -> Status {
        Status {
            queue: self.work.queue.clone(),
            hosts: self.hosts.iter().map(|host| host.status()).collect(),
        }
    }

    /// Waits until everything in hand is settled; to be called after the stop.
    pub async fn join(&self) {
        self.work.tasks.wait().await;
    }
}

/// Gives what is in hand a limited time after the stop.
async fn limit_drain(work: Arc<Work>) {
    work.stop.cancelled().await;
    tokio::select! {
        () = tokio::time::sleep(work.timing.drain) => work.give_up.cancel(),
        () = work.tasks.wait() => {}
    }
}

fn start_slots(work: &Arc<Work>, endpoint: &Arc<Endpoint>) {
    let slots = match work.output.ordered {
        true => 0,
        false => work.output.connections,
    };
    for _ in 0..slots {
        match work.output.protocol {
            Protocol::JsonLines => json_lines::start_slot(work, endpoint),
        }
    }
}

fn start_ordered(work: &Arc<Work>, hosts: Vec<Arc<Host>>) {
    match work.output.protocol {
        Protocol::JsonLines => work
            .tasks
            .spawn(json_lines::run_ordered(work.clone(), hosts)),
    };
}
