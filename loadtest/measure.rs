//! One round: a subject, its load, and what it used.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::process::{Subject, Usage, free_address, machine_cpu_seconds, own_cpu_seconds};
use crate::report::Figures;
use crate::scenario::Scenario;
use crate::sink::{SendTimes, Sink};
use crate::subject::{What, gateway_command, relay_command};
use crate::{confirm, generate};

/// Sends the events of `scenario` through `what`, and says what that took.
pub(crate) fn measure(scenario: &Scenario, what: &What, gateway: &Path) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir()?;
    let times = Arc::new(SendTimes::new(scenario.events, scenario.batch_events));
    let sink = Sink::start(
        ([127, 0, 0, 1], 0).into(),
        scenario.events,
        Arc::clone(&times),
    )?;
    let (input, admin) = (free_address()?, free_address()?);
    let place = folder.path();
    let command = match what {
        What::Gateway => {
            let (from, to) = (scenario.input, scenario.output);
            gateway_command(gateway, place, from, to, input, admin, sink.address)?
        }
        What::Relay => relay_command(input, sink.address, None)?,
        What::DurableRelay => relay_command(input, sink.address, Some(&place.join("relay.data")))?,
    };
    let (subject, before) = start(command, &place.join("subject.log"), input)?;
    let (others, own) = (machine_cpu_seconds(), own_cpu_seconds());
    let started = Instant::now();
    let answers = generate::run(scenario, input, &times)?;
    // Every event is good: one that was not accepted is a fault.
    ensure!(
        answers.accepted == scenario.events,
        "{} of {} events were accepted, {} were not",
        answers.accepted,
        scenario.events,
        answers.rejected
    );
    wait_for_all(&sink, answers.accepted)?;
    let seconds = started.elapsed().as_secs_f64();
    let after = subject.usage()?;
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    let used_by_us = own_cpu_seconds() - own + cpu_seconds;
    let others = (machine_cpu_seconds() - others - used_by_us).max(0.0);
    let confirmed = match what {
        What::Gateway => Some(confirm::wait_for_all(admin, answers.accepted)?),
        What::Relay | What::DurableRelay => None,
    };
    Ok(Figures {
        events: answers.accepted,
        seconds,
        cpu_seconds,
        peak_bytes: after.peak_bytes,
        answers: answers.latency,
        arrivals: sink.arrivals(),
        confirmed,
        duplicates: sink.counts.duplicates(),
        missing: answers.accepted.saturating_sub(sink.counts.distinct()),
        others_cpu_share: others / seconds,
    })
}

/// Starts the subject, and says what starting cost: that is not what an event
/// costs.
fn start(command: Command, log: &Path, input: SocketAddr) -> anyhow::Result<(Subject, Usage)> {
    let mut subject = Subject::start(command, log)?;
    subject.wait_for(input).with_context(|| {
        let said = std::fs::read_to_string(log).unwrap_or_default();
        format!("its messages: {said}")
    })?;
    thread::sleep(Duration::from_millis(500));
    let usage = subject.usage()?;
    Ok((subject, usage))
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
