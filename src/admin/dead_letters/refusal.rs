//! What is answered when nothing was done, or nobody knows what.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::admin::error;
use crate::dead_letter::workbench::WorkError;

/// Why nothing was done, or nobody knows what.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    what: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, what: impl Into<String>) -> Self {
        let what = what.into();
        Self { status, what }
    }

    pub(super) fn bad(what: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, what)
    }

    pub(super) fn busy() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "others are at the dead letters; ask again",
        )
    }

    pub(super) fn starting() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the gateway is starting")
    }

    pub(super) fn broken() -> Self {
        let what = "it was broken off, and may be done; ask again";
        Self::new(StatusCode::BAD_GATEWAY, what)
    }

    pub(super) fn too_slow(patience: Duration) -> Self {
        let seconds = patience.as_secs();
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!("it took longer than {seconds} s; ask for fewer letters with `limit`"),
        )
    }
}

impl From<WorkError> for Refusal {
    fn from(error: WorkError) -> Self {
        let status = match error {
            WorkError::Bad(_) => StatusCode::BAD_REQUEST,
            WorkError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            // The only one after which something may be done.
            WorkError::Unknown(_) => StatusCode::BAD_GATEWAY,
        };
        Self::new(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        error(self.status, &self.what)
    }
}
