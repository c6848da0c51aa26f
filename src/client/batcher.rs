//! Single events, made into batches by size and age.
//!
//! The open block belongs to a lock that `push` holds while it waits for the
//! window, so that events keep their order and every pusher feels the
//! backpressure. A task of the batcher's own sends a block that came of age.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, TryAcquireError, mpsc};
use tokio::time::{Instant, sleep_until};

use super::batch::is_blank;
use super::outcome::Reply;
use super::window::Place;
use super::{Batch, Client, Closed, Failed, Outcome, SendError};

/// When a block of single events is sent as a batch: at the first of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gather {
    /// So many events.
    pub events: usize,
    /// So many bytes; a larger event goes alone.
    pub bytes: usize,
    /// So long after its first event.
    pub age: Duration,
}

impl Default for Gather {
    /// 500 events, 1 MiB, 20 ms.
    fn default() -> Self {
        Self {
            events: 500,
            bytes: 1 << 20,
            age: Duration::from_millis(20),
        }
    }
}

/// Takes single events; see [`Client::batcher`].
///
/// Dropped, it sends what it has gathered, as [`Client`] does when dropped.
#[derive(Debug)]
pub struct Batcher {
    shared: Arc<Shared>,
    /// Wakes the task that minds the age; its end ends the task.
    opened: mpsc::Sender<()>,
}

/// Why an event was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// There is nothing in it.
    #[error("the event is blank")]
    Blank,
    /// The client was closed.
    #[error("the client was closed")]
    Closed,
}

impl Batcher {
    pub(super) fn new(
        client: Client,
        gather: Gather,
        on_outcome: impl Fn(Outcome) + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            client,
            gather,
            on_outcome: Arc::new(on_outcome),
            open: Mutex::default(),
        });
        let (opened, wake) = mpsc::channel(1);
        tokio::spawn(send_by_age(Arc::clone(&shared), wake));
        Self { shared, opened }
    }

    /// Takes one event, a JSON object; waits for the window when the gateway is
    /// behind. Raw line breaks, which JSON allows between tokens only, become
    /// blanks. Cancelled while it waits, it has not taken the event.
    pub async fn push(&self, event: &[u8]) -> Result<(), PushError> {
        if is_blank(event) {
            return Err(PushError::Blank);
        }
        let mut open = self.shared.open.lock().await;
        if !open.has_room(event.len(), &self.shared.gather) {
            self.shared.send(&mut open).await?;
        }
        open.add(event, self.shared.gather.age);
        if open.is_full(&self.shared.gather) {
            self.shared.try_send(&mut open)?;
        }
        if open.due.is_some() {
            // Full: the task is to be woken already.
            let _ = self.opened.try_send(());
        }
        Ok(())
    }

    /// Sends what it has gathered, and waits until everything that the client
    /// sent before has its outcome.
    pub async fn flush(&self) -> Result<(), PushError> {
        let mut open = self.shared.open.lock().await;
        self.shared.send(&mut open).await?;
        drop(open);
        self.shared.client.flush().await;
        Ok(())
    }
}

#[derive(Default)]
struct Open {
    block: Vec<u8>,
    events: usize,
    /// When it has to be sent; `None`: it is empty.
    due: Option<Instant>,
}

impl Open {
    fn has_room(&self, bytes: usize, gather: &Gather) -> bool {
        let fits = self.block.len() + bytes < gather.bytes;
        self.events == 0 || (fits && self.events < gather.events)
    }

    fn is_full(&self, gather: &Gather) -> bool {
        self.events >= gather.events || self.block.len() >= gather.bytes
    }

    fn add(&mut self, event: &[u8], age: Duration) {
        let start = self.block.len();
        self.block.extend_from_slice(event);
        for byte in &mut self.block[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        self.block.push(b'\n');
        self.events += 1;
        self.due.get_or_insert_with(|| Instant::now() + age);
    }

    fn take(&mut self) -> Batch {
        let next = Vec::with_capacity(self.block.len());
        let block = std::mem::replace(&mut self.block, next);
        (self.events, self.due) = (0, None);
        Batch::new(block)
    }
}

struct Shared {
    client: Client,
    gather: Gather,
    on_outcome: Arc<dyn Fn(Outcome) + Send + Sync>,
    open: Mutex<Open>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("gather", &self.gather)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Sends the open block. The place comes first: whoever is cancelled while
    /// waiting for it leaves the block where it is.
    async fn send(&self, open: &mut Open) -> Result<(), PushError> {
        if open.due.is_none() {
            return Ok(());
        }
        let place = self.client.window.enter(open.block.len()).await;
        self.submit(open, place)
    }

    /// The same, if there is a place at once; else the block stays.
    fn try_send(&self, open: &mut Open) -> Result<(), PushError> {
        match self.client.window.try_enter(open.block.len()) {
            Ok(place) => self.submit(open, Some(place)),
            Err(TryAcquireError::NoPermits) => Ok(()),
            Err(TryAcquireError::Closed) => self.submit(open, None),
        }
    }

    fn submit(&self, open: &mut Open, place: Option<Place>) -> Result<(), PushError> {
        let batch = open.take();
        let reply = Reply::Call(Arc::clone(&self.on_outcome));
        let sent = match place {
            Some(place) => self.client.submit(batch, place, reply),
            None => Err(Closed(batch)),
        };
        sent.map_err(|Closed(batch)| {
            let error = SendError::Closed;
            (self.on_outcome)(Err(Failed { batch, error }));
            PushError::Closed
        })
    }
}

/// Ends when the batcher is dropped, after a last block.
async fn send_by_age(shared: Arc<Shared>, mut opened: mpsc::Receiver<()>) {
    while opened.recv().await.is_some() {
        loop {
            let due = shared.open.lock().await.due;
            let Some(due) = due else { break };
            sleep_until(due).await;
            let mut open = shared.open.lock().await;
            if open.due.is_some_and(|due| due <= Instant::now()) {
                // Told to `on_outcome`; the next push hears it too.
                let _ = shared.send(&mut open).await;
            }
        }
    }
    let _ = shared.send(&mut *shared.open.lock().await).await;
}
