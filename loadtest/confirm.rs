//! What the gateway says of its confirmations: from acceptance to confirmation,
//! read from the buckets of its own metric, and its ledger when all is done.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// Upper bounds in seconds with how many batches took at most that long.
pub(crate) struct Confirmations(Vec<(f64, f64)>);

impl Confirmations {
    /// The bucket's bound that holds the quantile, in milliseconds; times of
    /// confirmation are known no finer than the metric's buckets.
    pub(crate) fn millis_at_most(&self, quantile: f64) -> f64 {
        let all = self.0.last().map_or(0.0, |(_, count)| *count);
        let bucket = self.0.iter().find(|(_, count)| *count >= quantile * all);
        bucket.map_or(0.0, |(bound, _)| bound * 1e3)
    }
}

/// Waits until the gateway has confirmed `events`, and holds its books to it.
pub(crate) fn wait_for_all(admin: SocketAddr, events: u64) -> anyhow::Result<Confirmations> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let status: serde_json::Value = serde_json::from_str(&get(admin, "/api/v1/status")?)?;
        let queue = &status["queues"][0];
        let confirmed = queue["ledger"]["confirmed"].as_u64().unwrap_or_default();
        if confirmed >= events {
            ensure!(
                queue["unaccounted_events"] == 0,
                "the ledger does not come out at 0: {queue}"
            );
            return buckets(&get(admin, "/metrics")?);
        }
        ensure!(
            Instant::now() < until,
            "{confirmed} of {events} events are confirmed, 30 s after the last one arrived"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

/// How many events the gateway has confirmed by now.
pub(crate) fn confirmed(admin: SocketAddr) -> anyhow::Result<u64> {
    let status: serde_json::Value = serde_json::from_str(&get(admin, "/api/v1/status")?)?;
    let confirmed = status["queues"][0]["ledger"]["confirmed"].as_u64();
    confirmed.context("no ledger in the status")
}

fn buckets(metrics: &str) -> anyhow::Result<Confirmations> {
    let lines = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("stashgate_end_to_end_seconds_bucket{")?;
        let (_, rest) = rest.split_once("le=\"")?;
        let (bound, rest) = rest.split_once('"')?;
        let bound = bound.parse().unwrap_or(f64::INFINITY);
        Some((bound, rest.rsplit(' ').next()?.parse().ok()?))
    });
    let buckets: Vec<_> = lines.collect();
    ensure!(!buckets.is_empty(), "no end-to-end seconds in /metrics");
    Ok(Confirmations(buckets))
}

fn get(admin: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut socket = TcpStream::connect(admin)?;
    write!(socket, "GET {path} HTTP/1.0\r\nhost: {admin}\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    ensure!(head.contains(" 200 "), "{path}: {head}");
    Ok(body.to_owned())
}
