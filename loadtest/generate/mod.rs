//! The load generator. Closed loop: a batch goes out when an answer makes room.
//! Fixed rate: each batch has a time at which it is due, and its latency counts
//! from then, whether it could be sent in time or not, so that a gateway that
//! stalls cannot hide it (no coordinated omission).

mod grpc;
mod http;
mod pace;
mod tcp;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::scenario::{Input, Scenario};
use crate::sink::{SendTimes, micros};
use pace::Pace;

/// What the generator saw.
pub(crate) struct Answers {
    /// Events that the gateway answered as durable. TCP has no answers: what was written.
    pub(crate) accepted: u64,
    /// Events that it rejected, or that stood in refused batches.
    pub(crate) rejected: u64,
    /// From due time to answer, in microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Answers {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            accepted: 0,
            rejected: 0,
            latency: micros()?,
        })
    }

    fn answered(&mut self, accepted: u64, of: u64, due: Instant) {
        self.accepted += accepted;
        self.rejected += of - accepted;
        self.latency
            .saturating_record(due.elapsed().as_micros() as u64);
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.latency.add(&other.latency)?;
        Ok(())
    }
}

/// What one client sends.
struct Client {
    scenario: Scenario,
    to: SocketAddr,
    pace: Pace,
    times: Arc<SendTimes>,
}

/// Sends everything that `scenario` says; returns when all is answered.
pub(crate) fn run(
    scenario: &Scenario,
    to: SocketAddr,
    times: &Arc<SendTimes>,
) -> anyhow::Result<Answers> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let started = Instant::now();
        let clients: Vec<_> = (0..scenario.clients)
            .map(|number| Client {
                scenario: scenario.clone(),
                to,
                pace: Pace::new(scenario, number, started),
                times: Arc::clone(times),
            })
            .map(|client| tokio::spawn(send(client)))
            .collect();
        let mut all = Answers::new()?;
        for client in clients {
            all.add(&client.await??)?;
        }
        Ok(all)
    })
}

async fn send(client: Client) -> anyhow::Result<Answers> {
    match client.scenario.input {
        Input::GrpcStream => grpc::stream(client).await,
        Input::GrpcUnary => grpc::unary(client).await,
        Input::Http => http::post(client).await,
        Input::Tcp => tcp::write(client).await,
    }
}

/// `loadtest generate`
pub(crate) fn by_hand(scenario: &Path, to: SocketAddr) -> anyhow::Result<()> {
    let scenario = Scenario::read(scenario)?;
    let times = Arc::new(SendTimes::new(scenario.events, scenario.batch_events));
    let started = Instant::now();
    let answers = run(&scenario, to, &times)?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "accepted {}  rejected {}  {:.0} events/s  answer p50 {:.2} ms  p99 {:.2} ms",
        answers.accepted,
        answers.rejected,
        answers.accepted as f64 / seconds,
        answers.latency.value_at_quantile(0.5) as f64 / 1e3,
        answers.latency.value_at_quantile(0.99) as f64 / 1e3,
    );
    Ok(())
}
