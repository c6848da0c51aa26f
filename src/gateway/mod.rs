//! Joins the stages; nothing else knows more than one of them.
//!
//! Start: every address is bound before anything is served, so that a taken port
//! stops the start and leaves nothing behind; then the admin address answers
//! ("starting"), the spool is opened, forwarders and receivers begin. A Logstash
//! that is not there never stops a start.
//!
//! Stop, [`Gateway::stop`], with a bound on each step, so that it ends within
//! 25 s whatever Logstash and the disk do:
//!
//! | step | at most |
//! | --- | --- |
//! | readiness and gRPC health turn false; receivers refuse new work and answer what is in hand; forwarders lease nothing more, and settle or give back what is in hand | 13 s |
//! | the dead letters and the spool are synced and closed | 9 s |
//! | the admin address closes | 2 s |
//!
//! What is not settled by then is leased again after the next start: a stop
//! never changes what becomes of a batch.

mod descriptors;
mod forwarders;
mod listeners;
mod observe;
mod receivers;
mod reload;

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
pub use listeners::BindError;
use listeners::Listeners;
use observe::{Shared, Stages};
pub use reload::Reloaded;

use crate::admin;
use crate::config::{ArchivePlace, Config, SpoolKind};
use crate::dead_letter::DeadLetters;
use crate::receiver::Intake;
use crate::spool::Spool;
use crate::spool::journal::{self, Journal, OpenError};
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
    /// The spool in Redis is configured, and not there yet.
    #[error("spool.kind = \"redis\" is not there yet; set \"journal\"")]
    NoRedis,
    /// The files of an output's TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
        let (spool, letters) = open(config.clone()).await?;
        let closing = CancellationToken::new();
        let forwarders = Arc::new(Forwarders::start(&config, &spool, &letters, &closing)?);
        shared.opened(Stages {
            spool: spool.clone(),
            letters: letters.clone(),
            forwarders: forwarders.clone(),
        });
        let gateway = Self {
            intake: receivers::intake(&config, &spool, &letters, &closing),
            most_batch_bytes: config.limits.max_batch_bytes,
            shared,
            spool,
            letters,
            forwarders,
            closing,
            broken: CancellationToken::new(),
            receivers: TaskTracker::new(),
            background,
            end,
        };
        gateway.start_receivers(receivers);
        gateway.start_sampling();
        Ok(gateway)
    }

    /// What it says about itself.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// The address of a listener: `admin`, `grpc`, `http`, `tcp.NAME`.
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
        let closed = async { tokio::join!(self.letters.close(), self.spool.close()) };
        if timeout(CLOSE_PATIENCE, closed).await.is_err() {
            tracing::warn!(
                "the disk did not answer in time; the journal is repaired at the next start"
            );
        }
        drop(self.end);
        self.background.close();
        let _ = timeout(ADMIN_PATIENCE, self.background.wait()).await;
    }

    fn start_sampling(&self) {
        let (shared, closing) = (self.shared.clone(), self.closing.clone());
        self.background.spawn(async move {
            closing.run_until_cancelled(shared.sample()).await;
        });
    }
}

async fn serve_admin(listener: TcpListener, shared: Arc<Shared>, end: CancellationToken) {
    let (pulse, tokens) = (shared.clone(), shared.clone());
    let metrics = shared.metrics();
    let admin = admin::Admin {
        status: Box::new(move || shared.status()),
        since_last_tick: Box::new(move || pulse.since_last_tick()),
        metrics,
        token: Box::new(move || tokens.config().admin.token.clone()),
    };
    admin::serve(listener, admin::router(admin), end).await;
}

/// Opens what is kept on disk. Recovery reads, so it has a thread of its own.
async fn open(config: Arc<Config>) -> Result<(Spool, DeadLetters), StartError> {
    tokio::task::spawn_blocking(move || open_blocking(&config))
        .await
        .expect("invariant: opening does not panic, and nobody aborts it")
}

fn open_blocking(config: &Config) -> Result<(Spool, DeadLetters), StartError> {
    let folder = &config.data_dir;
    std::fs::create_dir_all(folder).map_err(|error| StartError::Folder {
        folder: folder.clone(),
        error,
    })?;
    let failed = |what| {
        let folder = folder.clone();
        move |error| StartError::Open {
            what,
            folder,
            error,
        }
    };
    let spool = match config.spool.kind {
        SpoolKind::Journal => Journal::open(journal_options(config)).map_err(failed("journal"))?,
        SpoolKind::Redis => return Err(StartError::NoRedis),
    };
    let letters = DeadLetters::open(
        folder,
        config.dead_letters.max_bytes.0,
        config.spool.journal.min_free_bytes.0,
    );
    Ok((
        Spool::Journal(spool),
        letters.map_err(failed("dead letters"))?,
    ))
}

fn journal_options(config: &Config) -> journal::Options {
    let queues = config.queues.iter();
    journal::Options {
        dir: config.data_dir.join("journal"),
        sync: config.spool.journal.sync,
        segment_bytes: config.spool.journal.segment_bytes.0,
        min_free_bytes: config.spool.journal.min_free_bytes.0,
        max_bytes: config.spool.max_bytes.0,
        max_in_flight_bytes: config.limits.max_in_flight_bytes.0 as usize,
        store: "spool",
        retention: match config.archive.place {
            Some(ArchivePlace::Off) => Duration::ZERO,
            _ => config.archive.retention,
        },
        queues: queues
            .map(|(name, queue)| (name.clone(), queue.max_bytes.0))
            .collect(),
    }
}
