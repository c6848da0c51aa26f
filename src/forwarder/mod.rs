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
//! | connect refused, no answer, no TLS | endpoint backs off, 0.1 to 30 s with full jitter |
//! | no port, file or buffer left here | everything goes slower; no failure of the endpoint |
//! | peer takes nothing | shown as blocked, waited for without limit; every 30 s a connect asks whether it lives |
//! | connection lost, not confirmed | all batches of the stretch go back to their old place, as possible duplicates |
//! | connection lost, confirmed in part | what is confirmed is done with; the rest goes back |
//! | the same batches break again and again | set `aside`, others go first; `suspects` decides whether an event is to blame |
//! | dead letters cannot be kept | the batch waits; it is not acknowledged |
//! | spool cannot be read | logged; tried again with backoff |
//! | held by a person, or standby and not needed | connections finish and close; see `duty` |
//! | stop | nothing more is leased; what is in hand has 10 s to be confirmed, else it goes back |
//!
//! Memory: leases are held, payloads are not; each connection has one buffer of
//! about the largest batch; with lumberjack, one of about a window besides.
//!
//! The rooms: `host` (name to addresses), `endpoint` (what the connections to one
//! address share), `duty` (which of them are to send), `connection`, `connect`, `vigil` (sockets and patience); `lane`
//! and `ordered` (who sends when), `leasing` and `fill` (lease, encode, write),
//! `in_hand` and `covered` (leases and their settlement); `suspects`, `alone`,
//! `aside`, `bisect` (poison); `recent` (what `covered` and `suspects` know, bounded).
//! None of them knows a protocol. `wire` does, with one module an output protocol:
//! `json_lines`, `lumberjack`, `http`.
//!
//! How to add an output:
//!
//! 1. A variant in [`Protocol`](crate::config::Protocol), and its settings.
//! 2. A folder with a `Session`: an open connection from `Endpoint::dial` that
//!    encodes events, writes them, and waits until the far side confirms them. A
//!    protocol with answers (lumberjack's acks, an HTTP status) waits for them
//!    in `write`, counts them in `acknowledged`, and has nothing left to wait for
//!    in `confirm`. After a break, what it counted is done with (`covered`), and
//!    only the rest is sent again.
//! 3. Its arms in `wire`: `Terms::of` (how many lanes, how long a stretch; 1 and
//!    zero for a protocol with answers; how much is written at once) and the
//!    methods of `Wire`.
//! 4. What the far side can do wrong as variants of `Unknown`; only those where it
//!    broke this one connection blame what was sent.

mod alone;
mod aside;
mod backoff;
mod bisect;
mod connect;
mod connection;
mod covered;
mod duty;
mod endpoint;
mod fill;
mod host;
mod http;
mod in_hand;
mod json_lines;
mod key;
mod lane;
mod leasing;
mod letters;
mod lumberjack;
mod ordered;
mod outcome;
mod recent;
mod rejects;
mod status;
mod suspects;
mod timing;
mod vigil;
mod wire;
mod work;

#[cfg(test)]
#[path = "../../tests/support/beats.rs"]
mod beats;
#[cfg(test)]
#[path = "../../tests/support/http_input.rs"]
mod http_input;
#[cfg(test)]
#[path = "../../tests/support/logstash.rs"]
#[allow(dead_code)]
mod logstash;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use duty::Held;
pub use status::{EndpointState, EndpointStatus, HostStatus, Status};

use crate::batch::QueueName;
use crate::config::Output;
use crate::dead_letter::DeadLetters;
use crate::spool::Spool;
use crate::tls;
use duty::Orders;
use host::Host;
use suspects::Suspects;
use timing::Timing;
use wire::Terms;
use work::Work;

/// Where the batches of a queue go.
#[derive(Debug, Clone)]
pub struct Route {
    /// The settings.
    pub output: Output,
    /// Loaded from `output.tls`.
    pub tls: Option<tls::Client>,
    /// What a person holds, now and later.
    pub held: watch::Receiver<Held>,
}

impl Route {
    /// To `output`, without TLS, and nobody ever holds it.
    pub fn plain(output: Output) -> Self {
        Self {
            output,
            tls: None,
            held: watch::channel(Held::default()).1,
        }
    }
}

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
        route: Route,
        spool: Spool,
        letters: DeadLetters,
        stop: CancellationToken,
    ) -> Self {
        Self::start_with(queue, route, spool, letters, stop, Timing::default())
    }

    fn start_with(
        queue: QueueName,
        route: Route,
        spool: Spool,
        letters: DeadLetters,
        stop: CancellationToken,
        timing: Timing,
    ) -> Self {
        let Route { output, tls, held } = route;
        let primary = output.hosts.iter().map(|name| Host::new(name, false));
        let standby = output.standby.iter().map(|name| Host::new(name, true));
        let forwarder = Self {
            hosts: primary.chain(standby).map(Arc::new).collect(),
            work: Arc::new(Work {
                terms: Terms::of(&queue, &output, &timing),
                queue,
                output,
                tls,
                orders: Orders::new(held),
                spool,
                letters,
                timing,
                suspects: Suspects::default(),
                aside: Default::default(),
                covered: Default::default(),
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
            tasks.spawn(ordered::run(self.work.clone(), self.hosts.to_vec()));
        }
        for host in self.hosts.iter() {
            tasks.spawn(host.clone().run(self.work.clone()));
        }
        tasks.spawn(duty::keep(self.work.clone(), self.hosts.to_vec()));
        tasks.spawn(aside::give_back_at_stop(self.work.clone()));
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
