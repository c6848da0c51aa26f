//! Sends numbered events over gRPC, as a service would.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::client::{Batch, Client, ConnectError};

const BATCH_EVENTS: u64 = 500;
/// Enough that a sync of the journal is shared by several batches.
const WINDOW_BATCHES: usize = 64;
const WINDOW_BYTES: usize = 32 << 20;

/// Sends numbered events.
pub(super) struct Producer {
    client: Client,
    events: u64,
    rate: u64,
    accepted: Arc<AtomicU64>,
}

impl Producer {
    pub(super) fn new(to: SocketAddr, events: u64, rate: u64) -> Result<Self, ConnectError> {
        let client = Client::builder(&format!("http://{to}"))
            .window(WINDOW_BATCHES, WINDOW_BYTES)
            .connect()?;
        Ok(Self {
            client,
            events,
            rate,
            accepted: Arc::default(),
        })
    }

    /// How many events the gateway answered for so far.
    pub(super) fn accepted(&self) -> Arc<AtomicU64> {
        self.accepted.clone()
    }

    /// Sends all events and waits for all answers.
    pub(super) async fn run(self) {
        let start = Instant::now();
        let mut answers = JoinSet::new();
        for first in (0..self.events).step_by(BATCH_EVENTS as usize) {
            if self.rate > 0 {
                let due = Duration::from_secs_f64(first as f64 / self.rate as f64);
                sleep_until(start + due).await;
            }
            let last = self.events.min(first + BATCH_EVENTS);
            let Ok(answer) = self.client.send(Batch::new(events(first..last))).await else {
                return;
            };
            let accepted = self.accepted.clone();
            answers.spawn(async move {
                if let Ok(receipt) = answer.await {
                    accepted.fetch_add(u64::from(receipt.accepted), Relaxed);
                }
            });
            while answers.try_join_next().is_some() {}
        }
        answers.join_all().await;
    }
}

/// Events of about 300 bytes, one a line.
fn events(numbers: std::ops::Range<u64>) -> String {
    let mut block = String::with_capacity(320 * BATCH_EVENTS as usize);
    for number in numbers {
        // Writing to a string cannot fail.
        let _ = writeln!(
            block,
            "{{\"@timestamp\":\"2026-11-21T20:53:00.{:03}Z\",\"sequence\":{number},\"level\":\"info\",\"service\":\"checkout\",\
             \"host\":{{\"name\":\"web-{}\",\"ip\":\"10.0.7.{}\"}},\"http\":{{\"method\":\"POST\",\"path\":\"/orders/{number}/pay\",\
             \"status\":{},\"took_ms\":{}}},\"user\":\"u{:08}\",\"message\":\"payment for order {number} was taken\"}}",
            number % 1000,
            number % 17,
            number % 251,
            if number.is_multiple_of(97) { 502 } else { 200 },
            number % 313,
            number.wrapping_mul(2_654_435_761) % 100_000_000,
        );
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_json_of_about_300_bytes() {
        let block = events(41..43);
        let lines: Vec<_> = block.lines().collect();
        assert_eq!(lines.len(), 2);
        for (line, number) in lines.into_iter().zip(41_u64..) {
            let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert_eq!(event["sequence"], number);
            assert!((250..350).contains(&line.len()), "{}", line.len());
        }
    }
}
