//! One connection: read into chunks, admit them in order, store several at once.

use std::future::{self, Future};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, FutureExt};
use futures_util::stream::{self, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::gather::{Bounds, Chunk, Gather};
use super::streak::Streak;
use crate::batch::QueueName;
use crate::dead_letter::Source;
use crate::event::{Limits, RejectReason};
use crate::log::SharedComplaints;
use crate::net::Socket;
use crate::receiver::Intake;
use crate::receiver::intake::{Admitted, Patience, Payload, Taken, count_refused};
use crate::receiver::reply::Refusal;

/// Lines and bytes of a batch, unless `[limits]` allow less.
const BATCH_LINES: usize = 500;
const BATCH_BYTES: usize = 1 << 20;
/// How long a line waits for others to make a batch.
const BATCH_AGE: Duration = Duration::from_millis(20);
/// Batches of one connection that are being stored while the next is read.
const IN_FLIGHT: usize = 8;
/// How long a connection may be silent while the gateway stops, before it ends.
pub(super) const LULL: Duration = Duration::from_millis(50);
/// How long one that is never silent may go on, and with how much.
const LAST_PAUSE: Duration = Duration::from_secs(2);
const LAST_BYTES: usize = 1 << 20;
/// Bad lines in a row that end a connection.
pub(super) const MAX_BAD_LINES: usize = 20;

/// A connection and where its events go.
#[derive(Debug)]
pub(super) struct Connection {
    intake: Intake,
    queue: QueueName,
    peer: SocketAddr,
    trouble: Arc<Trouble>,
}

/// What the connections of a listener have to complain about, together.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    not_stored: SharedComplaints,
    not_kept: SharedComplaints,
    bad_lines: SharedComplaints,
}

/// What reading leads to, in the order of the connection.
enum Event {
    Settled(Outcome),
    /// The last one.
    Ended(Socket),
}

/// What became of a chunk.
struct Outcome {
    bytes: usize,
    taken: Result<Taken, Refusal>,
}

impl Connection {
    pub(super) fn new(
        intake: Intake,
        queue: QueueName,
        peer: SocketAddr,
        trouble: Arc<Trouble>,
    ) -> Self {
        Self {
            intake,
            queue,
            peer,
            trouble,
        }
    }

    /// Takes what `socket` sends until it ends or has to be ended; returns when
    /// everything that was read is settled.
    ///
    /// The socket is closed only then, so that a client that half-closes and waits
    /// for the other half knows that all is durable. If anything was lost, it is
    /// reset instead.
    pub(super) async fn run(self, socket: Socket) {
        let stop = CancellationToken::new();
        let reader = Reader::new(&self, socket, stop.clone());
        let mut events = Box::pin(stream::unfold(Some(reader), next).buffered(IN_FLIGHT));
        let mut streak = Streak::default();
        let mut lost = false;
        while let Some(event) = events.next().await {
            match event {
                Event::Settled(outcome) => match self.judge(outcome, &mut streak) {
                    Verdict::GoOn => {}
                    Verdict::Close => stop.cancel(),
                    Verdict::Lost => {
                        lost = true;
                        stop.cancel();
                    }
                },
                Event::Ended(socket) if lost => socket.reset(),
                Event::Ended(socket) => drop(socket),
            }
        }
    }

    fn judge(&self, outcome: Outcome, streak: &mut Streak) -> Verdict {
        let (peer, queue, trouble) = (self.peer, &self.queue, &*self.trouble);
        let taken = match outcome.taken {
            Ok(taken) => taken,
            Err(refusal) => {
                count_refused(Source::Tcp, &refusal);
                if let Some(times) = trouble.not_stored.failed() {
                    tracing::error!(%peer, %queue, bytes = outcome.bytes, times, %refusal, "lines that were read could not be stored and are lost; the connection is reset");
                }
                return Verdict::Lost;
            }
        };
        if !taken.kept {
            let lines = taken.rejects.len();
            if let Some(times) = trouble.not_kept.failed() {
                tracing::warn!(%peer, %queue, lines, times, "bad lines could not be kept and are lost; the connection is reset");
            }
            return Verdict::Lost;
        }
        if streak.count(&taken) >= MAX_BAD_LINES {
            if let Some(times) = trouble.bad_lines.failed() {
                tracing::warn!(%peer, %queue, times, "{MAX_BAD_LINES} bad lines in a row; the connection is closed");
            }
            return Verdict::Close;
        }
        Verdict::GoOn
    }
}

/// What an outcome means for the connection.
enum Verdict {
    GoOn,
    Close,
    /// Something that was read is gone.
    Lost,
}

/// The reading half.
struct Reader {
    intake: Intake,
    queue: QueueName,
    socket: Socket,
    /// What the next chunk is cut by, and admitted by.
    limits: Limits,
    gather: Gather,
    /// When the oldest whole line in the buffer has waited long enough.
    due: Option<Instant>,
    stop: CancellationToken,
    /// Since the gateway stops.
    farewell: Option<Farewell>,
    ended: bool,
}

/// What may still be read while the gateway stops.
#[derive(Debug, Clone, Copy)]
struct Farewell {
    until: Instant,
    bytes: usize,
}

impl Farewell {
    fn begin() -> Self {
        Self {
            until: Instant::now() + LAST_PAUSE,
            bytes: LAST_BYTES,
        }
    }

    fn is_over(&self) -> bool {
        self.bytes == 0 || Instant::now() >= self.until
    }
}

impl Reader {
    fn new(connection: &Connection, socket: Socket, stop: CancellationToken) -> Self {
        let limits = connection.intake.limits();
        Self {
            gather: Gather::new(bounds(&limits)),
            limits,
            intake: connection.intake.clone(),
            queue: connection.queue.clone(),
            socket,
            due: None,
            stop,
            farewell: None,
            ended: false,
        }
    }

    async fn chunk(&mut self) -> Option<Chunk> {
        while !self.ended {
            self.follow_limits();
            if let Some(chunk) = self.gather.full() {
                self.due = None;
                return Some(chunk);
            }
            if self.gather.has_lines() && self.due.is_none() {
                self.due = Some(Instant::now() + BATCH_AGE);
            }
            if !self.read().await {
                self.due = None;
                if let Some(chunk) = self.gather.cut() {
                    return Some(chunk);
                }
            }
        }
        self.gather
            .full()
            .or_else(|| self.gather.cut())
            .or_else(|| self.gather.last())
    }

    /// What was cut cannot be refused any more, so the limits change only between
    /// two chunks.
    fn follow_limits(&mut self) {
        self.limits = self.intake.limits();
        self.gather.set_bounds(bounds(&self.limits));
    }

    /// Reads once; whether to go on before the lines at hand are cut.
    async fn read(&mut self) -> bool {
        let due = async |due: Option<Instant>| match due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => future::pending().await,
        };
        let stopping = self.farewell.is_some();
        if self.farewell.is_some_and(|farewell| farewell.is_over()) {
            self.ended = true;
            return false;
        }
        let read = tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            () = due(self.due) => return false,
            () = self.intake.closing().cancelled(), if !stopping => {
                self.farewell = Some(Farewell::begin());
                return true;
            }
            read = self.socket.read_buf(self.gather.buffer()) => read.ok(),
            () = tokio::time::sleep(LULL), if stopping => None,
        };
        self.gather.received();
        let read = read.unwrap_or(0);
        if let Some(farewell) = &mut self.farewell {
            farewell.bytes = farewell.bytes.saturating_sub(read);
        }
        // A connection that broke is treated as one that ended.
        self.ended = read == 0;
        !self.ended
    }

    async fn admit(&self, chunk: Chunk) -> Result<Admitted, Refusal> {
        let queue = self.queue.as_str();
        match chunk {
            Chunk::Lines(lines) => {
                let payload = Payload::Ndjson(lines);
                let (limits, patience) = (&self.limits, Patience::UntilRoom);
                self.intake
                    .admit_within(limits, Source::Tcp, queue, payload, None, patience)
                    .await
            }
            Chunk::Overlong { beginning, length } => {
                let kept = beginning.len();
                let detail = format!(
                    "the line has {length} bytes; an event has at most {kept} (limits.max_event_bytes); its first {kept} bytes are kept"
                );
                let reason = RejectReason::TooLarge;
                self.intake
                    .admit_rejected(Source::Tcp, queue, beginning, reason, detail)
            }
        }
    }
}

/// Reads the next chunk and sends it on its way into the spool.
async fn next(
    reader: Option<Reader>,
) -> Option<(impl Future<Output = Event> + Send, Option<Reader>)> {
    let mut reader = reader?;
    let Some(chunk) = reader.chunk().await else {
        let ended = future::ready(Event::Ended(reader.socket));
        return Some((Either::Left(ended), None));
    };
    let bytes = chunk.len();
    let taken = match reader.admit(chunk).await {
        Ok(admitted) => Either::Left(admitted.begin().await),
        Err(refusal) => Either::Right(future::ready(Err(refusal))),
    };
    let settled = taken.map(move |taken| Event::Settled(Outcome { bytes, taken }));
    Some((Either::Right(settled), Some(reader)))
}

/// What chunks may measure so that a chunk is never more than a batch may be.
fn bounds(limits: &Limits) -> Bounds {
    Bounds {
        lines: BATCH_LINES.min(limits.max_batch_events),
        bytes: BATCH_BYTES.min(limits.max_batch_bytes),
        // Two bytes for the line end.
        line: limits
            .max_event_bytes
            .min(limits.max_batch_bytes.saturating_sub(2)),
    }
}
