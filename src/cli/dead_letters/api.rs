//! The gateway's dead letters over its admin address.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::http::{Call, JSON, No, Remote};
use crate::cli::{Exit, Failure};

const ROOT: &str = "/api/v1/dead-letters";
/// Longer than the gateway works at a call, and than a call waits for its turn there.
const PATIENCE: Duration = Duration::from_secs(60);

/// `GET`s a path below the root, with a query.
pub(super) fn get<T: DeserializeOwned>(
    remote: &Remote,
    path: &str,
    query: &impl Serialize,
) -> Result<T, Failure> {
    let query = serde_qs::to_string(query);
    let query = query.map_err(|error| Failure::new(Exit::Usage, error))?;
    let path = match query.is_empty() {
        true => format!("{ROOT}{path}"),
        false => format!("{ROOT}{path}?{query}"),
    };
    let call = Call::new(Method::GET, path).for_at_most(PATIENCE);
    let body = remote.call(call).map_err(|no| failure(remote, &no))?;
    read(remote, &body)
}

/// A `POST` of a JSON object to a path below the root. What is null is not said.
pub(super) fn post(path: &str, body: &impl Serialize) -> Result<Call, Failure> {
    let body = serde_json::to_value(body);
    let mut body = body.map_err(|error| Failure::new(Exit::Usage, error))?;
    if let Some(members) = body.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    Ok(post_bytes(path, JSON, body.to_string().into()))
}

/// A `POST` of bytes to a path below the root.
pub(super) fn post_bytes(path: &str, media: &'static str, body: Bytes) -> Call {
    let call = Call::new(Method::POST, format!("{ROOT}{path}"));
    call.with(media, body).for_at_most(PATIENCE)
}

/// Reads an answer.
pub(super) fn read<T: DeserializeOwned>(remote: &Remote, body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        remote.failure(&format!(
            "the answer is not one of this release's stashgate: {error}"
        ))
    })
}

/// How a command ends that got a no: what was asked for is wrong, is not there, or the
/// gateway cannot be asked.
pub(super) fn failure(remote: &Remote, no: &No) -> Failure {
    match no {
        No::Refused(StatusCode::NOT_FOUND, words) => Failure::new(Exit::No, words),
        No::Refused(status, words)
            if status.is_client_error()
                && !matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) =>
        {
            Failure::new(Exit::Usage, words)
        }
        no => remote.failure(&no.to_string()),
    }
}

/// Whether the same may be answered otherwise soon: while a gateway restarts, or its
/// store is away.
pub(super) fn may_pass(no: &No) -> bool {
    matches!(
        no,
        No::Away(_)
            | No::BrokenOff(_)
            | No::Silent(_)
            | No::Refused(StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY, _)
    )
}
