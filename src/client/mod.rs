//! The Rust client: sends batches of events to a gateway and sees to it that
//! each one is answered, however often the gateway goes away meanwhile.
//!
//! ```no_run
//! use stashgate::client::{Batch, Client};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("http://127.0.0.1:7171")?;
//! let answer = client.send(Batch::new("{\"message\":\"one\"}\n{\"message\":\"two\"}\n")).await?;
//! let receipt = answer.await?; // the batch is durable now
//! assert_eq!(receipt.accepted, 2);
//! let report = client.close().await?;
//! assert!(report.all_accepted());
//! # Ok(())
//! # }
//! ```
//!
//! Two ways in:
//! - [`Client::send`] takes a whole [`Batch`] and gives back an [`Answer`] to
//!   await, now or later;
//! - [`Client::batcher`] takes single events and makes the batches, by size and
//!   age.
//!
//! # What it guarantees
//!
//! - **Nothing is lost.** A batch is kept until it is answered. After a broken
//!   stream, a gateway that restarts, is full or is draining, the batch is sent
//!   again, for as long as [`Builder::give_up_after`] allows (for ever, unless
//!   set). What the gateway refuses for good comes back whole in [`Failed`].
//! - **Nothing gets two names.** A batch is sent again under the same batch id
//!   with the same bytes; the gateway derives each event's id from these, so
//!   that an event that was stored twice is indexed once.
//! - **Memory is bounded.** What is unanswered is at most the window
//!   ([`Builder::window`]); `send` waits for a place in it. That wait is the
//!   backpressure: let it slow the caller down.
//!
//! Batches go out in the order in which they were sent. After a failure one
//! batch goes alone as a probe, and the rest follow when it is answered.
//!
//! # How it ends
//!
//! [`Client::close`] waits for every answer and reports the sums. A client that
//! is dropped instead goes on in the background with what it was given, as long
//! as the runtime runs; nobody hears of the outcome except holders of an
//! [`Answer`]. A runtime that shuts down takes unanswered batches with it: close
//! the client first.

mod backoff;
mod batch;
mod batcher;
mod link;
mod options;
mod outcome;
mod owner;
mod unanswered;
mod verdict;
mod window;

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::{mpsc, oneshot, watch};

use outcome::Reply;
use owner::Command;
use window::{Place, Window};

pub use batch::Batch;
pub(crate) use batch::is_blank;
pub use batcher::{Batcher, Gather, PushError};
pub use options::{Builder, Compression, ConnectError};
pub use outcome::{Closed, Failed, Outcome, Receipt, Rejected, Report, SendError};
pub use owner::State;

/// A handle to a client; clones share its window and its connection.
#[derive(Debug, Clone)]
pub struct Client {
    window: Window,
    commands: mpsc::UnboundedSender<Command>,
    state: watch::Receiver<State>,
}

impl Client {
    /// A client with every setting at its default; `to` is the gateway's gRPC
    /// address, such as `http://127.0.0.1:7171`.
    ///
    /// Does not wait for the gateway: until it is there, batches wait in the
    /// window. Errors if `to` is no such address, or outside a tokio runtime.
    pub fn connect(to: &str) -> Result<Self, ConnectError> {
        Self::builder(to).connect()
    }

    /// A client with settings of one's own.
    pub fn builder(to: &str) -> Builder {
        Builder::new(to)
    }

    /// Sends a batch, after waiting for a place in the window.
    ///
    /// When it returns, the batch is in the client's hands, whether or not the
    /// [`Answer`] is awaited. Errors, with the batch, if the client was closed.
    /// Cancelled while it waits, it has sent nothing.
    pub async fn send(&self, batch: Batch) -> Result<Answer, Closed> {
        let Some(place) = self.window.enter(batch.ndjson().len()).await else {
            return Err(Closed(batch));
        };
        let (reply, answer) = oneshot::channel();
        self.submit(batch, place, Reply::Answer(reply))?;
        Ok(Answer(answer))
    }

    /// Takes single events and sends them in batches; `on_outcome` hears what
    /// became of each batch. It is called by the client's own task: it has to
    /// return soon, and must not block.
    pub fn batcher(
        &self,
        gather: Gather,
        on_outcome: impl Fn(Outcome) + Send + Sync + 'static,
    ) -> Batcher {
        Batcher::new(self.clone(), gather, on_outcome)
    }

    /// Waits until everything that was sent before has its outcome.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        // A client that has ended has no batch without an outcome.
        if self.commands.send(Command::Flush(done)).is_ok() {
            let _ = flushed.await;
        }
    }

    /// Takes no more batches, waits for the outcome of all that were sent, ends
    /// the connection, and reports. Other clones get [`Closed`] from now on.
    /// Errors if another clone closed the client before.
    pub async fn close(self) -> Result<Report, AlreadyClosed> {
        let (reply, report) = oneshot::channel();
        let _ = self.commands.send(Command::Close(reply));
        report.await.map_err(|_| AlreadyClosed)
    }

    /// How the connection does, for those who want to show it.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    fn submit(&self, batch: Batch, place: Place, reply: Reply) -> Result<(), Closed> {
        let command = Command::Send {
            batch,
            place,
            reply,
        };
        self.commands
            .send(command)
            .map_err(|unsent| match unsent.0 {
                Command::Send { batch, .. } => Closed(batch),
                Command::Flush(_) | Command::Close(_) => unreachable!("a Send was sent"),
            })
    }
}

/// The client was closed before, by another handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client was closed already")]
pub struct AlreadyClosed;

/// What becomes of a batch: a future that ends when the batch is durable, or
/// given back. Dropping it does not take the batch back.
#[derive(Debug)]
pub struct Answer(oneshot::Receiver<Outcome>);

impl Future for Answer {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.0)
            .poll(context)
            // The owner settles every batch before it ends, so its end without
            // an outcome is the end of the runtime.
            .map(|outcome| outcome.unwrap_or_else(|_| Err(Failed::runtime_ended())))
    }
}
