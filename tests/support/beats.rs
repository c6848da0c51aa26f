//! A Logstash beats input by script: it does on the wire what was measured of the
//! real one, and counts what it processed. Frames are read here by hand, not by the
//! codec that is being tested.

use std::collections::VecDeque;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::logstash::{DEADLINE, Sink, listen, lock};
use sockets::unread;

#[path = "sockets.rs"]
mod sockets;

/// How every connection behaves, until told otherwise.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// Processes, then acknowledges.
    Ack,
    /// Blocked: processes nothing, and says that it lives now and then.
    Block,
    /// Accepts, and neither reads nor says anything.
    Silent,
    /// Acknowledges after each so many events.
    Steps(u32),
    /// Resets the connection at an event that holds these bytes. What stands before
    /// it in the window is processed, and not acknowledged.
    ResetOn(&'static str),
    /// As `ResetOn`, with an ack of 0 before the reset.
    BlockOn(&'static str),
}

/// What happens to one window.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// So many events are processed and so many acknowledged; then RST.
    Reset { processed: u32, acked: u32 },
    /// Processed; then FIN without an ack.
    Close,
    /// Acknowledged so much later.
    LateAck(Duration),
    /// This sequence is acknowledged, and nothing processed.
    WrongAck(u32),
    /// This sequence is acknowledged before any of the window is read.
    EarlyAck(u32),
    /// All is processed and acknowledged twice.
    AckTwice,
    /// Says something else.
    Garbage,
}

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Between two acks of 0 while it is blocked; 5 s in earnest.
    pub(crate) keepalive: Duration,
    /// An idle connection is reset after this time; 60 s in earnest.
    pub(crate) inactivity: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            keepalive: Duration::from_millis(50),
            inactivity: DEADLINE,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Every connection is reset after this time; what was read of a window is
    /// processed all the same.
    Stopping(Duration),
    /// Every connection is reset, and what was not processed is lost.
    Killed,
}

/// What the clients did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// The events of each window.
    pub(crate) windows: Vec<u32>,
    pub(crate) connections: usize,
    pub(crate) compressed: usize,
    /// Connections that were reset for having been idle.
    pub(crate) timed_out: usize,
    /// Windows that began before the one before was acknowledged.
    pub(crate) pipelined: usize,
    /// Sequences that did not go 1, 2, 3.
    pub(crate) out_of_sequence: usize,
}

#[derive(Debug)]
struct Shared {
    sink: Arc<Sink>,
    script: watch::Sender<Script>,
    faults: Mutex<VecDeque<Fault>>,
    seen: Mutex<Seen>,
    pace: Pace,
}

/// The stand-in. Dropped, it resets its connections.
#[derive(Debug)]
pub(crate) struct Beats {
    address: SocketAddr,
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    accepting: Option<JoinHandle<()>>,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Beats {
    pub(crate) async fn start() -> Self {
        Self::start_with(Script::Ack, Pace::default()).await
    }

    pub(crate) async fn start_with(script: Script, pace: Pace) -> Self {
        let listener = listen(([127, 0, 0, 1], 0).into()).await;
        let mut beats = Self {
            address: listener.local_addr().expect("bound"),
            shared: Arc::new(Shared {
                sink: Arc::default(),
                script: watch::Sender::new(script),
                faults: Mutex::default(),
                seen: Mutex::default(),
                pace,
            }),
            phase: watch::Sender::new(Phase::Running),
            accepting: None,
            connections: Arc::default(),
        };
        beats.accept(listener);
        beats
    }

    fn accept(&mut self, listener: tokio::net::TcpListener) {
        let (shared, phase) = (self.shared.clone(), self.phase.subscribe());
        let connections = self.connections.clone();
        self.accepting = Some(tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                lock(&shared.seen).connections += 1;
                lock(&connections).spawn(serve(stream, shared.clone(), phase.clone()));
            }
        }));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn sink(&self) -> &Sink {
        &self.shared.sink
    }

    /// What it processed, also after its end.
    #[allow(dead_code)]
    pub(crate) fn shared_sink(&self) -> Arc<Sink> {
        self.shared.sink.clone()
    }

    pub(crate) fn seen(&self) -> Seen {
        lock(&self.shared.seen).clone()
    }

    pub(crate) fn script(&self, script: Script) {
        self.shared.script.send_replace(script);
    }

    /// The next windows fail so, one each.
    pub(crate) fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.faults).extend(faults);
    }

    /// Stops as Logstash does: the listener first, each client after `quiet`; what
    /// is in hand is processed, and not acknowledged.
    pub(crate) async fn stop(&mut self, quiet: Duration) {
        self.end(Phase::Stopping(quiet)).await;
    }

    /// Everything is gone at once.
    pub(crate) async fn kill(&mut self) {
        self.end(Phase::Killed).await;
    }

    async fn end(&mut self, phase: Phase) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
        self.phase.send_replace(phase);
        let mut connections = std::mem::take(&mut *lock(&self.connections));
        while connections.join_next().await.is_some() {}
    }

    /// Listens again at the same port.
    pub(crate) async fn start_again(&mut self) {
        self.phase = watch::Sender::new(Phase::Running);
        let listener = listen(self.address).await;
        self.accept(listener);
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let mut client = Client {
        stream,
        shared,
        pending: VecDeque::new(),
    };
    let mut goes_on = true;
    while goes_on {
        goes_on = tokio::select! {
            biased;
            changed = phase.changed() => {
                let stage = *phase.borrow_and_update();
                if let (Ok(()), Phase::Stopping(quiet)) = (changed, stage) {
                    sleep(quiet).await;
                    client.process(u32::MAX);
                }
                false
            }
            went = client.window() => went.is_some(),
        };
    }
}

struct Client {
    stream: TcpStream,
    shared: Arc<Shared>,
    /// Read, and not processed.
    pending: VecDeque<Vec<u8>>,
}

impl Client {
    /// Serves one window; `None` when the connection is over.
    async fn window(&mut self) -> Option<()> {
        let mut script = self.shared.script.subscribe();
        while matches!(*script.borrow_and_update(), Script::Silent) {
            // Nothing, until told otherwise.
            let _ = timeout(DEADLINE, script.changed()).await;
        }
        let head = timeout(self.shared.pace.inactivity, self.head(b'W')).await;
        let Ok(count) = head else {
            lock(&self.shared.seen).timed_out += 1;
            return self.reset();
        };
        let count = count?;
        let is_early = |fault: &mut Fault| matches!(fault, Fault::EarlyAck(_));
        let early = lock(&self.shared.faults).pop_front_if(is_early);
        if let Some(fault) = early {
            return self.fail(fault, count).await;
        }
        while self.pending.len() < count as usize {
            self.frame().await?;
        }
        lock(&self.shared.seen).windows.push(count);
        let fault = lock(&self.shared.faults).pop_front();
        match fault {
            Some(fault) => self.fail(fault, count).await,
            None => self.answer(&mut script, count).await,
        }
    }

    async fn answer(&mut self, script: &mut watch::Receiver<Script>, count: u32) -> Option<()> {
        loop {
            let now = script.borrow_and_update().clone();
            match now {
                Script::Block | Script::Silent => {
                    let pause = timeout(self.shared.pace.keepalive, script.changed());
                    if pause.await.is_err() {
                        self.ack(0).await?;
                    }
                }
                Script::Ack => {
                    self.process(count);
                    return self.ack(count).await;
                }
                Script::Steps(step) => {
                    for covered in (step..count).step_by(step as usize) {
                        self.process(step);
                        self.ack(covered).await?;
                    }
                    self.process(u32::MAX);
                    return self.ack(count).await;
                }
                Script::ResetOn(marker) | Script::BlockOn(marker) => {
                    let bad =
                        |event: &Vec<u8>| memchr::memmem::find(event, marker.as_bytes()).is_some();
                    let at = self.pending.iter().position(bad);
                    self.process(at.map_or(count, |at| at as u32));
                    if let (Some(_), Script::BlockOn(_)) = (at, &now) {
                        self.ack(0).await?;
                        self.until_it_was_read().await;
                    }
                    return match at {
                        Some(_) => self.reset(),
                        None => self.ack(count).await,
                    };
                }
            }
        }
    }

    async fn fail(&mut self, fault: Fault, count: u32) -> Option<()> {
        match fault {
            Fault::Reset { processed, acked } => {
                self.process(processed);
                if acked > 0 {
                    self.ack(acked).await?;
                    self.until_it_was_read().await;
                }
                self.reset()
            }
            Fault::Close => {
                self.process(count);
                None
            }
            Fault::LateAck(late) => {
                sleep(late).await;
                self.process(count);
                self.ack(count).await
            }
            Fault::WrongAck(sequence) | Fault::EarlyAck(sequence) => {
                self.pending.clear();
                self.ack(sequence).await?;
                self.until_the_client_is_gone().await
            }
            Fault::AckTwice => {
                self.process(count);
                self.ack(count).await?;
                self.ack(count).await
            }
            Fault::Garbage => {
                self.pending.clear();
                self.stream.write_all(b"hello\n").await.ok()?;
                self.until_the_client_is_gone().await
            }
        }
    }

    async fn until_the_client_is_gone(&mut self) -> Option<()> {
        let mut scrap = Vec::new();
        let _ = self.stream.read_to_end(&mut scrap).await;
        None
    }

    fn process(&mut self, events: u32) {
        for event in self
            .pending
            .drain(..self.pending.len().min(events as usize))
        {
            self.shared.sink.process(&event);
        }
    }

    async fn ack(&mut self, sequence: u32) -> Option<()> {
        if sequence > 0 {
            // What a client sends before the ack is another window.
            let more = self.stream.try_read(&mut [0; 1]);
            lock(&self.shared.seen).pipelined += usize::from(more.is_ok_and(|n| n > 0));
        }
        let frame = [b"2A", &sequence.to_be_bytes()[..]].concat();
        self.stream.write_all(&frame).await.ok()
    }

    /// Waits until the client has taken what was sent: a reset right behind it would
    /// take it along.
    async fn until_it_was_read(&self) {
        let is_read = async {
            while unread(&self.stream).is_some_and(|bytes| bytes > 0) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = timeout(DEADLINE, is_read).await;
    }

    fn reset(&self) -> Option<()> {
        let _ = self.stream.set_zero_linger();
        None
    }

    /// A header of this kind with its number.
    async fn head(&mut self, letter: u8) -> Option<u32> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).await.ok()?;
        assert_eq!(head, [b'2', letter], "the client sent another frame");
        self.stream.read_u32().await.ok()
    }

    /// Reads an event frame, or a compressed one.
    async fn frame(&mut self) -> Option<()> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).await.ok()?;
        match &head {
            b"2J" => {
                let sequence = self.stream.read_u32().await.ok()?;
                let mut json = vec![0; self.stream.read_u32().await.ok()? as usize];
                self.stream.read_exact(&mut json).await.ok()?;
                self.take(sequence, json);
            }
            b"2C" => {
                let mut packed = vec![0; self.stream.read_u32().await.ok()? as usize];
                self.stream.read_exact(&mut packed).await.ok()?;
                lock(&self.shared.seen).compressed += 1;
                let mut plain = Vec::new();
                let mut z = flate2::read::ZlibDecoder::new(&packed[..]);
                z.read_to_end(&mut plain).expect("zlib");
                self.unpack(&plain);
            }
            other => panic!("a frame {}", other.escape_ascii()),
        }
        Some(())
    }

    fn unpack(&mut self, mut frames: &[u8]) {
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
        while let [b'2', b'J', rest @ ..] = frames {
            let (sequence, len) = (number(&rest[..4]), number(&rest[4..8]) as usize);
            self.take(sequence, rest[8..8 + len].to_vec());
            frames = &rest[8 + len..];
        }
        assert!(frames.is_empty(), "half a frame");
    }

    fn take(&mut self, sequence: u32, json: Vec<u8>) {
        self.pending.push_back(json);
        if sequence as usize != self.pending.len() {
            lock(&self.shared.seen).out_of_sequence += 1;
        }
    }
}
