//! `stashgate demo`: the whole thing in one process. A gateway, a producer that
//! sends it numbered events over gRPC, and a stand-in for Logstash that is
//! "upgraded" in the middle and counts what it gets. At the end the books are
//! opened.

mod producer;
mod report;
mod stand_in;
mod view;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::run::runtime;
use super::{Exit, Failure, output};
use crate::batch::QueueName;
use crate::config::{Config, Queue};
use crate::gateway::Gateway;
use crate::shutdown::Signals;
use crate::status::{QueueStatus, State};
use producer::Producer;
use report::Report;
use stand_in::StandIn;
use view::{Moment, View};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longer than any pause a slow machine makes by itself.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// The demo is gone in a minute, so it may use a disk that is nearly full.
const MIN_FREE: bytesize::ByteSize = bytesize::ByteSize::mib(64);

/// Show it at work: a million events, with Logstash "upgraded" in the middle.
///
/// Everything runs in this process, on free loopback ports and a temporary
/// folder, and is gone afterwards. Exit code 1 if an event is missing.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// How many events are sent.
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    events: u64,
    /// Events a second; 0: as fast as they are taken.
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    rate: u64,
}

impl Demo {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("stashgate-demo-")
            .tempdir()
            .map_err(|error| failure(format!("cannot make a temporary folder: {error}")))?;
        let runtime = runtime()?;
        let exit = runtime.block_on(self.play(folder.path()));
        runtime.shutdown_timeout(Duration::from_secs(1));
        exit
    }

    async fn play(&self, folder: &Path) -> Result<Exit, Failure> {
        let mut signals = Signals::listen().map_err(failure)?;
        let stand_in = StandIn::start(self.events).await.map_err(failure)?;
        let config = config(folder, stand_in.address().to_string());
        let gateway = Gateway::start(config).await.map_err(failure)?;
        let stage = Stage::new(self, gateway, stand_in)?;
        output::print(format_args!(
            "{} events over gRPC -> gateway (journal in {}) -> a stand-in for Logstash\n",
            output::thousands(self.events),
            folder.display()
        ));
        let exit = tokio::select! {
            report = stage.watch() => {
                output::print(&report);
                if report.is_complete() { Exit::Done } else { Exit::No }
            }
            _ = signals.next() => {
                output::print("\nended; nothing is left behind\n");
                Exit::Done
            }
        };
        Ok(exit)
    }
}

fn failure(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Start, error)
}

fn config(folder: &Path, logstash: String) -> Config {
    let any_port = ([127, 0, 0, 1], 0).into();
    let mut config = Config {
        data_dir: folder.to_owned(),
        ..Config::default()
    };
    config.admin.listen = any_port;
    config.receivers.grpc.listen = any_port;
    config.receivers.http.enabled = false;
    config.receivers.tcp = BTreeMap::new();
    config.spool.journal.min_free_bytes = MIN_FREE;
    let mut queue = Queue::default();
    queue.output.hosts = vec![logstash];
    config.queues = BTreeMap::from([(QueueName::default(), queue)]);
    config
}

/// Everybody who takes part.
struct Stage {
    gateway: Gateway,
    stand_in: StandIn,
    accepted: Arc<AtomicU64>,
    events: u64,
    start: Instant,
    /// Ends the producer when the demo ends early.
    _producing: tokio_util::sync::DropGuard,
}

impl Stage {
    fn new(demo: &Demo, gateway: Gateway, stand_in: StandIn) -> Result<Self, Failure> {
        let address = gateway
            .address("grpc")
            .ok_or_else(|| failure("the gRPC receiver is not there"))?;
        let end = CancellationToken::new();
        let producer = Producer::new(address, demo.events, demo.rate).map_err(failure)?;
        let accepted = producer.accepted();
        let ended = end.clone();
        tokio::spawn(async move { ended.run_until_cancelled(producer.run()).await });
        Ok(Self {
            gateway,
            stand_in,
            accepted,
            events: demo.events,
            start: Instant::now(),
            _producing: end.drop_guard(),
        })
    }

    /// Shows how it goes until everything has arrived, or nothing moves any
    /// more.
    async fn watch(self) -> Report {
        let mut view = View::new(self.events);
        let mut upgrade = None;
        let mut moved = (Moment::default(), Instant::now());
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let moment = self.look();
            view.show(self.start.elapsed(), &moment);
            if upgrade.is_none() && moment.accepted >= self.events / 2 {
                upgrade = Some(self.stand_in.upgrade());
            }
            if moment != moved.0 {
                moved = (moment, Instant::now());
            }
            let upgraded = upgrade
                .as_ref()
                .is_some_and(|upgrade| upgrade.is_finished());
            let done = upgraded
                && moment.accepted == self.events
                && moment.waiting == 0
                && moment.in_hand == 0;
            if done || moved.1.elapsed() > STALLED_AFTER || self.is_poisoned() {
                break;
            }
        }
        view.finish();
        self.finish().await
    }

    fn look(&self) -> Moment {
        let queue = self.queue();
        Moment {
            accepted: self.accepted.load(Relaxed),
            waiting: queue.as_ref().map_or(0, |q| q.stats.waiting_events),
            in_hand: queue.as_ref().map_or(0, |q| q.stats.leased_events),
            confirmed: queue.as_ref().map_or(0, |q| q.stats.ledger.confirmed),
            logstash: self.stand_in.state(),
        }
    }

    fn is_poisoned(&self) -> bool {
        self.gateway.status().state == State::Poisoned
    }

    fn queue(&self) -> Option<QueueStatus> {
        self.gateway.status().queues.into_iter().next()
    }

    async fn finish(self) -> Report {
        let took = self.start.elapsed();
        let queue = self.queue();
        let report = Report {
            sent: self.events,
            accepted: self.accepted.load(Relaxed),
            confirmed: queue.as_ref().map_or(0, |q| q.stats.ledger.confirmed),
            unaccounted: queue.as_ref().map_or(-1, |q| q.unaccounted_events),
            received: self.stand_in.received(),
            took,
        };
        self.gateway.stop().await;
        report
    }
}
