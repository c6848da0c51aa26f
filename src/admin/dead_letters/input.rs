//! Reads what is asked for. What is not known is an error that names the nearest that
//! is, so that a filter with a slip of the pen never means all letters.

use axum::body::Body;
use axum::extract::{FromRequestParts, Query, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::names::{self, FILTER};
use super::refusal::Refusal;
use crate::batch::UnixMillis;

/// How long a body may take to come.
const BODY_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
/// A question is short: a filter, an expression, handles.
const MOST_QUESTION_BYTES: usize = 1 << 20;

/// The query as an object, with `filter` apart; `others` may stand beside the filter.
pub(super) async fn query(
    request: Request,
    others: &[&str],
) -> Result<Map<String, Value>, Refusal> {
    let (mut parts, _) = request.into_parts();
    let pairs = Query::<Vec<(String, String)>>::from_request_parts(&mut parts, &()).await;
    let Query(pairs) = pairs.map_err(|rejection| Refusal::bad(rejection.body_text()))?;
    let known: Vec<_> = FILTER.iter().chain(others).copied().collect();
    names::check(pairs.iter().map(|(name, _)| name), &known)?;
    let (mut filter, mut asked) = (Map::new(), Map::new());
    for (name, text) in pairs {
        let value = plain(&name, text)?;
        let into = match FILTER.contains(&name.as_str()) {
            true => &mut filter,
            false => &mut asked,
        };
        if into.insert(name.clone(), value).is_some() {
            return Err(Refusal::bad(format!("`{name}` is given twice")));
        }
    }
    clean(&mut filter)?;
    asked.insert("filter".into(), filter.into());
    Ok(asked)
}

/// The value of a query's parameter.
fn plain(name: &str, text: String) -> Result<Value, Refusal> {
    let wants = |what: &str| Refusal::bad(format!("`{name}` is {what}, not {text:?}"));
    Ok(match name {
        "parked" => text
            .parse::<bool>()
            .map_err(|_| wants("true or false"))?
            .into(),
        "limit" => text.parse::<u64>().map_err(|_| wants("a number"))?.into(),
        _ => text.into(),
    })
}

/// The body as an object of these members.
pub(super) async fn question(
    request: Request,
    known: &[&str],
) -> Result<Map<String, Value>, Refusal> {
    check_type(request.headers(), "application/json")?;
    let body = body(request.into_body(), MOST_QUESTION_BYTES).await?;
    let asked = serde_json::from_slice::<Map<String, Value>>(&body);
    let mut asked = asked.map_err(|error| Refusal::bad(format!("no JSON object: {error}")))?;
    names::check(asked.keys(), known)?;
    if let Some(filter) = asked.get_mut("filter") {
        let filter = filter.as_object_mut();
        let filter = filter.ok_or_else(|| Refusal::bad("`filter` is an object"))?;
        names::check(filter.keys(), &FILTER)?;
        clean(filter)?;
    }
    Ok(asked)
}

/// Brings times into the form in which they are read, and tells of words that are none.
fn clean(filter: &mut Map<String, Value>) -> Result<(), Refusal> {
    for name in ["from", "to"] {
        if let Some(Value::String(text)) = filter.get(name) {
            let at = text.parse::<UnixMillis>();
            let at = at.map_err(|error| Refusal::bad(format!("`{name}`: {error}")))?;
            filter.insert(name.into(), at.0.into());
        }
    }
    if let Some(Value::String(word)) = filter.get("reason") {
        names::check_reason(word)?;
    }
    if let Some(Value::String(word)) = filter.get("source") {
        names::check_source(word)?;
    }
    Ok(())
}

/// Reads it into its type.
pub(super) fn read<T: DeserializeOwned>(asked: Map<String, Value>) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(Value::Object(asked))
        .map_err(|error| Refusal::bad(format!("`{}`: {}", error.path(), error.inner())))
}

/// A page of a foreign site can send text and forms without being asked, but not these.
pub(super) fn check_type(headers: &HeaderMap, wanted: &str) -> Result<(), Refusal> {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or("");
    let media = given.split(';').next().unwrap_or("").trim();
    match media.eq_ignore_ascii_case(wanted) {
        true => Ok(()),
        false => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("send it with `Content-Type: {wanted}`"),
        )),
    }
}

/// The body, if it has at most `most` bytes and comes in time.
pub(super) async fn body(body: Body, most: usize) -> Result<Bytes, Refusal> {
    let read = timeout(BODY_PATIENCE, Limited::new(body, most).collect()).await;
    let slow = || Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly");
    match read.map_err(|_| slow())? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a body has at most {most} bytes; send it in parts"),
        )),
        Err(error) => Err(Refusal::bad(format!("the body broke off: {error}"))),
    }
}
