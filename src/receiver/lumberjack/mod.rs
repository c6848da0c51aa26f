//! Lumberjack version 2, as Beats and whatever else speaks to Logstash's beats
//! input: Filebeat and Winlogbeat point here and are done.
//!
//! - A window is acknowledged when all of it is durable. A long one is stored in
//!   chunks of 1 MiB, each acknowledged by itself, so that a client that has to
//!   send again sends less.
//! - While the spool makes a window wait, an ack of 0 every few seconds tells the
//!   client that nothing is wrong: Beats give up after 30 s without one.
//! - A bad event becomes a dead letter and is acknowledged with its window. An
//!   event that is too long is cut: its beginning is kept. While dead letters cannot
//!   be kept the window waits, with acks of 0: it is stored already, and a reset
//!   would have the client store it again and again.
//! - The protocol has no names for batches, so a window that is sent again gets
//!   another id: what a client did not see acknowledged may be there twice.
//! - No length is believed: a connection holds a chunk, one longest event and one
//!   read, however long a frame or a window says it is, and however much a
//!   compressed frame becomes.
//! - Bytes that are not lumberjack version 2 end the connection with a reset; so
//!   does a spool that fails. Nothing is acknowledged then.
//!
//! Stopping: the listener closes; a window that has begun may go on for two
//! seconds, what is in hand is stored and acknowledged, connections are closed.

mod chunk;
mod connection;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::Intake;
use crate::batch::QueueName;
use crate::net::Acceptor;
use connection::{Connection, Trouble};

/// Beats give a server up after 30 s without a word.
pub const KEEPALIVE: Duration = Duration::from_secs(3);

/// How the lumberjack receiver works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The queue that takes its events.
    pub queue: QueueName,
    /// Most connections.
    pub max_connections: usize,
    /// How often a client that waits is told that nothing is wrong.
    pub keepalive: Duration,
}

/// Serves until the intake is closing and all that was read is settled.
pub async fn serve(listener: TcpListener, intake: Intake, options: Options) {
    let closing = intake.closing().clone();
    let acceptor = Acceptor::new(listener, options.max_connections, "lumberjack");
    let connections = TaskTracker::new();
    let trouble = Arc::new(Trouble::default());
    loop {
        let socket = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            socket = acceptor.accept() => socket,
        };
        let connection = Connection::new(intake.clone(), &options, socket, trouble.clone());
        connections.spawn(connection.run());
    }
    drop(acceptor);
    connections.close();
    connections.wait().await;
}
