//! `POST /put[?queue=]`, as the first agent took it: a JSON object, an array of
//! objects, or a form. Answers `{"result":"ok"}` once durable.
//!
//! - No `Content-Type` means JSON.
//! - A body that begins with `{` or `[` is JSON even if it is called a form:
//!   `curl -d '{"a":1}'` says so of itself.
//! - Of an array with bad events the good ones are stored; the answer is 400 with
//!   the bad ones.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;

use super::{App, answer, body, form, request};
use crate::receiver::intake::{Payload, Taken};
use crate::receiver::reply::Refusal;

const EXPECTED: &str = "application/json or application/x-www-form-urlencoded";

/// Takes a batch.
pub(super) async fn put(State(app): State<App>, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    match take(&app, &head, &mut body).await {
        Ok(taken) => answer::put(taken),
        Err(refusal) => request::refuse(refusal, &head, body).await,
    }
}

async fn take(app: &App, head: &Parts, body: &mut Body) -> Result<Taken, Refusal> {
    let media_type = request::media_type(&head.headers);
    let is_form = match media_type.as_str() {
        "" | "application/json" => false,
        "application/x-www-form-urlencoded" => true,
        _ => {
            return Err(Refusal::UnsupportedMediaType {
                given: media_type,
                expected: EXPECTED,
            });
        }
    };
    let received = body::read(app, &head.headers, body).await?;
    let json = if is_form && !looks_like_json(&received.bytes) {
        form::to_json(&received.bytes)?
    } else {
        received.bytes.clone()
    };
    request::store(app, head, Payload::Json(json)).await
}

fn looks_like_json(body: &Bytes) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}
