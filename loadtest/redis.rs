//! A Redis of its own for a round, what it used, and `redis-benchmark` beside it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Sub;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::affinity;
use crate::process::{Subject, free_address};
use crate::scenario::{self, Scenario};

/// Bytes that the yardstick pushes in all: enough to measure, and not too much memory.
const YARDSTICK_BYTES: u64 = 100 << 20;
const MOST_VALUES: u64 = 100_000;

/// Whether Redis and its benchmark are there.
pub(crate) fn is_installed() -> bool {
    ["redis-server", "redis-benchmark"].iter().all(|program| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    })
}

/// A running Redis; ended when dropped.
pub(crate) struct Redis {
    process: Subject,
    pub(crate) address: SocketAddr,
    pub(crate) settings: scenario::Redis,
}

/// What a Redis used so far, or in between.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) cpu_seconds: f64,
    /// Bytes that it received.
    received: u64,
    /// Bytes that it sent.
    sent: u64,
}

/// What a scenario took of Redis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RedisFigures {
    /// For a million events.
    pub(crate) cpu_seconds: f64,
    /// For each byte of the events.
    pub(crate) bytes_to_redis: f64,
    pub(crate) bytes_from_redis: f64,
    /// What `redis-benchmark` makes of values of the same length.
    pub(crate) value_bytes: u64,
    pub(crate) rpush: Yardstick,
    pub(crate) lpop: Yardstick,
}

/// One test of `redis-benchmark`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Yardstick {
    /// Of Redis, for as many values as hold a million events.
    pub(crate) cpu_seconds: f64,
    pub(crate) values_per_second: f64,
}

impl Redis {
    /// Starts the Redis that `scenario` asks for, on the core of the load.
    pub(crate) fn start_for(scenario: &Scenario, folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(settings) = &scenario.redis else {
            return Ok(None);
        };
        let data = folder.join("redis");
        fs::create_dir_all(&data)?;
        let address = free_address()?;
        let mut command = Command::new("redis-server");
        command.arg("--port").arg(address.port().to_string());
        command.args(["--bind", "127.0.0.1", "--appendonly", "yes", "--save", ""]);
        command.arg("--appendfsync").arg(&settings.appendfsync);
        // When its file is rewritten is chance; that would only be noise.
        command.args(["--auto-aof-rewrite-percentage", "0"]);
        command.arg("--dir").arg(&data);
        let log = folder.join("redis.log");
        let mut process = Subject::start_on(affinity::LOAD, command, &log)?;
        process.wait_for(address)?;
        Ok(Some(Self {
            process,
            address,
            settings: settings.clone(),
        }))
    }

    /// What it used so far.
    pub(crate) fn used(&self) -> anyhow::Result<Used> {
        let stats = self.info("stats")?;
        Ok(Used {
            cpu_seconds: self.process.usage()?.cpu_seconds,
            received: field(&stats, "total_net_input_bytes")?,
            sent: field(&stats, "total_net_output_bytes")?,
        })
    }

    /// What `scenario` took, and then the yardstick.
    pub(crate) fn figures(&self, scenario: &Scenario, used: Used) -> anyhow::Result<RedisFigures> {
        let batches = scenario.events / scenario.batch_events as u64;
        let payload = (scenario.events * (scenario.event_bytes as u64 + 1)) as f64;
        let value_bytes = used.received / batches;
        Ok(RedisFigures {
            cpu_seconds: used.cpu_seconds * 1e6 / scenario.events as f64,
            bytes_to_redis: used.received as f64 / payload,
            bytes_from_redis: used.sent as f64 / payload,
            value_bytes,
            rpush: self.yardstick("rpush", value_bytes, scenario.batch_events)?,
            lpop: self.yardstick("lpop", value_bytes, scenario.batch_events)?,
        })
    }

    fn yardstick(
        &self,
        test: &str,
        value_bytes: u64,
        batch_events: usize,
    ) -> anyhow::Result<Yardstick> {
        let values = (YARDSTICK_BYTES / value_bytes.max(1)).clamp(1, MOST_VALUES);
        let before = self.used()?;
        let mut command = Command::new("redis-benchmark");
        command.arg("-p").arg(self.address.port().to_string());
        command.args(["-t", test, "-P", "8", "-c", "2", "--csv"]);
        command.arg("-d").arg(value_bytes.to_string());
        command.arg("-n").arg(values.to_string());
        let output = command.stderr(Stdio::null()).output()?;
        let used = self.used()? - before;
        let csv = String::from_utf8_lossy(&output.stdout);
        let line = csv.lines().nth(1).unwrap_or_default();
        let rate = line.split(',').nth(1).map(|field| field.trim_matches('"'));
        let values_per_second = rate.and_then(|rate| rate.parse().ok());
        Ok(Yardstick {
            cpu_seconds: used.cpu_seconds / values as f64 * 1e6 / batch_events as f64,
            values_per_second: values_per_second
                .with_context(|| format!("redis-benchmark said: {csv}"))?,
        })
    }

    fn info(&self, section: &str) -> anyhow::Result<String> {
        let mut socket = BufReader::new(TcpStream::connect(self.address)?);
        write!(socket.get_mut(), "INFO {section}\r\n")?;
        let mut head = String::new();
        socket.read_line(&mut head)?;
        ensure!(head.starts_with('$'), "Redis said: {head}");
        let mut info = vec![0; head[1..].trim().parse()?];
        socket.read_exact(&mut info)?;
        Ok(String::from_utf8(info)?)
    }
}

fn field(info: &str, name: &str) -> anyhow::Result<u64> {
    let values = info.lines().filter_map(|line| line.split_once(':'));
    let value = values.into_iter().find(|(key, _)| *key == name);
    let (_, value) = value.with_context(|| format!("no {name} in INFO"))?;
    Ok(value.trim().parse()?)
}

impl Sub for Used {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            received: self.received - before.received,
            sent: self.sent - before.sent,
        }
    }
}
