//! `POST /v1/events`, one request in flight a connection.

use anyhow::ensure;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Answers, Client};
use crate::events::Block;

pub(crate) async fn post(mut client: Client) -> anyhow::Result<Answers> {
    let socket = TcpStream::connect(client.to).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    let batch_events = client.scenario.batch_events as u64;
    let mut block = Block::of(&client.scenario);
    let mut answers = Answers::new()?;
    while let Some(due) = client.pace.next().await {
        client.times.sent(due.first_event, due.at);
        let body = Bytes::copy_from_slice(block.numbered(due.first_event));
        let request = Request::post("/v1/events")
            .header("host", client.to.to_string())
            .header("content-type", "application/x-ndjson")
            .body(Full::new(body))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "{status}: {}",
            String::from_utf8_lossy(&body)
        );
        let body: serde_json::Value = serde_json::from_slice(&body)?;
        answers.answered(
            body["accepted"].as_u64().unwrap_or_default(),
            batch_events,
            due.at,
        );
    }
    Ok(answers)
}
