//! What a gateway says about itself, put together from its stages.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::forwarders::Forwarders;
use super::holds::Holds;
use super::receivers;
use super::watch::Watch;
use crate::admin::{HoldError, Metrics};
use crate::batch::UnixMillis;
use crate::config::{Config, SpoolKind, fleeting};
use crate::dead_letter::store::Store;
use crate::dead_letter::workbench::{self, Workbench};
use crate::dead_letter::{DeadLetterStats, DeadLetters};
use crate::forwarder::{self, EndpointState, HostStatus};
use crate::jq::Runner;
use crate::replay::Replays;
use crate::spool::journal::files::{Files, OsFiles};
use crate::spool::{QueueStats, Spool};
use crate::status::{Endpoint, Limits, Listener, QueueStatus, Sampler, State, Status};

const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// The stages of a gateway that has opened its spool.
pub(super) struct Stages {
    pub(super) replays: Replays,
    pub(super) spool: Spool,
    pub(super) letters: DeadLetters,
    pub(super) store: Store,
    pub(super) forwarders: Arc<Forwarders>,
    pub(super) holds: Arc<Holds>,
    pub(super) watch: Option<Arc<Watch>>,
}

/// What the admin address sees of a gateway, from its first moment on.
pub(super) struct Shared {
    /// What is in force.
    config: ArcSwap<Config>,
    listeners: Vec<Listener>,
    started_at: UnixMillis,
    /// What is wrong with the data folder, if anything.
    fleeting: Option<String>,
    stages: OnceLock<Stages>,
    draining: AtomicBool,
    sampler: Mutex<Sampler>,
    metrics: Metrics,
    jq: Runner,
}

impl Shared {
    pub(super) fn new(config: Config, listeners: Vec<Listener>) -> Self {
        Self {
            fleeting: fleeting(&config.data_dir),
            config: ArcSwap::from_pointee(config),
            listeners,
            started_at: UnixMillis::now(),
            stages: OnceLock::new(),
            draining: AtomicBool::new(false),
            sampler: Mutex::default(),
            metrics: Metrics::of_process(),
            jq: Runner::default(),
        }
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    pub(super) fn set_config(&self, config: Arc<Config>) {
        self.config.store(config);
    }

    /// Runs jq expressions, for all who have some.
    pub(super) fn jq(&self) -> Runner {
        self.jq.clone()
    }

    /// The replays; `None` while the gateway is starting.
    pub(super) fn replays(&self) -> Option<Replays> {
        Some(self.stages.get()?.replays.clone())
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    pub(super) fn address(&self, listener: &str) -> Option<SocketAddr> {
        let found = self.listeners.iter().find(|l| l.name == listener);
        found.map(|listener| listener.address)
    }

    pub(super) fn opened(&self, stages: Stages) {
        let set = self.stages.set(stages);
        debug_assert!(set.is_ok(), "a gateway opens once");
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Takes samples for the rates, for ever.
    pub(super) async fn sample(&self) {
        let mut tick = tokio::time::interval(SAMPLE_EVERY);
        loop {
            tick.tick().await;
            if let Some(stages) = self.stages.get() {
                let stats = stages.spool.stats();
                let disk_room = disk_room(&self.config(), &stats).await;
                let mut sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
                sampler.sample(&stats, disk_room, Instant::now());
            }
            self.metrics.tidy();
        }
    }

    /// How long ago the journal was last known to move; while it is being opened
    /// and read, that is now.
    pub(super) fn since_last_tick(&self) -> Duration {
        let stages = self.stages.get();
        stages.map_or(Duration::ZERO, |stages| stages.spool.since_last_tick())
    }

    pub(super) fn status(&self) -> Status {
        let stages = self.stages.get();
        let config = self.config();
        let queues: Vec<_> = stages.map(|s| self.queues(s, &config)).unwrap_or_default();
        let letters =
            stages.map(|stages| DeadLetterStats::of(&stages.letters, Some(&stages.store)));
        let watch = stages.and_then(|stages| stages.watch.as_ref());
        let poisoned = queues.iter().any(|queue| queue.stats.poisoned.is_some())
            || letters.as_ref().is_some_and(|l| l.poisoned.is_some());
        let state = if self.draining.load(Ordering::Relaxed) {
            State::Draining
        } else if stages.is_none() {
            State::Starting
        } else if poisoned {
            State::Poisoned
        } else if takes_nothing(&queues, &config) {
            State::Unavailable
        } else {
            State::Running
        };
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            state,
            started_at: self.started_at,
            at: UnixMillis::now(),
            data_dir: config.data_dir.clone(),
            listeners: self.listeners.clone(),
            warnings: self
                .warnings(&config)
                .chain(watch.iter().flat_map(|watch| watch.warnings()))
                .chain(alarms(&queues, letters.as_ref()))
                .collect(),
            replays: stages.map(|s| s.replays.all()).unwrap_or_default(),
            queues,
            redis: watch.map(|watch| watch.status()),
            dead_letters: letters,
        }
    }

    /// The workbench of the dead letters, with what is in force now; `None` while the
    /// gateway is starting.
    pub(super) fn workbench(&self) -> Option<Workbench> {
        let stages = self.stages.get()?;
        let config = self.config();
        let settings = workbench::Settings {
            max_attempts: config.dead_letters.max_attempts,
            limits: receivers::limits(&config),
            queues: config.queues.keys().cloned().collect(),
        };
        let (store, spool) = (stages.store.clone(), stages.spool.clone());
        Some(Workbench::new(store, spool, self.jq.clone(), settings))
    }

    /// Holds what has this name, or resumes it; all that is held then.
    pub(super) async fn hold(&self, name: &str, hold: bool) -> Result<Vec<String>, HoldError> {
        let stages = self.stages.get().ok_or(HoldError::Starting)?;
        let held = stages.holds.subscribe().borrow().clone();
        let known = self.names(stages);
        if hold && !known.iter().any(|known| known == name) {
            let name = name.to_owned();
            return Err(HoldError::Unknown { name, known });
        }
        if !hold && !held.names().contains(name) {
            let held = held.names().iter().cloned().collect();
            let name = name.to_owned();
            return Err(HoldError::NotHeld { name, held });
        }
        let held = stages.holds.change(name, hold).await;
        let held = held.map_err(HoldError::NotKept)?;
        Ok(held.names().iter().cloned().collect())
    }

    /// What can be held: queues, hosts and the addresses behind them.
    fn names(&self, stages: &Stages) -> Vec<String> {
        let mut names = BTreeSet::new();
        for forwarder in stages.forwarders.status() {
            names.insert(forwarder.queue.to_string());
            for host in forwarder.hosts {
                names.extend(host.endpoints.iter().map(|e| e.address.to_string()));
                names.insert(host.host);
            }
        }
        names.into_iter().collect()
    }

    fn warnings(&self, config: &Config) -> impl Iterator<Item = String> {
        let weaknesses = config.weaknesses().into_iter();
        weaknesses.chain(self.fleeting.clone())
    }

    fn queues(&self, stages: &Stages, config: &Config) -> Vec<QueueStatus> {
        let forwarders = stages.forwarders.status();
        let stats = stages.spool.stats().into_iter();
        stats
            .map(|stats| self.queue(&forwarders, config, stats))
            .collect()
    }

    fn queue(
        &self,
        forwarders: &[forwarder::Status],
        config: &Config,
        stats: QueueStats,
    ) -> QueueStatus {
        let settings = config.queues.get(&stats.queue);
        let max_bytes = settings.map_or(0, |settings| settings.max_bytes.0);
        let limits = Limits {
            queue: max_bytes,
            spool: config.spool.max_bytes.0,
        };
        let sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        let own = forwarders.iter().filter(|f| f.queue == stats.queue);
        QueueStatus {
            max_bytes,
            unaccounted_events: stats.unaccounted_events(),
            rates: sampler.rates(&stats.queue, limits),
            endpoints: own
                .flat_map(|forwarder| &forwarder.hosts)
                .flat_map(endpoints)
                .collect(),
            stats,
        }
    }
}

/// Whether no queue takes batches, because Redis does not and nothing else may.
fn takes_nothing(queues: &[QueueStatus], config: &Config) -> bool {
    let spills = config.spool.redis.spill;
    let is_closed = |queue: &QueueStatus| {
        let stats = &queue.stats;
        let away = stats
            .redis
            .as_ref()
            .is_some_and(|r| r.unavailable.is_some());
        let poisoned = stats.spill.as_ref().is_some_and(|s| s.poisoned.is_some());
        away && (!spills || poisoned)
    };
    !queues.is_empty() && queues.iter().all(is_closed)
}

/// Bytes that the journal can still write: the archive makes room when it must.
async fn disk_room(config: &Config, stats: &[QueueStats]) -> Option<u64> {
    if config.spool.kind == SpoolKind::Redis {
        // What Redis takes is not known from the disk.
        return None;
    }
    let data_dir = config.data_dir.clone();
    // A disk that hangs holds whoever asks it.
    let asked = tokio::task::spawn_blocking(move || OsFiles.free_bytes(&data_dir));
    let free = asked.await.ok()?.ok()?;
    let settled = |queue: &QueueStats| queue.stored_bytes.saturating_sub(queue.waiting_bytes);
    let archive: u64 = stats.iter().map(settled).sum();
    let least = config.spool.journal.min_free_bytes.0;
    Some(free.saturating_add(archive).saturating_sub(least))
}

/// What needs a person.
fn alarms(queues: &[QueueStatus], letters: Option<&DeadLetterStats>) -> Vec<String> {
    let no_spill = queues.iter().filter_map(|queue| {
        let why = queue.stats.spill.as_ref()?.poisoned.as_ref()?;
        Some(format!("queue {}: the journal takes no batches that Redis does not take, until a restart: {why}", queue.stats.queue))
    });
    let no_archive = queues.iter().filter_map(|queue| {
        let why = queue.stats.redis.as_ref()?.archive_trouble.as_ref()?;
        Some(format!(
            "queue {}: what is delivered is not kept in the archive on the disk: {why}",
            queue.stats.queue
        ))
    });
    let letters_in = letters.into_iter();
    let first = no_spill
        .chain(no_archive)
        .chain(letters_in.flat_map(of_letters));
    let first: Vec<String> = first.collect();
    let queues = queues.iter().map(|queue| {
        (
            format!("queue {}", queue.stats.queue),
            queue.unaccounted_events,
        )
    });
    let places = letters.into_iter().flat_map(|letters| &letters.places);
    let places = places.map(|p| (format!("dead letters ({})", p.place), p.unaccounted));
    let wrong = queues.chain(places).filter(|(_, events)| *events != 0);
    let wrong = wrong.map(|(whose, events)| {
        format!(
            "{whose}: {events} events are unaccounted for; please report it with the output of `stashgate status --json`"
        )
    });
    first.into_iter().chain(wrong).collect()
}

/// What needs a person who looks after the dead letters.
fn of_letters(letters: &DeadLetterStats) -> impl Iterator<Item = String> {
    let trouble = letters.trouble.as_ref();
    let trouble = trouble.map(|why| {
        format!("dead letters cannot be sorted in, and wait where they cannot be listed: {why}")
    });
    let expiring = (letters.expiring > 0).then(|| {
        format!(
            "{} dead letters are thrown away within three days, when dead_letters.retention is \
             over: return, export or discard them (stashgate dead-letters groups)",
            letters.expiring
        )
    });
    let full = letters.places.iter().filter(|place| place.full);
    let full = full.map(|place| {
        format!(
            "dead letters ({}): there is no room for more: if it is not the disk that is full, \
             return, export or discard some, or raise dead_letters.max_bytes",
            place.place
        )
    });
    trouble.into_iter().chain(expiring).chain(full)
}

/// A host's addresses; the host itself while it has none.
fn endpoints(host: &HostStatus) -> Vec<Endpoint> {
    if host.endpoints.is_empty() {
        return vec![Endpoint {
            host: host.host.clone(),
            address: host.host.clone(),
            state: "unresolved".into(),
            since: UnixMillis::now(),
            detail: host.error.clone(),
            confirmed_events: 0,
        }];
    }
    let endpoints = host.endpoints.iter();
    endpoints
        .map(|endpoint| Endpoint {
            host: host.host.clone(),
            address: endpoint.address.to_string(),
            state: state(endpoint.state).into(),
            since: endpoint.since,
            detail: endpoint.last_error.clone(),
            confirmed_events: endpoint.confirmed_events,
        })
        .collect()
}

fn state(state: EndpointState) -> &'static str {
    match state {
        EndpointState::Connecting => "connecting",
        EndpointState::Open => "open",
        EndpointState::Blocked => "blocked",
        EndpointState::BackingOff => "unreachable",
        EndpointState::Unsuitable => "unsuitable",
        EndpointState::Held => "held",
        EndpointState::Standby => "standby",
    }
}
