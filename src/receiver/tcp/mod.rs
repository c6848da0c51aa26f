//! Newline-delimited JSON over TCP, as Logstash's own tcp input takes it.
//!
//! A line is an event. There is no answer:
//!
//! - Backpressure is not reading. What was read waits for room as long as it
//!   takes.
//! - A bad line becomes a dead letter. A line longer than an event may be is cut:
//!   its beginning is kept, the rest is passed over to the next line end, in
//!   bounded memory.
//! - A connection is closed when its bad lines cannot be kept, after
//!   20 bad lines in a row, and when the spool fails.
//! - A last line without a line end is taken if it is a whole object; else it is
//!   a dead letter.
//! - However a connection ends, what was read from it is settled first: a client
//!   that half-closes and sees the other half close knows that all is durable.
//!   What the spool does not take any more is lost; that is logged with its size,
//!   and the connection is reset.
//!
//! A connection holds at most one batch (1 MiB, or one longest line) that is being
//! read and waits for room; what is beyond has its room in the spool.
//!
//! Stopping: connections that were made already are served, too; then the listener
//! closes. A connection is read until it has been silent for 50 ms, at most for 2 s
//! and 1 MiB, for its client has no way to learn that something was not read. What
//! was read is settled, connections are closed.

mod connection;
mod gather;
mod streak;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::Intake;
use crate::batch::QueueName;
use crate::net::Acceptor;
use connection::{Connection, LULL, Trouble};

/// How one TCP receiver works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The queue that takes its events.
    pub queue: QueueName,
    /// Most connections.
    pub max_connections: usize,
}

/// Serves until the intake is closing and all that was read is settled.
pub async fn serve(listener: TcpListener, intake: Intake, options: Options) {
    let closing = intake.closing().clone();
    let acceptor = Acceptor::new(listener, options.max_connections, "tcp");
    let connections = TaskTracker::new();
    let trouble = Arc::new(Trouble::default());
    let last_moment = async {
        closing.cancelled().await;
        sleep(LULL).await;
    };
    tokio::pin!(last_moment);
    loop {
        let socket = tokio::select! {
            biased;
            () = &mut last_moment => break,
            socket = acceptor.accept() => socket,
        };
        let peer = socket.peer();
        let connection =
            Connection::new(intake.clone(), options.queue.clone(), peer, trouble.clone());
        connections.spawn(connection.run(socket));
    }
    drop(acceptor);
    connections.close();
    connections.wait().await;
}
