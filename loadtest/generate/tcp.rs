//! Lines over TCP. There are no answers: what was written counts as accepted,
//! and the sink has the last word.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answers, Client};
use crate::events::Block;

pub(crate) async fn write(mut client: Client) -> anyhow::Result<Answers> {
    let mut socket = TcpStream::connect(client.to).await?;
    let mut block = Block::of(&client.scenario);
    let mut answers = Answers::new()?;
    while let Some(due) = client.pace.next().await {
        client.times.sent(due.first_event, due.at);
        socket.write_all(block.numbered(due.first_event)).await?;
        answers.accepted += client.scenario.batch_events as u64;
    }
    socket.shutdown().await?;
    // The receiver closes when everything is spooled.
    while socket.read(&mut [0; 1024]).await? > 0 {}
    Ok(answers)
}
