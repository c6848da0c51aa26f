//! HTTP: `POST /put`, as the first agent took it, `POST /v1/events`, and
//! `POST /v1/dead-letters` for what Elasticsearch refused.
//!
//! HTTP/1.1 and HTTP/2 without TLS on one port. Bounds, each checked before
//! memory is taken:
//!
//! - a body, as sent and as decompressed: `limits.max_batch_bytes`;
//! - all bodies being received: `limits.max_in_flight_bytes`; a body that finds no
//!   room is refused at once, so that the others have its room;
//! - bodies of dead letters: see `dead_letters`;
//! - silence: 30 s within a head, within a body and between two requests;
//! - connections: `limits.max_connections`.
//!
//! Stopping: the listener closes, requests in hand are answered, idle
//! connections are closed.

mod answer;
mod body;
mod dead_letters;
mod decode;
mod events;
mod form;
mod put;
mod request;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use super::Intake;
use super::http2;
use super::reply::Refusal;
use crate::net::Acceptor;

/// How long a client may be silent before or within a head. It is the time an
/// idle connection is kept, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The header that names a batch.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How the HTTP receiver works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most connections.
    pub max_connections: usize,
    /// Most bytes of all bodies that are being received; at least as many as a
    /// batch may have.
    pub max_in_flight_bytes: usize,
    /// Origins that a browser may send from; `*` for any.
    pub cors_origins: Vec<HeaderValue>,
}

/// What every request needs.
#[derive(Debug, Clone)]
struct App {
    intake: Intake,
    /// One permit a byte of a body that is being received.
    bodies: Arc<Semaphore>,
    letters: Arc<dead_letters::Room>,
}

/// Serves until the intake is closing and every request in hand is answered.
pub async fn serve(listener: TcpListener, intake: Intake, options: Options) {
    let closing = intake.closing().clone();
    let acceptor = Acceptor::new(listener, options.max_connections, "http");
    let service = TowerToHyperService::new(router(intake, &options));
    let builder = builder();
    let connections = GracefulShutdown::new();
    loop {
        let socket = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            socket = acceptor.accept() => socket.expect_greeting(),
        };
        let (builder, service) = (builder.clone(), service.clone());
        let watcher = connections.watcher();
        tokio::spawn(async move {
            let served = builder.serve_connection(TokioIo::new(socket), service);
            if let Err(error) = watcher.watch(served).await {
                tracing::debug!(%error, "an HTTP connection broke");
            }
        });
    }
    drop(acceptor);
    connections.shutdown().await;
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(http2::STREAM_WINDOW)
        .initial_connection_window_size(http2::CONNECTION_WINDOW)
        .max_concurrent_streams(http2::MAX_STREAMS)
        .max_frame_size(http2::MAX_FRAME)
        .keep_alive_interval(http2::PING_INTERVAL)
        .keep_alive_timeout(http2::PING_TIMEOUT);
    builder
}

fn router(intake: Intake, options: &Options) -> Router {
    let app = App {
        intake,
        bodies: Arc::new(Semaphore::new(options.max_in_flight_bytes)),
        letters: Arc::default(),
    };
    let router = Router::new()
        .route("/put", post(put::put))
        .route("/v1/events", post(events::events))
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method);
    let router = match cors(&options.cors_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    };
    // Not for browsers, so without the layer.
    router
        .route("/v1/dead-letters", any(dead_letters::dead_letters))
        .with_state(app)
}

fn cors(origins: &[HeaderValue]) -> Option<CorsLayer> {
    let origins = match origins {
        [] => return None,
        _ if origins.iter().any(|origin| origin == "*") => AllowOrigin::from(Any),
        _ => AllowOrigin::list(origins.iter().cloned()),
    };
    let headers = [
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        IDEMPOTENCY_KEY,
    ];
    let cors = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::POST])
        .allow_headers(headers)
        .expose_headers([header::RETRY_AFTER])
        .max_age(Duration::from_secs(3600));
    Some(cors)
}

async fn no_such_path(request: Request) -> Response {
    let path = request.uri().path().chars().take(200).collect();
    answer::refused(&Refusal::NoSuchPath(path)).into_response()
}

async fn wrong_method(request: Request) -> Response {
    answer::refused(&Refusal::WrongMethod(request.method().to_string())).into_response()
}
