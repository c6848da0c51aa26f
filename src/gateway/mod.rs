//! Joins the stages; nothing else knows more than one of them.
//!
//! Start: every address is bound before anything is served, so that a taken port
//! stops the start and leaves nothing behind; then the admin address answers
//! ("starting"), the spool is opened, forwarders and receivers begin. A Logstash
//! or a Redis that is not there never stops a start.
//!
//! Stop, [`Gateway::stop`], with a bound on each step, so that it ends within
//! 25 s whatever Logstash and the disk do:
//!
//! | step | at most |
//! | --- | --- |
//! | readiness and gRPC health turn false; receivers refuse new work and answer what is in hand; forwarders lease nothing more, and settle or give back what is in hand | 13 s |
//! | the dead letters and the spool are synced and closed; in Redis, what is in hand is given back | 9 s |
//! | the admin address closes | 2 s |
//!
//! What is not settled by then is leased again after the next start: a stop
//! never changes what becomes of a batch.

mod descriptors;
mod forwarders;
mod holds;
mod listeners;
mod marker;
mod observe;
mod open;
mod receivers;
mod reload;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use forwarders::Forwarders;
use holds::Holds;
pub use holds::HoldsError;
pub use listeners::BindError;
use listeners::Listeners;
pub use marker::LeftBehind;
use observe::{Shared, Stages};
use open::{Opened, open};
pub use reload::Reloaded;
use watch::Watch;
pub(crate) use watch::{left_alone, too_few_replicas};

use crate::admin;
use crate::config::{ArchivePlace, Config, Secret};
use crate::dead_letter::redis_list::RedisList;
use crate::dead_letter::store::Store;
use crate::dead_letter::{DeadLetters, filing, moving};
use crate::receiver::Intake;
use crate::replay::Replays;
use crate::spool::Spool;
use crate::spool::journal::OpenError;
use crate::spool::redis;
use crate::status::Status;
use crate::tls::TlsError;

/// Longer than a receiver's and a forwarder's own bounds.
const STAGES_PATIENCE: Duration = Duration::from_secs(13);
const CLOSE_PATIENCE: Duration = Duration::from_secs(9);
/// Longer than the admin address takes by itself.
const ADMIN_PATIENCE: Duration = Duration::from_secs(2);

/// A running gateway.
pub struct Gateway {
    shared: Arc<Shared>,
    spool: Spool,
    letters: DeadLetters,
    watch: Option<Arc<Watch>>,
    forwarders: Arc<Forwarders>,
    intake: Intake,
    /// `limits.max_batch_bytes` at the start: the gRPC transport takes no more.
    most_batch_bytes: ByteSize,
    /// Ends receivers and forwarders.
    closing: CancellationToken,
    /// Cancelled when a receiver ended by itself.
    broken: CancellationToken,
    receivers: TaskTracker,
    background: TaskTracker,
    /// Ends the admin address and the background; dropping the gateway does, too.
    end: DropGuard,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data folder cannot be made.
    #[error("cannot make the data folder {}: {error}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The files of an output's TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What is held cannot be read.
    #[error(transparent)]
    Holds(#[from] HoldsError),
    /// The spool or the dead letters do not open.
    #[error("cannot open the {what} in {}: {error}", folder.display())]
    Open {
        /// `journal` or `dead letters`.
        what: &'static str,
        /// The data folder.
        folder: PathBuf,
        /// Why.
        error: OpenError,
    },
    /// The list of replays cannot be read.
    #[error(
        "cannot read replays.json in the data folder: {0}; mend the disk, or remove the file to forget them"
    )]
    Replays(std::io::Error),
    /// The settings of Redis cannot be used.
    #[error("{0}; mend the settings, or set spool.kind = \"journal\"")]
    Redis(redis::OpenError),
    /// The Redis would lose events or leave some behind.
    #[error("Redis cannot hold the spool: {0}")]
    Unfit(String),
    /// Batches would be left behind in another Redis.
    #[error(transparent)]
    LeftBehind(marker::LeftBehind),
}

impl Gateway {
    /// Starts a gateway. When it returns, batches are taken and forwarded.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let listeners = Listeners::bind(&config).await?;
        let shared = Arc::new(Shared::new(config, listeners.names()));
        let end = CancellationToken::new();
        let background = TaskTracker::new();
        let Listeners {
            admin, receivers, ..
        } = listeners;
        background.spawn(serve_admin(admin, shared.clone(), end.clone()));
        let end = end.drop_guard();

        let config = shared.config();
        let Opened {
            spool,
            letters,
            store,
            former_store,
            list,
            watch,
        } = open(config.clone()).await?;
        let closing = CancellationToken::new();
        let holds = Arc::new(Holds::open(&config.data_dir)?);
        let forwarders = Forwarders::start(&config, &spool, &letters, &holds, &closing)?;
        let forwarders = Arc::new(forwarders);
        let replays = Replays::open(&config.data_dir, spool.clone(), shared.jq());
        let replays = replays.map_err(StartError::Replays)?;
        shared.opened(Stages {
            replays: replays.clone(),
            spool: spool.clone(),
            letters: letters.clone(),
            store: store.clone(),
            forwarders: forwarders.clone(),
            holds,
            watch: watch.clone(),
        });
        let gateway = Self {
            intake: receivers::intake(&config, &spool, &letters, &closing),
            most_batch_bytes: config.limits.max_batch_bytes,
            shared,
            spool,
            letters,
            watch,
            forwarders,
            closing,
            broken: CancellationToken::new(),
            receivers: TaskTracker::new(),
            background,
            end,
        };
        gateway.start_receivers(receivers);
        gateway.start_moving(former_store, &store);
        gateway.start_reading(list);
        gateway.start_filing(store);
        gateway.start_replays(replays);
        gateway.start_sampling();
        gateway.start_watching();
        Ok(gateway)
    }

    /// What it says about itself.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// The address of a listener: `admin`, `grpc`, `http`, `lumberjack`, `tcp.NAME`.
    pub fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.shared.address(listener)
    }

    /// Waits until a part ended that never should; then a restart is needed.
    pub async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Finishes what is in hand and stops; within 25 s.
    pub async fn stop(self) {
        self.shared.drain();
        self.closing.cancel();
        self.receivers.close();
        let stages = async { tokio::join!(self.receivers.wait(), self.forwarders.join()) };
        if timeout(STAGES_PATIENCE, stages).await.is_err() {
            tracing::warn!(
                "some work in hand did not end in time; it is sent again after the next start"
            );
        }
        let closed = async { tokio::join!(self.letters.close(), self.close_spool()) };
        if timeout(CLOSE_PATIENCE, closed).await.is_err() {
            tracing::warn!(
                "disk or Redis did not answer in time; the journal is repaired at the next start, and what is not settled is sent again"
            );
        }
        drop(self.end);
        self.background.close();
        let _ = timeout(ADMIN_PATIENCE, self.background.wait()).await;
    }

    /// Closes the spool. Where nothing is left in Redis, the spool may be moved from
    /// there.
    async fn close_spool(&self) {
        self.spool.close().await;
        if let Some(watch) = &self.watch
            && watch.is_drained().await
            && let Err(error) = marker::clear(&self.shared.config().data_dir)
        {
            tracing::warn!(%error, "nothing waits in Redis, but the file that says so stays");
        }
    }

    fn start_watching(&self) {
        if let Some(watch) = self.watch.clone() {
            let closing = self.closing.clone();
            self.background.spawn(async move {
                closing.run_until_cancelled(watch.run()).await;
            });
        }
    }

    fn start_moving(&self, from: Option<Store>, to: &Store) {
        if let Some(from) = from {
            let closing = self.closing.clone();
            self.background
                .spawn(moving::run(from, to.clone(), closing));
        }
    }

    fn start_reading(&self, list: Option<RedisList>) {
        if let Some(list) = list {
            self.background.spawn(list.run(self.closing.clone()));
        }
    }

    fn start_filing(&self, store: Store) {
        let (letters, closing) = (self.letters.clone(), self.closing.clone());
        self.background.spawn(filing::run(letters, store, closing));
    }

    fn start_replays(&self, replays: Replays) {
        self.background.spawn(replays.run(self.closing.clone()));
    }

    fn start_sampling(&self) {
        let (shared, closing) = (self.shared.clone(), self.closing.clone());
        self.background.spawn(async move {
            closing.run_until_cancelled(shared.sample()).await;
        });
    }
}

async fn serve_admin(listener: TcpListener, shared: Arc<Shared>, end: CancellationToken) {
    let (pulse, tokens, holds) = (shared.clone(), shared.clone(), shared.clone());
    let (benches, replays) = (shared.clone(), shared.clone());
    let metrics = shared.metrics();
    let admin = admin::Admin {
        status: Box::new(move || shared.status()),
        since_last_tick: Box::new(move || pulse.since_last_tick()),
        hold: Box::new(move |name, hold| {
            let holds = holds.clone();
            Box::pin(async move { holds.hold(&name, hold).await })
        }),
        dead_letters: admin::Desk::new(move || benches.workbench()),
        replays: Box::new(move || replays.replays()),
        metrics,
        token: Box::new(move || tokens.config().admin.token.clone()),
    };
    admin::serve(listener, admin::router(admin), end).await;
}

/// The Redis spool of a configuration.
pub(crate) fn redis_options(config: &Config) -> redis::Options {
    let settings = &config.spool.redis;
    let secret = |secret: &Option<Secret>| secret.as_ref().map(|s| s.reveal().to_owned());
    let server = redis::ServerOptions {
        url: settings.url.reveal().to_owned(),
        user: settings.user.clone(),
        password: secret(&settings.password),
        sentinels: settings.sentinels.clone(),
        sentinel_master: settings.sentinel_master.clone().unwrap_or_default(),
        sentinel_password: secret(&settings.sentinel_password),
        cluster: settings.cluster_nodes.clone(),
        ca_file: settings.ca_file.clone(),
        cert_file: settings.cert_file.clone(),
        key_file: settings.key_file.clone(),
        pool_size: settings.pool_size,
        ..redis::ServerOptions::default()
    };
    let queues = config.queues.iter();
    redis::Options {
        server,
        queues: queues
            .map(|(name, queue)| redis::QueueOptions {
                name: name.clone(),
                max_bytes: queue.max_bytes.0,
                ordered: queue.output.ordered,
            })
            .collect(),
        max_bytes: config.spool.max_bytes.0,
        max_in_flight_bytes: config.limits.max_in_flight_bytes.0 as usize,
        shards: settings.shards,
        pipeline_depth: settings.pipeline_depth,
        heartbeat: settings.heartbeat,
        min_replicas: settings.min_replicas,
        max_event_bytes: config.limits.max_event_bytes.0 as usize,
        archive: redis_archive(config),
        // For whoever opens it.
        local_archive: None,
        compression: settings.compression,
    }
}

/// What becomes of settled batches in Redis. What is there already when the archive moves
/// to the disk ages as it would have.
fn redis_archive(config: &Config) -> redis::archive::ArchiveOptions {
    let (retention, max_bytes) = (config.archive.retention, config.archive.max_bytes.0);
    let retention = match config.archive.place {
        None | Some(ArchivePlace::Redis) => retention,
        Some(ArchivePlace::Journal) => Duration::ZERO,
        Some(ArchivePlace::Off) => return redis::archive::ArchiveOptions::OFF,
    };
    redis::archive::ArchiveOptions {
        retention,
        max_bytes,
    }
}
