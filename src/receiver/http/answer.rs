//! The table's answers in the words of HTTP: JSON bodies.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use serde::Serialize;

use crate::dead_letter::Source;
use crate::event::Reject;
use crate::receiver::intake::{Taken, count_refused};
use crate::receiver::reply::{self, Refusal};

/// When dead letters may be sent again that would be refused as they are.
const UNTIL_SOMEBODY_LOOKED: Duration = Duration::from_secs(30);

/// `AppendResponse` as proto3 JSON writes it: bytes are base64, enums are names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AppendResponse {
    batch_id: String,
    accepted: u32,
    rejected: Vec<Rejected>,
}

/// An event that was not accepted.
#[derive(Debug, Serialize)]
struct Rejected {
    index: u32,
    reason: &'static str,
    detail: String,
    kept: bool,
}

/// The answer of `/put`.
#[derive(Debug, Serialize)]
struct PutResponse {
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejected: Vec<Rejected>,
}

/// The answer of `/v1/dead-letters`.
#[derive(Debug, Serialize)]
struct KeptResponse {
    kept: u64,
}

#[derive(Debug, Serialize)]
struct Failure {
    error: FailureDetail,
}

#[derive(Debug, Serialize)]
struct FailureDetail {
    reason: &'static str,
    message: String,
    retryable: bool,
}

/// The answer of `/v1/events`: 200, also if some or all events were rejected.
pub(super) fn events(taken: Taken) -> Response {
    let body = AppendResponse {
        batch_id: BASE64.encode(taken.id.as_bytes()),
        accepted: taken.accepted,
        rejected: rejected(taken.rejects, taken.kept),
    };
    Json(body).into_response()
}

/// The answer of `/put`: 400 if any event was rejected, for its clients look at
/// the status only. The accepted ones are durable all the same.
pub(super) fn put(taken: Taken) -> Response {
    if taken.rejects.is_empty() {
        let body = PutResponse {
            result: "ok",
            accepted: None,
            rejected: Vec::new(),
        };
        return Json(body).into_response();
    }
    let body = PutResponse {
        result: "rejected",
        accepted: Some(taken.accepted),
        rejected: rejected(taken.rejects, taken.kept),
    };
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

/// The answer of `/v1/dead-letters`: all letters are durable.
pub(super) fn kept(kept: u64) -> Response {
    Json(KeptResponse { kept }).into_response()
}

/// The answer of `/v1/dead-letters` to whatever it is that it cannot do: its client
/// drops what is answered in another way.
pub(super) fn send_again(refusal: &Refusal) -> Response {
    count_refused(Source::Logstash, refusal);
    let after = refusal.reply().retry_after;
    let after = after.unwrap_or(UNTIL_SOMEBODY_LOOKED);
    failure(refusal, StatusCode::SERVICE_UNAVAILABLE, Some(after))
}

/// The answer to what was refused as a whole.
pub(super) fn refused(refusal: &Refusal) -> Response {
    count_refused(Source::Http, refusal);
    let reply = refusal.reply();
    failure(refusal, reply.http, reply.retry_after)
}

fn failure(refusal: &Refusal, status: StatusCode, retry_after: Option<Duration>) -> Response {
    let error = FailureDetail {
        reason: refusal.reply().reason,
        message: refusal.to_string(),
        retryable: retry_after.is_some(),
    };
    let mut response = (status, Json(Failure { error })).into_response();
    let headers = response.headers_mut();
    if let Some(after) = retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn rejected(rejects: Vec<Reject>, kept: bool) -> Vec<Rejected> {
    let rejected = rejects.into_iter().map(|reject| Rejected {
        index: reject.index,
        reason: reply::rejection(reject.reason).as_str_name(),
        detail: reject.detail,
        kept,
    });
    rejected.collect()
}
