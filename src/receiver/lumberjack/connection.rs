//! One connection: read a chunk, store it, acknowledge it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Options;
use super::chunk::Chunk;
use crate::batch::QueueName;
use crate::dead_letter::Source;
use crate::event::{Limits, RejectReason};
use crate::log::SharedComplaints;
use crate::net::Socket;
use crate::receiver::Intake;
use crate::receiver::intake::{Patience, Payload, Taken, count_refused};
use crate::receiver::reply::Refusal;
use crate::wire::lumberjack::{DecodeError, Decoder, Item, ack};

/// How long a client may pause in the middle of a window.
const PAUSE: Duration = Duration::from_secs(60);
/// How long a window that has begun may go on after the stop.
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// Between two tries to keep dead letters.
const RETRY: Duration = Duration::from_secs(1);

/// A client, and where its events go.
pub(super) struct Connection {
    intake: Intake,
    queue: QueueName,
    keepalive: Duration,
    trouble: Arc<Trouble>,
    socket: Socket,
    decoder: Decoder,
    /// What the chunk in hand is cut by, and admitted by.
    limits: Limits,
    /// Belongs into the next chunk.
    next: Option<Item>,
    /// When a window in hand has to be over, after the stop.
    last_moment: Option<Instant>,
}

/// What the connections of the receiver have to complain about, together.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    not_stored: SharedComplaints,
    not_kept: SharedComplaints,
    not_read: SharedComplaints,
}

/// Why a connection ends.
enum End {
    /// The client is gone, or the gateway stops; what is not acknowledged is the
    /// client's.
    Over,
    /// It cannot be read any further.
    Unreadable(DecodeError),
    /// The spool does not take it.
    Refused(Refusal),
}

impl From<DecodeError> for End {
    fn from(error: DecodeError) -> Self {
        Self::Unreadable(error)
    }
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Connection {
    pub(super) fn new(
        intake: Intake,
        options: &Options,
        socket: Socket,
        trouble: Arc<Trouble>,
    ) -> Self {
        let limits = intake.limits();
        Self {
            intake,
            queue: options.queue.clone(),
            keepalive: options.keepalive,
            trouble,
            socket,
            decoder: Decoder::new(limits.max_event_bytes),
            limits,
            next: None,
            last_moment: None,
        }
    }

    /// Serves the client until it ends or has to be ended; returns when all that is
    /// in hand is settled.
    pub(super) async fn run(mut self) {
        let end = loop {
            if let Err(end) = self.step().await {
                break end;
            }
        };
        let (peer, queue) = (self.socket.peer(), &self.queue);
        match end {
            End::Over => return,
            End::Unreadable(error) => {
                if let Some(times) = self.trouble.not_read.failed() {
                    tracing::warn!(%peer, %queue, times, %error, "a lumberjack client cannot be understood; the connection is reset");
                }
            }
            End::Refused(refusal) => {
                count_refused(Source::Lumberjack, &refusal);
                if let Some(times) = self.trouble.not_stored.failed() {
                    tracing::warn!(%peer, %queue, times, %refusal, "a window cannot be stored and is not acknowledged; the connection is reset");
                }
            }
        }
        self.socket.reset();
    }

    async fn step(&mut self) -> Result<(), End> {
        let chunk = self.chunk().await?;
        let last = chunk.last;
        self.store(chunk).await?;
        self.say(last).await
    }

    /// Reads until there is something to store.
    async fn chunk(&mut self) -> Result<Chunk, End> {
        self.limits = self.intake.limits();
        self.decoder.set_longest(self.limits.max_event_bytes);
        let mut chunk = Chunk::default();
        loop {
            while let Some(item) = self.item()? {
                if item == Item::Window(0) {
                    self.say(0).await?;
                    continue;
                }
                if let Err(item) = chunk.push(item, &self.limits) {
                    self.next = Some(item);
                    return Ok(chunk);
                }
                if !chunk.is_empty() && (chunk.is_full() || self.decoder.events_left() == 0) {
                    return Ok(chunk);
                }
            }
            self.read().await?;
        }
    }

    fn item(&mut self) -> Result<Option<Item>, DecodeError> {
        match self.next.take() {
            Some(item) => Ok(Some(item)),
            None => self.decoder.item(),
        }
    }

    async fn read(&mut self) -> Result<(), End> {
        let idle = self.decoder.is_between_windows();
        let closing = self.intake.closing().clone();
        if closing.is_cancelled() && self.last_moment.is_none() {
            self.last_moment = Some(Instant::now() + LAST_PAUSE);
        }
        let last_moment = self.last_moment;
        let buffer = self.decoder.buffer();
        let read = tokio::select! {
            biased;
            () = closing.cancelled(), if idle => return Err(End::Over),
            () = sleep_until(last_moment.unwrap_or_else(Instant::now)), if last_moment.is_some() => {
                return Err(End::Over);
            }
            // Comes round again, with a last moment.
            () = closing.cancelled(), if last_moment.is_none() => return Ok(()),
            () = sleep(PAUSE), if !idle => return Err(End::Over),
            read = self.socket.read_buf(buffer) => read,
        };
        match read {
            Ok(1..) => Ok(()),
            // What was begun and not acknowledged is the client's to send again.
            Ok(0) | Err(_) => Err(End::Over),
        }
    }

    /// Returns when all of `chunk` is durable.
    async fn store(&mut self, chunk: Chunk) -> Result<(), End> {
        let Self {
            intake,
            queue,
            limits,
            ..
        } = self;
        let (intake, queue, limits) = (intake.clone(), queue.clone(), *limits);
        if !chunk.events.is_empty() {
            let payload = Payload::List(chunk.events);
            let (source, patience) = (Source::Lumberjack, Patience::UntilRoom);
            let admit =
                intake.admit_within(&limits, source, queue.as_str(), payload, None, patience);
            // Nothing is stored yet: for a client that is gone nothing has to be.
            let admitted = self.while_alive(admit).await??;
            let taken = self.whatever_happens(admitted.store()).await?;
            self.keep(taken).await?;
        }
        for (beginning, length) in chunk.overlong {
            let kept = beginning.len();
            let detail = format!(
                "the event has {length} bytes; an event has at most {kept} (limits.max_event_bytes); its first {kept} bytes are kept"
            );
            let (source, reason) = (Source::Lumberjack, RejectReason::TooLarge);
            let admitted =
                intake.admit_rejected(source, queue.as_str(), beginning, reason, detail)?;
            let taken = self.whatever_happens(admitted.store()).await?;
            self.keep(taken).await?;
        }
        Ok(())
    }

    /// Waits until the rejected events of `taken` are kept, too.
    async fn keep(&mut self, taken: Taken) -> Result<(), End> {
        let (mut kept, rejects) = (taken.kept, taken.rejects);
        let (intake, queue, trouble) = (
            self.intake.clone(),
            self.queue.clone(),
            self.trouble.clone(),
        );
        while !kept {
            if let Some(times) = trouble.not_kept.failed() {
                let (peer, events) = (self.socket.peer(), rejects.len());
                tracing::warn!(%peer, %queue, events, times, "bad events cannot be kept; their window waits");
            }
            let again = async {
                sleep(RETRY).await;
                intake.keep(Source::Lumberjack, &queue, &rejects).await
            };
            let closing = self.intake.closing().clone();
            kept = tokio::select! {
                biased;
                () = closing.cancelled() => return Err(End::Over),
                kept = self.while_alive(again) => kept?,
            };
        }
        trouble.not_kept.recovered();
        Ok(())
    }

    /// Waits for `work`, and tells the client meanwhile that nothing is wrong; gives
    /// up when it is gone.
    async fn while_alive<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        let mut work = pin!(work);
        loop {
            if let Ok(done) = timeout(self.keepalive, &mut work).await {
                return Ok(done);
            }
            self.say(0).await?;
        }
    }

    /// As [`Connection::while_alive`], to the end.
    async fn whatever_happens<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        match self.while_alive(&mut work).await {
            Ok(done) => done,
            Err(_) => work.await,
        }
    }

    /// Acknowledges up to `sequence`. A client that does not read its acks is gone.
    async fn say(&mut self, sequence: u32) -> Result<(), End> {
        let said = timeout(PAUSE, self.socket.write_all(&ack(sequence))).await;
        said.is_ok_and(|said| said.is_ok())
            .then_some(())
            .ok_or(End::Over)
    }
}
