//! Status, metrics and health over HTTP.
//!
//! | path | answer | token |
//! | --- | --- | --- |
//! | `GET /healthz` | 200 while the process works, else 503 | no |
//! | `GET /readyz` | 200 while it takes batches, else 503 | no |
//! | `GET /metrics` | Prometheus text | yes |
//! | `GET /api/v1/status` | [`Status`] as JSON | yes |
//! | `POST /api/v1/hold`, `/api/v1/resume` | what is held, as JSON | yes |
//! | `/api/v1/dead-letters/…` | see `dead_letters` | yes |
//! | `/api/v1/replays` | see `replays` | yes |
//!
//! Every error is `{"error": "…"}`, and no browser may take an answer for anything
//! but what its type says. Who may ask is decided in `guard`.

mod dead_letters;
mod guard;
mod health;
mod hold;
mod process;
mod redis;
mod replays;
mod scrape;
mod serve;
mod text;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde_json::json;

pub use dead_letters::Desk;
pub use hold::{Hold, HoldError};
pub use scrape::Metrics;
pub use serve::serve;

use crate::config::Secret;
use crate::replay::Replays;
use crate::status::{State, Status};

/// What the admin address shows, and to whom.
pub struct Admin {
    /// Gives the status; quick, takes no lock that is held for long.
    pub status: Box<dyn Fn() -> Status + Send + Sync>,
    /// How long ago the journal was last known to move.
    pub since_last_tick: Box<dyn Fn() -> Duration + Send + Sync>,
    /// Holds and resumes.
    pub hold: Hold,
    /// The way to the dead letters.
    pub dead_letters: Desk,
    /// Gives the replays; `None` while the gateway is starting.
    pub replays: Box<dyn Fn() -> Option<Replays> + Send + Sync>,
    /// What was counted since the start.
    pub metrics: Metrics,
    /// Gives the token that callers must bring now.
    pub token: Box<dyn Fn() -> Option<Secret> + Send + Sync>,
}

/// The routes.
pub fn router(admin: Admin) -> Router {
    let admin = Arc::new(admin);
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/v1/status", get(status))
        .route("/api/v1/hold", post(hold::hold))
        .route("/api/v1/resume", post(hold::resume))
        .merge(dead_letters::routes())
        .merge(replays::routes())
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(admin.clone(), guard::guard));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .merge(guarded)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::map_response(no_sniffing))
        .with_state(admin)
}

async fn healthz(Shared(admin): Shared<Arc<Admin>>) -> Response {
    match health::check((admin.since_last_tick)()) {
        Ok(()) => Json(json!({ "status": "ok" })).into_response(),
        Err(what) => error(StatusCode::SERVICE_UNAVAILABLE, &what),
    }
}

async fn readyz(Shared(admin): Shared<Arc<Admin>>) -> Response {
    let status = (admin.status)();
    if status.state == State::Running {
        Json(json!({ "status": "ok" })).into_response()
    } else {
        error(StatusCode::SERVICE_UNAVAILABLE, &not_ready(&status))
    }
}

fn not_ready(status: &Status) -> String {
    let state = status.state.as_str();
    let mut queues = status.queues.iter();
    let why = queues.find_map(|queue| queue.stats.redis.as_ref()?.unavailable.clone());
    match why.filter(|_| status.state == State::Unavailable) {
        Some(why) => format!("the gateway is {state}: {why}"),
        None => format!("the gateway is {state}"),
    }
}

async fn metrics(Shared(admin): Shared<Arc<Admin>>) -> impl IntoResponse {
    let content_type = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (content_type, admin.metrics.render(&(admin.status)()))
}

async fn status(Shared(admin): Shared<Arc<Admin>>) -> Json<Status> {
    Json((admin.status)())
}

/// Browsers take the type as it is said.
async fn no_sniffing(mut response: Response) -> Response {
    let nosniff = HeaderValue::from_static("nosniff");
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "there is nothing at this path")
}

async fn method_not_allowed() -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path takes no such method",
    )
}

fn error(status: StatusCode, what: &str) -> Response {
    (status, Json(json!({ "error": what }))).into_response()
}
