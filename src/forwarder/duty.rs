//! Which endpoints are to send: those that nobody holds; a standby one only while
//! no other is usable.
//!
//! An endpoint off duty finishes its stretch, closes its connections, leases nothing
//! and dials nobody. What it would have sent waits in the spool.
//!
//! A host is usable as long as it has not failed three times in a row, held or not
//! resolved. A blocked one is usable: it is waited for. A host counts again as soon
//! as it confirms something, and the standby hosts rest from then on: while both are
//! tried, both take from the queue.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::host::Host;
use super::work::Work;
use crate::batch::QueueName;

/// Failures in a row after which a host is not usable.
pub(super) const STANDBY_AFTER: u32 = 3;
/// How often it is looked whether a host is usable.
const LOOK: Duration = Duration::from_millis(200);

/// What a person holds: names of queues, and of endpoints as `host:port` of the
/// configuration or `address:port` behind it. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held(Arc<BTreeSet<String>>);

impl Held {
    /// Holds `names`.
    pub fn new(names: BTreeSet<String>) -> Self {
        Self(Arc::new(names))
    }

    /// What is held.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.0
    }

    fn holds(&self, queue: &QueueName, host: &str, address: &SocketAddr) -> bool {
        let is_held = |name: &str| self.0.contains(name);
        !self.0.is_empty()
            && (is_held(queue.as_str()) || is_held(host) || is_held(&address.to_string()))
    }
}

/// Whether an endpoint is to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Duty {
    Active,
    /// A person holds it.
    Held,
    /// It is a standby, and not needed.
    Resting,
}

/// What the duties of a queue's endpoints follow from.
#[derive(Debug)]
pub(super) struct Orders {
    held: watch::Receiver<Held>,
    standby_needed: AtomicBool,
}

impl Orders {
    pub(super) fn new(held: watch::Receiver<Held>) -> Self {
        Self {
            held,
            standby_needed: AtomicBool::new(false),
        }
    }
}

impl Work {
    /// The duty of an address of `host` as of now.
    pub(super) fn duty(&self, host: &Host, address: &SocketAddr) -> Duty {
        let held = self.orders.held.borrow();
        if held.holds(&self.queue, host.name(), address) {
            return Duty::Held;
        }
        // With `ordered` there is one connection, and who has it knows when to leave.
        let needed = self.output.ordered || self.orders.standby_needed.load(Relaxed);
        match host.is_standby() && !needed {
            true => Duty::Resting,
            false => Duty::Active,
        }
    }
}

/// Tells the endpoints of `hosts` their duties, until the stop.
pub(super) async fn keep(work: Arc<Work>, hosts: Vec<Arc<Host>>) {
    let mut held = work.orders.held.clone();
    let has_standby = hosts.iter().any(|host| host.is_standby());
    while !work.stop.is_cancelled() {
        held.mark_unchanged();
        tell(&work, &hosts);
        tokio::select! {
            () = work.stop.cancelled() => {}
            changed = held.changed() => if changed.is_err() && !has_standby {
                // Nobody is left who could hold anything.
                return;
            } else if changed.is_err() {
                sleep(LOOK).await;
            },
            () = sleep(LOOK), if has_standby => {}
        }
    }
}

fn tell(work: &Work, hosts: &[Arc<Host>]) {
    let mut primaries = hosts.iter().filter(|host| !host.is_standby());
    let needed = !primaries.any(|host| host.is_usable());
    if work.orders.standby_needed.swap(needed, Relaxed) != needed
        && hosts.iter().any(|host| host.is_standby())
    {
        match needed {
            true => {
                tracing::warn!(queue = %work.queue, "no host is usable: the standby hosts take over")
            }
            false => {
                tracing::info!(queue = %work.queue, "a host is usable again: the standby hosts rest")
            }
        }
    }
    for host in hosts {
        for endpoint in host.endpoints() {
            endpoint.set_duty(work.duty(host, &endpoint.address));
        }
    }
}
