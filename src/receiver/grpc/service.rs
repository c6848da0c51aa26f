//! The two calls of the ingest service.

use std::time::Duration;

use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::{answer, deadline, stream};
use crate::batch::BatchId;
use crate::dead_letter::Source;
use crate::proto::ingest_service_server::IngestService;
use crate::proto::{AppendRequest, AppendResponse};
use crate::receiver::Intake;
use crate::receiver::intake::{Admitted, Patience, Payload};
use crate::receiver::reply::Refusal;

/// How long a call of its own waits for room.
const PATIENCE: Duration = Duration::from_secs(5);
/// Shorter answers are not compressed: it would cost more than it saves.
const COMPRESSED_FROM: usize = 20;

/// The ingest service on an intake.
#[derive(Debug, Clone)]
pub(super) struct Ingest {
    intake: Intake,
}

impl Ingest {
    pub(super) fn new(intake: Intake) -> Self {
        Self { intake }
    }

    async fn take(&self, request: Request<AppendRequest>) -> Result<AppendResponse, Refusal> {
        let patience = deadline::patience(request.metadata(), PATIENCE);
        let patience = Patience::AtMost(patience);
        let admitted = admit(&self.intake, request.into_inner(), patience).await?;
        Ok(answer::taken(admitted.store().await?, 0))
    }
}

#[tonic::async_trait]
impl IngestService for Ingest {
    type AppendStreamStream = BoxStream<'static, Result<AppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<AppendRequest>,
    ) -> Result<Response<AppendResponse>, Status> {
        let taken = self.take(request).await;
        let taken = taken.map_err(|refusal| answer::failed(&refusal))?;
        let small = taken.rejected.len() < COMPRESSED_FROM;
        let mut response = Response::new(taken);
        if small {
            response.disable_compression();
        }
        Ok(response)
    }

    async fn append_stream(
        &self,
        request: Request<Streaming<AppendRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        let answers = stream::answers(self.intake.clone(), request.into_inner());
        let mut response = Response::new(answers);
        // Each answer would be compressed by itself, and most have a few bytes.
        response.disable_compression();
        Ok(response)
    }
}

/// Admits one request, of a call or of a stream.
pub(super) async fn admit(
    intake: &Intake,
    request: AppendRequest,
    patience: Patience,
) -> Result<Admitted, Refusal> {
    let queue = request.queue.clone();
    let (payload, id) = unpack(request)?;
    intake
        .admit(Source::Grpc, &queue, payload, id, patience)
        .await
}

fn unpack(request: AppendRequest) -> Result<(Payload, Option<BatchId>), Refusal> {
    let id = match request.batch_id.len() {
        0 => None,
        _ => Some(BatchId::new(&request.batch_id)?),
    };
    match (request.events.is_empty(), request.ndjson.is_empty()) {
        (false, false) => Err(Refusal::BothPayloads),
        (false, true) => Ok((Payload::List(request.events), id)),
        (true, _) => Ok((Payload::Ndjson(request.ndjson), id)),
    }
}
