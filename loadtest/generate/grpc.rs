//! `AppendStream` and `Append`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use stashgate::proto::AppendRequest;
use stashgate::proto::ingest_service_client::IngestServiceClient;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::pace::Due;
use super::{Answers, Client};
use crate::events::Block;

async fn connect(client: &Client) -> anyhow::Result<IngestServiceClient<Channel>> {
    let channel = Endpoint::from_shared(format!("http://{}", client.to))?
        .tcp_nodelay(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .connect()
        .await?;
    Ok(IngestServiceClient::new(channel).max_decoding_message_size(64 << 20))
}

fn request(block: &mut Block, due: Due) -> AppendRequest {
    let ndjson = Bytes::copy_from_slice(block.numbered(due.first_event));
    AppendRequest {
        ndjson,
        ..AppendRequest::default()
    }
}

pub(crate) async fn stream(mut client: Client) -> anyhow::Result<Answers> {
    let mut service = connect(&client).await?;
    let batch_events = client.scenario.batch_events;
    let mut block = Block::of(&client.scenario);
    let room = Arc::new(Semaphore::new(client.scenario.in_flight));
    let unanswered: Arc<Mutex<HashMap<u64, Due>>> = Arc::default();
    let (requests, outgoing) = mpsc::channel(client.scenario.in_flight);

    let (for_sender, dues) = (Arc::clone(&room), Arc::clone(&unanswered));
    let sender = tokio::spawn(async move {
        let mut ordinal = 0;
        while let Some(due) = client.pace.next().await {
            for_sender.acquire().await?.forget();
            dues.lock().expect("no holder panics").insert(ordinal, due);
            client.times.sent(due.first_event, due.at);
            requests.send(request(&mut block, due)).await?;
            ordinal += 1;
        }
        anyhow::Ok(())
    });

    let mut answers = Answers::new()?;
    let mut incoming = service
        .append_stream(ReceiverStream::new(outgoing))
        .await?
        .into_inner();
    while let Some(answer) = incoming.message().await? {
        let due = unanswered
            .lock()
            .expect("no holder panics")
            .remove(&answer.ordinal);
        let due = due.ok_or_else(|| anyhow::anyhow!("ordinal {} was not sent", answer.ordinal))?;
        answers.answered(u64::from(answer.accepted), batch_events as u64, due.at);
        room.add_permits(1);
    }
    sender.await??;
    Ok(answers)
}

pub(crate) async fn unary(mut client: Client) -> anyhow::Result<Answers> {
    let mut service = connect(&client).await?;
    let batch_events = client.scenario.batch_events as u64;
    let mut block = Block::of(&client.scenario);
    let mut answers = Answers::new()?;
    while let Some(due) = client.pace.next().await {
        client.times.sent(due.first_event, due.at);
        let answer = service.append(request(&mut block, due)).await?.into_inner();
        answers.answered(u64::from(answer.accepted), batch_events, due.at);
    }
    Ok(answers)
}
