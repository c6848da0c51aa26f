//! Serves HTTP on a bound listener until it is told to stop. Slow or silent
//! clients cannot hold it up for long: connections are few, and a request has to
//! come soon.

use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::net::Acceptor;

const MAX_CONNECTIONS: usize = 128;
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// How long answers under way may take after the stop.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// Serves `router` until `stop`.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let acceptor = Acceptor::new(listener, MAX_CONNECTIONS, "admin");
    while let Some(socket) = stop.run_until_cancelled(acceptor.accept()).await {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE);
        let service = TowerToHyperService::new(router.clone());
        let connection = builder
            .serve_connection(TokioIo::new(socket.expect_greeting()), service)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that breaks off is its own affair.
            let _ = connection.await;
        });
    }
    drop(acceptor);
    let _ = tokio::time::timeout(STOP_PATIENCE, graceful.shutdown()).await;
}
