//! `/api/v1/replays`: what is sent again from the archive.
//!
//! | ask | answer |
//! | --- | --- |
//! | `GET /api/v1/replays` | `{"replays": [..]}`: those that are not over, and the last that are |
//! | `POST /api/v1/replays` | the replay that begins: see [`Asked`] |
//! | `GET /api/v1/replays/7` | replay 7 |
//! | `POST /api/v1/replays/7/pause`, `/resume`, `/cancel` | replay 7 after that |
//!
//! A replay is a [`Job`](crate::replay::Job) as JSON; times in it are milliseconds since 1970.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::{Admin, error};
use crate::batch::{QueueName, UnixMillis};
use crate::replay::{Command, Refused, Wanted};

/// What is to be sent again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The queue whose archive is read.
    #[serde(default)]
    queue: QueueName,
    /// The queue that gets the events, if it is another one.
    to_queue: Option<QueueName>,
    /// What was accepted at this time or later: RFC 3339, or milliseconds since 1970.
    from: Option<Moment>,
    /// What was accepted before this time.
    to: Option<Moment>,
    /// A jq expression: only events for which it gives neither `false` nor `null`.
    #[serde(rename = "where")]
    filter: Option<String>,
    /// Most events a second.
    rate: Option<u64>,
    /// Only count; `resume` has it sent.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Moment {
    Millis(UnixMillis),
    #[serde(deserialize_with = "written::deserialize")]
    Written(UnixMillis),
}

mod written {
    use serde::{Deserialize, Deserializer, de::Error};

    use crate::batch::UnixMillis;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<UnixMillis, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl From<Moment> for UnixMillis {
    fn from(moment: Moment) -> Self {
        match moment {
            Moment::Millis(at) | Moment::Written(at) => at,
        }
    }
}

impl From<Asked> for Wanted {
    fn from(asked: Asked) -> Self {
        Self {
            queue: asked.queue,
            to_queue: asked.to_queue,
            from: asked.from.map(Into::into),
            to: asked.to.map(Into::into),
            filter: asked.filter,
            rate: asked.rate,
            dry_run: asked.dry_run,
        }
    }
}

type Number = Result<Path<u64>, PathRejection>;

pub(super) fn routes() -> axum::Router<Arc<Admin>> {
    axum::Router::new()
        .route("/api/v1/replays", get(list).post(start))
        .route("/api/v1/replays/{id}", get(show))
        .route("/api/v1/replays/{id}/pause", post(pause))
        .route("/api/v1/replays/{id}/resume", post(resume))
        .route("/api/v1/replays/{id}/cancel", post(cancel))
}

async fn list(State(admin): State<Arc<Admin>>) -> Response {
    match (admin.replays)() {
        Some(replays) => Json(json!({ "replays": replays.all() })).into_response(),
        None => starting(),
    }
}

async fn show(State(admin): State<Arc<Admin>>, id: Number) -> Response {
    let Some(replays) = (admin.replays)() else {
        return starting();
    };
    let Ok(Path(id)) = id else {
        return none();
    };
    match replays.get(id) {
        Some(job) => Json(job).into_response(),
        None => refused(&Refused::Unknown(id)),
    }
}

async fn start(
    State(admin): State<Arc<Admin>>,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Response {
    let Some(replays) = (admin.replays)() else {
        return starting();
    };
    let Json(asked) = match asked {
        Ok(asked) => asked,
        Err(rejected) => return error(rejected.status(), &rejected.body_text()),
    };
    match replays.start(asked.into()).await {
        Ok(job) => Json(job).into_response(),
        Err(why) => refused(&why),
    }
}

async fn pause(admin: State<Arc<Admin>>, id: Number) -> Response {
    command(admin, id, Command::Pause).await
}

async fn resume(admin: State<Arc<Admin>>, id: Number) -> Response {
    command(admin, id, Command::Resume).await
}

async fn cancel(admin: State<Arc<Admin>>, id: Number) -> Response {
    command(admin, id, Command::Cancel).await
}

async fn command(State(admin): State<Arc<Admin>>, id: Number, command: Command) -> Response {
    let Some(replays) = (admin.replays)() else {
        return starting();
    };
    let Ok(Path(id)) = id else {
        return none();
    };
    match replays.command(id, command).await {
        Ok(job) => Json(job).into_response(),
        Err(why) => refused(&why),
    }
}

fn refused(why: &Refused) -> Response {
    let status = match why {
        Refused::Unknown(_) | Refused::Queue { .. } => StatusCode::NOT_FOUND,
        Refused::Wrong(_) => StatusCode::BAD_REQUEST,
        Refused::Now(..) | Refused::TooMany(_) => StatusCode::CONFLICT,
        Refused::NotKept(_) | Refused::Jq(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    error(status, &why.to_string())
}

fn starting() -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, "the gateway is starting")
}

fn none() -> Response {
    error(
        StatusCode::NOT_FOUND,
        "a replay has a number: /api/v1/replays/7",
    )
}
