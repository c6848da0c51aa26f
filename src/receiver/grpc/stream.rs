//! A stream of batches: read one after the other, stored many at a time.
//!
//! Reading is a stream of appends that are on their way; answering takes them as
//! they finish. Both are driven by whoever sends the answers, so a client that
//! does not read its answers is not read either. Nothing but the client's end,
//! its fault in the protocol, or the gateway's stop ends the stream.

use std::future::{self, Future};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::oneshot;
use tonic::{Code, Status, Streaming};

use super::{answer, service};
use crate::event::BlockError;
use crate::proto::{AppendRequest, AppendResponse};
use crate::receiver::Intake;
use crate::receiver::intake::{Patience, Taken};
use crate::receiver::reply::Refusal;

/// How long a message waits for room, unread messages behind it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most batches of one stream that are on their way; their bytes are bounded by
/// the room they have.
const IN_FLIGHT: usize = 256;

/// Takes what `requests` brings and gives one answer for each, as they come.
pub(super) fn answers(
    intake: Intake,
    requests: Streaming<AppendRequest>,
) -> BoxStream<'static, Result<AppendResponse, Status>> {
    let (end, ended) = oneshot::channel();
    let reader = Reader {
        intake,
        requests,
        ordinal: 0,
        end: Some(end),
    };
    let answers = stream::unfold(reader, Reader::next).buffer_unordered(IN_FLIGHT);
    // The end of the stream comes last, or it would overtake answers.
    let end = stream::once(ended).filter_map(|end| future::ready(end.ok()));
    answers.map(Ok).chain(end.map(Err)).boxed()
}

struct Reader {
    intake: Intake,
    requests: Streaming<AppendRequest>,
    ordinal: u64,
    /// Takes the status the stream ends with, unless the client ended it.
    end: Option<oneshot::Sender<Status>>,
}

impl Reader {
    /// Reads a request and gives back the answer to come.
    async fn next(mut self) -> Option<(impl Future<Output = AppendResponse> + Send, Self)> {
        let request = self.request().await?;
        let ordinal = self.ordinal;
        self.ordinal += 1;
        let batch_id = request.batch_id.clone();
        let patience = Patience::AtMost(PATIENCE);
        let taken = match service::admit(&self.intake, request, patience).await {
            Ok(admitted) => Either::Left(admitted.begin().await),
            Err(refusal) => Either::Right(future::ready(Err(refusal))),
        };
        Some((respond(taken, batch_id, ordinal), self))
    }

    async fn request(&mut self) -> Option<AppendRequest> {
        let request = tokio::select! {
            biased;
            () = self.intake.closing().cancelled() => Err(answer::status(&Refusal::Closing)),
            request = self.requests.message() => request.map_err(|fault| self.explained(fault)),
        };
        request.unwrap_or_else(|status| {
            if let Some(end) = self.end.take() {
                // Nobody waits for the end any more if the client is gone.
                let _ = end.send(status);
            }
            None
        })
    }

    /// The transport cannot pass over a message that is too long for it, so it
    /// ends the stream; the client shall at least learn the gateway's limit.
    fn explained(&self, fault: Status) -> Status {
        match fault.code() {
            Code::OutOfRange | Code::ResourceExhausted => {
                let limit = self.intake.limits().max_batch_bytes;
                answer::status(&Refusal::Block(BlockError::TooManyBytes { limit }))
            }
            _ => fault,
        }
    }
}

async fn respond(
    taken: impl Future<Output = Result<Taken, Refusal>> + Send,
    batch_id: Bytes,
    ordinal: u64,
) -> AppendResponse {
    match taken.await {
        Ok(taken) => answer::taken(taken, ordinal),
        Err(refusal) => answer::refused(&refusal, batch_id, ordinal),
    }
}
