//! Reads a body: bounded in bytes, in all bodies together, and in silence.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::{App, decode};
use crate::event::BlockError;
use crate::receiver::reply::Refusal;
use crate::spool::FullReason;

/// How long a client may be silent within a body.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// What is read of a refused body, so that the client gets to read the answer
/// instead of a reset connection.
const LINGER_BYTES: usize = 32 << 20;
const LINGER_TIME: Duration = Duration::from_secs(5);

/// A body, with its share of what all bodies may take.
#[derive(Debug)]
pub(super) struct Received<'a> {
    pub(super) bytes: Bytes,
    _room: SemaphorePermit<'a>,
}

/// Reads the body and undoes its `Content-Encoding`.
pub(super) async fn read<'a>(
    app: &'a App,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Received<'a>, Refusal> {
    let encoding = decode::encoding(headers)?;
    let limit = app.intake.limits().max_batch_bytes;
    if announced(headers) > limit {
        return Err(too_large(limit));
    }
    let received = collect(app, body, limit).await?;
    let Some(encoding) = encoding else {
        return Ok(received);
    };
    let bytes = decode::decode(encoding, &received.bytes, limit)?;
    drop(received);
    let room = room(app, bytes.len())?;
    Ok(Received { bytes, _room: room })
}

/// Reads on for a while without keeping anything.
pub(super) async fn discard(headers: &HeaderMap, mut body: Body) {
    if headers.contains_key(header::EXPECT) {
        // The client waits for a word before it sends the body.
        return;
    }
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > LINGER_BYTES {
                break;
            }
        }
    };
    // However it ends, the answer is sent next.
    let _ = timeout(LINGER_TIME, reading).await;
}

async fn collect<'a>(app: &'a App, body: &mut Body, limit: usize) -> Result<Received<'a>, Refusal> {
    let mut taken = room(app, 0)?;
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(chunk) = chunk(body).await? {
        if first.len() + rest.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        taken.merge(room(app, chunk.len())?);
        if first.is_empty() && rest.is_empty() {
            first = chunk;
        } else {
            // A body of one chunk is not copied; of several, all are.
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&chunk);
        }
    }
    let bytes = if rest.is_empty() {
        first
    } else {
        rest.freeze()
    };
    Ok(Received {
        bytes,
        _room: taken,
    })
}

/// The next bytes of a body; nothing at its end.
pub(super) async fn chunk(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = timeout(IDLE_TIMEOUT, body.frame())
            .await
            .map_err(|_| Refusal::SlowBody(IDLE_TIMEOUT))?;
        match frame.transpose() {
            Ok(None) => return Ok(None),
            Ok(Some(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Err(error) => return Err(Refusal::Undecodable(error.to_string())),
        }
    }
}

fn announced(headers: &HeaderMap) -> usize {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}

fn too_large(limit: usize) -> Refusal {
    Refusal::Block(BlockError::TooManyBytes { limit })
}

/// Room for so many bytes more, at once or not at all: bodies that wait for each
/// other with room in their hands would never end.
fn room(app: &App, bytes: usize) -> Result<SemaphorePermit<'_>, Refusal> {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    let room = app.bodies.try_acquire_many(bytes);
    room.map_err(|_| Refusal::Full(FullReason::InFlight))
}
