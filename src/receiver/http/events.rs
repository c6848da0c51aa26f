//! `POST /v1/events[?queue=]`: NDJSON, or one JSON document (an object, or an
//! array of objects).

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;

use super::{App, answer, body, request};
use crate::receiver::intake::{Payload, Taken};
use crate::receiver::reply::Refusal;

const EXPECTED: &str = "application/x-ndjson or application/json";

/// Takes a batch; answers the JSON form of `AppendResponse`.
pub(super) async fn events(State(app): State<App>, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    match take(&app, &head, &mut body).await {
        Ok(taken) => answer::events(taken),
        Err(refusal) => request::refuse(refusal, &head, body).await,
    }
}

async fn take(app: &App, head: &Parts, body: &mut Body) -> Result<Taken, Refusal> {
    let form: fn(_) -> _ = match request::media_type(&head.headers).as_str() {
        "application/x-ndjson" | "application/ndjson" => Payload::Ndjson,
        "application/json" => Payload::Json,
        other => {
            return Err(Refusal::UnsupportedMediaType {
                given: other.to_owned(),
                expected: EXPECTED,
            });
        }
    };
    let received = body::read(app, &head.headers, body).await?;
    request::store(app, head, form(received.bytes.clone())).await
}
