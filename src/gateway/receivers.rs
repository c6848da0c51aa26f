//! Starts the receivers on their listeners.

use std::future::Future;

use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::descriptors::connections_each;
use super::listeners::Bound;
use crate::config::{Config, ListenerKind};
use crate::dead_letter::DeadLetters;
use crate::event;
use crate::receiver::{Intake, grpc, http, lumberjack, tcp};
use crate::spool::Spool;

impl Gateway {
    pub(super) fn start_receivers(&self, bound: Vec<Bound>) {
        let config = &*self.shared.config();
        let max_connections = connections_each(config.limits.max_connections, bound.len());
        for Bound {
            name,
            kind,
            listener,
            ..
        } in bound
        {
            let intake = self.intake.clone();
            match kind {
                ListenerKind::Grpc => self.watch(
                    name,
                    grpc::serve(listener, intake, grpc_options(config, max_connections)),
                ),
                ListenerKind::Http => {
                    let served =
                        http::serve(listener, intake, http_options(config, max_connections));
                    self.watch(name, never_fails(served));
                }
                ListenerKind::Lumberjack(settings) => {
                    let options = lumberjack::Options {
                        queue: settings.queue,
                        max_connections,
                        keepalive: lumberjack::KEEPALIVE,
                    };
                    let served = lumberjack::serve(listener, intake, options);
                    self.watch(name, never_fails(served));
                }
                ListenerKind::Tcp(tcp) => {
                    let options = tcp::Options {
                        queue: tcp.queue,
                        max_connections,
                    };
                    self.watch(name, never_fails(tcp::serve(listener, intake, options)));
                }
            }
        }
    }

    /// Runs a receiver; one that ends unasked breaks the gateway.
    fn watch<E: std::fmt::Display + Send>(
        &self,
        name: String,
        serve: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let (closing, broken) = (self.closing.clone(), self.broken.clone());
        self.receivers.spawn(async move {
            let ended = serve.await;
            if closing.is_cancelled() {
                return;
            }
            match ended {
                Ok(()) => tracing::error!(receiver = %name, "the receiver ended by itself"),
                Err(error) => tracing::error!(receiver = %name, %error, "the receiver failed"),
            }
            broken.cancel();
        });
    }
}

async fn never_fails(serve: impl Future<Output = ()>) -> Result<(), std::convert::Infallible> {
    serve.await;
    Ok(())
}

/// The one way in, for all receivers.
pub(super) fn intake(
    config: &Config,
    spool: &Spool,
    letters: &DeadLetters,
    closing: &CancellationToken,
) -> Intake {
    Intake::new(
        spool.clone(),
        letters.clone(),
        limits(config),
        config.queues.keys().cloned(),
        closing.clone(),
    )
}

pub(super) fn limits(config: &Config) -> event::Limits {
    event::Limits {
        max_event_bytes: config.limits.max_event_bytes.0 as usize,
        max_batch_bytes: config.limits.max_batch_bytes.0 as usize,
        max_batch_events: config.limits.max_batch_events,
    }
}

fn grpc_options(config: &Config, max_connections: usize) -> grpc::Options {
    grpc::Options {
        max_connections,
        max_connection_age: config.receivers.grpc.max_connection_age,
    }
}

fn http_options(config: &Config, max_connections: usize) -> http::Options {
    let origins = config.receivers.http.cors_origins.iter();
    http::Options {
        max_connections,
        max_in_flight_bytes: config.limits.max_in_flight_bytes.0 as usize,
        // `Config::load` takes none that does not parse.
        cors_origins: origins.filter_map(|origin| origin.parse().ok()).collect(),
    }
}
