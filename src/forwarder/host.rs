//! A host of the configuration: its name, and the addresses the name has now.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::connect::Target;
use super::endpoint::Endpoint;
use super::lane;
use super::status::HostStatus;
use super::work::Work;
use crate::config::split_host;
use crate::log::Complaints;

/// Least time between two look-ups of a name whose endpoints fail.
const LOOKUP_PAUSE: Duration = Duration::from_secs(1);
const LOOKUP_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Host {
    name: String,
    standby: bool,
    /// An endpoint failed: its address may be out of date.
    refresh: Arc<Notify>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    endpoints: Vec<Arc<Endpoint>>,
    error: Option<String>,
    complaints: Complaints,
}

impl Host {
    pub(super) fn new(name: &str, standby: bool) -> Self {
        Self {
            name: name.to_owned(),
            standby,
            refresh: Arc::default(),
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is used only while no other host is usable.
    pub(super) fn is_standby(&self) -> bool {
        self.standby
    }

    /// Whether it may be expected to take something.
    pub(super) fn is_usable(&self) -> bool {
        let known = self.known();
        match known.endpoints.is_empty() {
            true => known.error.is_none(),
            false => known.endpoints.iter().any(|endpoint| endpoint.is_usable()),
        }
    }

    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.known().endpoints.clone()
    }

    pub(super) fn status(&self) -> HostStatus {
        let known = self.known();
        HostStatus {
            host: self.name.clone(),
            error: known.error.clone(),
            endpoints: known.endpoints.iter().map(|e| e.status()).collect(),
        }
    }

    /// Keeps the endpoints in step with the name until the stop, and their slots
    /// running: with `ordered` there are none.
    pub(super) async fn run(self: Arc<Self>, work: Arc<Work>) {
        while !work.stop.is_cancelled() {
            let resolved = work.stop.run_until_cancelled(self.resolve(&work)).await;
            for endpoint in resolved.unwrap_or_default() {
                lane::start_slots(&work, &endpoint);
            }
            work.stop.run_until_cancelled(self.wait(&work)).await;
        }
    }

    async fn wait(&self, work: &Work) {
        if self.name.parse::<SocketAddr>().is_ok() {
            return std::future::pending().await;
        }
        let refreshed = timeout(work.timing.resolve, self.refresh.notified()).await;
        if refreshed.is_ok() {
            sleep(LOOKUP_PAUSE).await;
        }
    }

    /// Looks the name up, and returns the addresses that are new. A failed look-up
    /// changes nothing.
    async fn resolve(&self, work: &Work) -> Vec<Arc<Endpoint>> {
        let found = match timeout(LOOKUP_PATIENCE, lookup_host(self.name.as_str())).await {
            Ok(Ok(addresses)) => Ok(addresses.collect::<Vec<_>>()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {LOOKUP_PATIENCE:?}")),
        };
        match found {
            Ok(addresses) => self.update(work, &addresses),
            Err(error) => {
                self.complain(work, error);
                Vec::new()
            }
        }
    }

    /// Keeps the endpoints that are in `addresses`, stops the others, and returns
    /// those that are new.
    pub(super) fn update(&self, work: &Work, addresses: &[SocketAddr]) -> Vec<Arc<Endpoint>> {
        let mut known = self.known();
        known.error = None;
        if let Some(failures) = known.complaints.recovered() {
            tracing::info!(queue = %work.queue, host = self.name, failures, "the name is resolved again");
        }
        known.endpoints.retain(|endpoint| {
            let stays = addresses.contains(&endpoint.address);
            if !stays {
                tracing::info!(queue = %work.queue, host = self.name, endpoint = %endpoint.label, "the name has this address no more");
                endpoint.stop.cancel();
            }
            stays
        });
        let mut new: Vec<Arc<Endpoint>> = Vec::new();
        for &address in addresses {
            if !known.endpoints.iter().any(|e| e.address == address) {
                let endpoint = Arc::new(self.endpoint(work, address));
                known.endpoints.push(endpoint.clone());
                new.push(endpoint);
            }
        }
        new
    }

    fn endpoint(&self, work: &Work, address: SocketAddr) -> Endpoint {
        if let Some(warning) = work.terms.beyond_loopback
            && !address.ip().is_loopback()
        {
            tracing::warn!(queue = %work.queue, host = self.name, endpoint = %address, "{warning}");
        }
        let mut endpoint = Endpoint::new(
            work.queue.clone(),
            self.name.clone(),
            self.target(work, address),
            &work.timing,
            work.stop.child_token(),
            self.refresh.clone(),
        );
        endpoint.standby = self.standby;
        endpoint.set_duty(work.duty(self, &address));
        endpoint
    }

    fn target(&self, work: &Work, address: SocketAddr) -> Target {
        let host = split_host(&self.name).map_or(self.name.as_str(), |(host, _)| host);
        Target::new(address, host, work.tls.as_ref())
            .expect("invariant: `config` takes only hosts that a certificate can name")
    }

    fn complain(&self, work: &Work, error: String) {
        let mut known = self.known();
        if let Some(failures) = known.complaints.failed(Instant::now()) {
            tracing::warn!(queue = %work.queue, host = self.name, failures, "cannot resolve the name: {error}");
        }
        known.error = Some(error);
        // The next look-up is as near as if an endpoint had failed.
        self.refresh.notify_one();
    }
}
