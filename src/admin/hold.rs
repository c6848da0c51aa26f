//! `POST /api/v1/hold` and `/resume`: `{"name": "logstash"}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::json;

use super::{Admin, error};

/// Holds what has this name (`true`), or resumes it; all that is held then.
pub type Hold =
    Box<dyn Fn(String, bool) -> BoxFuture<'static, Result<Vec<String>, HoldError>> + Send + Sync>;

/// Why nothing was held or resumed.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Nothing has this name.
    #[error("there is no queue or endpoint `{name}`; there are: {}", known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// What can be held.
        known: Vec<String>,
    },
    /// It is not held.
    #[error("`{name}` is not held; held: {}", none_or(held))]
    NotHeld {
        /// The name.
        name: String,
        /// What is.
        held: Vec<String>,
    },
    /// It could not be kept over a restart, so it does not count.
    #[error("it cannot be kept over a restart, so nothing has changed: {0}")]
    NotKept(std::io::Error),
    /// The gateway is not there yet.
    #[error("the gateway is starting")]
    Starting,
}

fn none_or(held: &[String]) -> String {
    match held.is_empty() {
        true => "nothing".to_owned(),
        false => held.join(", "),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    name: String,
}

type Asked = Result<Json<Wish>, JsonRejection>;

pub(super) async fn hold(admin: State<Arc<Admin>>, asked: Asked) -> Response {
    change(admin, asked, true).await
}

pub(super) async fn resume(admin: State<Arc<Admin>>, asked: Asked) -> Response {
    change(admin, asked, false).await
}

async fn change(State(admin): State<Arc<Admin>>, asked: Asked, hold: bool) -> Response {
    let Json(Wish { name }) = match asked {
        Ok(wish) => wish,
        Err(rejected) => return error(rejected.status(), &rejected.body_text()),
    };
    match (admin.hold)(name, hold).await {
        Ok(held) => Json(json!({ "held": held })).into_response(),
        Err(failed) => error(status(&failed), &failed.to_string()),
    }
}

fn status(error: &HoldError) -> StatusCode {
    match error {
        HoldError::Unknown { .. } | HoldError::NotHeld { .. } => StatusCode::NOT_FOUND,
        HoldError::NotKept(_) => StatusCode::INTERNAL_SERVER_ERROR,
        HoldError::Starting => StatusCode::SERVICE_UNAVAILABLE,
    }
}
