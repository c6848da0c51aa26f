//! `ordered = true`: one connection, one batch at a time, for the whole queue; the
//! next host only when this one fails.

use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::endpoint::Endpoint;
use super::host::Host;
use super::lane::{Lane, Stopped};
use super::work::Work;

/// Sends the batches of the queue one by one, until it is told to stop. Each of
/// `hosts` looks its name up by itself, so that a slow name holds up nobody.
pub(super) async fn run(work: Arc<Work>, hosts: Vec<Arc<Host>>) {
    let mut courier = Courier {
        lane: None,
        since: Instant::now(),
        next: Instant::now(),
        work,
        hosts,
    };
    // A stop of the address alone means that its name has it no more.
    while courier.step().await.is_ok() || courier.address_is_gone() {}
}

struct Courier {
    work: Arc<Work>,
    hosts: Vec<Arc<Host>>,
    lane: Option<Lane>,
    /// When the lane was chosen.
    since: Instant,
    /// When the next stretch may begin: see [`super::wire::Terms::pace`].
    next: Instant,
}

impl Courier {
    async fn step(&mut self) -> Result<(), Stopped> {
        if !self.lane.as_ref().is_some_and(is_well) || self.may_go_home() {
            self.choose().await?;
        }
        let Some(lane) = &mut self.lane else {
            return Ok(());
        };
        let Some(mut wire) = lane.try_wire().await? else {
            return Ok(());
        };
        lane.sleep_until(self.next.max(lane.endpoint.local_due()))
            .await?;
        let filled = lane.fill(&mut wire).await;
        self.next = Instant::now() + self.work.terms.pace;
        lane.finish(wire, filled).await
    }

    fn address_is_gone(&self) -> bool {
        let address_stops = |lane: &Lane| lane.endpoint.stop.is_cancelled();
        !self.work.stop.is_cancelled() && self.lane.as_ref().is_some_and(address_stops)
    }

    /// Whether it has been with a standby host for so long that the others are worth
    /// another try. One that drops packets costs the queue the time of a connect.
    fn may_go_home(&self) -> bool {
        let is_away = |lane: &Lane| lane.endpoint.standby;
        self.lane.as_ref().is_some_and(is_away) && self.since.elapsed() > self.work.timing.alive
    }

    /// Takes the next address that is due, standby ones last, or else the first that
    /// will be.
    async fn choose(&mut self) -> Result<(), Stopped> {
        let endpoints: Vec<Arc<Endpoint>> = self
            .hosts
            .iter()
            .flat_map(|host| host.endpoints())
            .filter(|endpoint| endpoint.is_on_duty())
            .collect();
        let Some(endpoint) = next_after(self.lane.take(), &endpoints) else {
            let pause = sleep(self.work.timing.backoff.0);
            return self
                .work
                .stop
                .run_until_cancelled(pause)
                .await
                .ok_or(Stopped);
        };
        self.lane = Some(Lane::new(self.work.clone(), endpoint));
        self.since = Instant::now();
        Ok(())
    }
}

fn is_well(lane: &Lane) -> bool {
    let endpoint = &lane.endpoint;
    !endpoint.is_failing() && !endpoint.stop.is_cancelled() && endpoint.is_on_duty()
}

fn next_after(left: Option<Lane>, endpoints: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
    let was = left.and_then(|lane| {
        endpoints
            .iter()
            .position(|endpoint| Arc::ptr_eq(endpoint, &lane.endpoint))
    });
    let (before, after) = endpoints.split_at(was.map_or(0, |at| at + 1));
    let now = Instant::now();
    after
        .iter()
        .chain(before)
        .min_by_key(|endpoint| (endpoint.due().max(now), endpoint.standby))
        .cloned()
}
