//! One round: a subject, its load, and what it used.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::generate::Answers;
use crate::process::{Subject, Usage, free_address, machine_cpu_seconds, own_cpu_seconds};
use crate::redis::{Redis, Used};
use crate::report::Figures;
use crate::scenario::Scenario;
use crate::sink::{SendTimes, Sink};
use crate::subject::{Settings, What, gateway_command, relay_command};
use crate::{confirm, generate};

/// Sends the events of `scenario` through `what`, and says what that took.
pub(crate) fn measure(scenario: &Scenario, what: &What, gateway: &Path) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir()?;
    let place = folder.path();
    let times = Arc::new(SendTimes::new(scenario.events, scenario.batch_events));
    let sink = Sink::start(
        ([127, 0, 0, 1], 0).into(),
        scenario.events,
        Arc::clone(&times),
    )?;
    let redis = Redis::start_for(scenario, place)?;
    let (input, admin) = (free_address()?, free_address()?);
    let settings = Settings {
        output: scenario.output,
        redis: redis.as_ref().map(|redis| (&redis.settings, redis.address)),
        ..Settings::usual(scenario.input, input, admin, sink.address)
    };
    let command = match what {
        What::Gateway => gateway_command(gateway, place, &settings)?,
        What::Relay => relay_command(input, sink.address, None)?,
        What::DurableRelay => relay_command(input, sink.address, Some(&place.join("relay.data")))?,
    };
    let subject = start(command, &place.join("subject.log"), input)?;
    let before = Moment::now(&subject, redis.as_ref())?;
    let answers = generate::run(scenario, input, &times)?;
    ensure_all_accepted(&answers, scenario)?;
    wait_for_all(&sink, answers.accepted)?;
    let after = Moment::now(&subject, redis.as_ref())?;
    let confirmed = match what {
        What::Gateway => Some(confirm::wait_for_all(admin, answers.accepted)?),
        What::Relay | What::DurableRelay => None,
    };
    // The last settlements have reached it by now.
    let redis_used = Moment::now(&subject, redis.as_ref())?.redis_since(&before);
    drop(subject);
    let redis = match (redis, redis_used) {
        (Some(redis), Some(used)) => Some(redis.figures(scenario, used)?),
        _ => None,
    };
    Ok(Figures {
        events: answers.accepted,
        seconds: after.seconds_since(&before),
        cpu_seconds: after.subject.cpu_seconds - before.subject.cpu_seconds,
        peak_bytes: after.subject.peak_bytes,
        answers: answers.latency,
        arrivals: sink.arrivals(),
        confirmed,
        duplicates: sink.counts.duplicates(),
        missing: answers.accepted.saturating_sub(sink.counts.distinct()),
        others_cpu_share: after.others_since(&before) / after.seconds_since(&before),
        redis,
    })
}

/// Who had used how much at a moment.
struct Moment {
    at: Instant,
    subject: Usage,
    redis: Option<Used>,
    /// CPU seconds of this process, and of all.
    own: f64,
    machine: f64,
}

impl Moment {
    fn now(subject: &Subject, redis: Option<&Redis>) -> anyhow::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            subject: subject.usage()?,
            redis: redis.map(Redis::used).transpose()?,
            own: own_cpu_seconds(),
            machine: machine_cpu_seconds(),
        })
    }

    fn seconds_since(&self, before: &Self) -> f64 {
        (self.at - before.at).as_secs_f64()
    }

    fn redis_since(&self, before: &Self) -> Option<Used> {
        Some(self.redis? - before.redis?)
    }

    /// CPU seconds of programs that have nothing to do with the round.
    fn others_since(&self, before: &Self) -> f64 {
        let redis = self
            .redis_since(before)
            .map_or(0.0, |used| used.cpu_seconds);
        let subject = self.subject.cpu_seconds - before.subject.cpu_seconds;
        let ours = self.own - before.own + subject + redis;
        (self.machine - before.machine - ours).max(0.0)
    }
}

/// Every event is good: one that was not accepted is a fault.
fn ensure_all_accepted(answers: &Answers, scenario: &Scenario) -> anyhow::Result<()> {
    ensure!(
        answers.accepted == scenario.events,
        "{} of {} events were accepted, {} were not",
        answers.accepted,
        scenario.events,
        answers.rejected
    );
    Ok(())
}

/// Starts the subject; returns a while after it listens, since what starting costs is
/// not what an event costs.
fn start(command: Command, log: &Path, input: SocketAddr) -> anyhow::Result<Subject> {
    let mut subject = Subject::start(command, log)?;
    subject.wait_for(input).with_context(|| {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        format!("its messages: {said}")
    })?;
    thread::sleep(Duration::from_millis(500));
    Ok(subject)
}

/// Waits until `events` different events are at the sink.
pub(crate) fn wait_for_all(sink: &Sink, events: u64) -> anyhow::Result<()> {
    let (mut last, mut since) = (0, Instant::now());
    while sink.counts.distinct() < events {
        if sink.counts.distinct() != last {
            (last, since) = (sink.counts.distinct(), Instant::now());
        }
        if since.elapsed() > Duration::from_secs(30) {
            bail!("{last} of {events} events arrived, and for 30 s no more");
        }
        thread::sleep(Duration::from_millis(5));
    }
    ensure!(
        sink.counts.strange() == 0,
        "{} lines had no number",
        sink.counts.strange()
    );
    Ok(())
}
