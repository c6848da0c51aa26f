//! What the paths do alike.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Query;
use axum::http::HeaderMap;
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use serde::Deserialize;

use super::{App, IDEMPOTENCY_KEY, answer, body};
use crate::batch::BatchId;
use crate::dead_letter::Source;
use crate::receiver::intake::{Patience, Payload, Taken};
use crate::receiver::reply::Refusal;

/// How long a batch waits for room.
const PATIENCE: Duration = Duration::from_secs(5);

/// The media type without its parameters, in lower case; empty if there is none.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.map_or("", |value| value.to_str().unwrap_or("unreadable"));
    let essence = text.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// Takes a batch whose queue and id are in the request's head.
pub(super) async fn store(app: &App, head: &Parts, payload: Payload) -> Result<Taken, Refusal> {
    let queue = queue(head)?;
    let id = batch_id(&head.headers)?;
    let patience = Patience::AtMost(PATIENCE);
    app.intake
        .take(Source::Http, &queue, payload, id, patience)
        .await
}

/// Answers what was refused, after what is left of the body.
pub(super) async fn refuse(refusal: Refusal, head: &Parts, body: Body) -> Response {
    read_on(&refusal, head, body).await;
    answer::refused(&refusal)
}

/// Reads what is left of a body that was refused, unless nothing more came of it.
pub(super) async fn read_on(refusal: &Refusal, head: &Parts, body: Body) {
    if !matches!(refusal, Refusal::SlowBody(_)) {
        body::discard(&head.headers, body).await;
    }
}

#[derive(Debug, Default, Deserialize)]
struct Params {
    #[serde(default)]
    queue: String,
}

/// `?queue=`; empty if it is not there.
pub(super) fn queue(head: &Parts) -> Result<String, Refusal> {
    let params = Query::<Params>::try_from_uri(&head.uri);
    match params {
        Ok(Query(params)) => Ok(params.queue),
        Err(error) => Err(Refusal::Undecodable(error.to_string())),
    }
}

/// `Idempotency-Key`, byte for byte, as the batch's id.
fn batch_id(headers: &HeaderMap) -> Result<Option<BatchId>, Refusal> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    Ok(Some(BatchId::new(key.as_bytes())?))
}
