//! One stream on one connection, until it ends.

use std::error::Error;

use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::transport::Endpoint;

use super::options::Compression;
use crate::proto::ingest_service_client::IngestServiceClient;
use crate::proto::{AppendRequest, AppendResponse};

/// An answer tells of each rejected event of a batch; this is far above what
/// 10,000 of them need.
const LONGEST_ANSWER: usize = 64 << 20;

/// How many answers may wait for the owner.
const ANSWERS: usize = 64;

/// What a link has to tell.
#[derive(Debug)]
pub(super) enum Event {
    /// The gateway has taken the stream.
    Opened,
    Answer(AppendResponse),
    /// The last event: the link is of no more use.
    Ended(Status),
}

/// A stream that is being opened, or open. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Link {
    requests: mpsc::UnboundedSender<AppendRequest>,
    events: mpsc::Receiver<Event>,
    _task: AbortOnDropHandle<()>,
}

impl Link {
    /// Starts to connect.
    pub(super) fn open(endpoint: Endpoint, compression: Compression) -> Self {
        // What is in it is bounded by the window.
        let (requests, outgoing) = mpsc::unbounded_channel();
        let (told, events) = mpsc::channel(ANSWERS);
        let task = tokio::spawn(async move {
            let ended = converse(endpoint, compression, outgoing, &told).await;
            let status = ended.err().unwrap_or_else(ended_without_error);
            // Nobody listens any more: then nobody misses it.
            let _ = told.send(Event::Ended(status)).await;
        });
        Self {
            requests,
            events,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Hands over a request. One that a link takes while it ends is told of by
    /// [`Event::Ended`] like every other on it.
    pub(super) fn send(&self, request: AppendRequest) {
        let _ = self.requests.send(request);
    }

    pub(super) async fn next(&mut self) -> Event {
        let ended = || Event::Ended(ended_without_error());
        self.events.recv().await.unwrap_or_else(ended)
    }
}

fn ended_without_error() -> Status {
    Status::unavailable("the gateway has ended the stream")
}

async fn converse(
    endpoint: Endpoint,
    compression: Compression,
    outgoing: mpsc::UnboundedReceiver<AppendRequest>,
    told: &mpsc::Sender<Event>,
) -> Result<(), Status> {
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| Status::unavailable(format!("cannot connect: {}", root_cause(&error))))?;
    let mut service = IngestServiceClient::new(channel).max_decoding_message_size(LONGEST_ANSWER);
    if let Some(encoding) = compression.encoding() {
        service = service.send_compressed(encoding);
    }
    let mut answers = service
        .append_stream(UnboundedReceiverStream::new(outgoing))
        .await?
        .into_inner();
    let _ = told.send(Event::Opened).await;
    while let Some(answer) = answers.message().await? {
        let _ = told.send(Event::Answer(answer)).await;
    }
    Ok(())
}

/// `transport error` says nothing; what lies at its root does.
fn root_cause(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => root_cause(cause),
        None => error.to_string(),
    }
}
