//! A Logstash http input by script: it does on the wire what was measured of the
//! real one, and counts what it processed. Requests are read here by hand.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::logstash::{DEADLINE, Sink, listen, lock};

/// How every request is answered, until told otherwise.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// Processed, and 200.
    Take,
    /// Blocked: nothing is answered.
    Hang,
    /// Accepts, and never reads.
    Silent,
    /// This status, at once, and nothing is processed.
    Answer(u16),
    /// 500 if it holds these bytes; the events before are processed.
    ChokeOn(&'static str),
    /// 413 if the body is longer, while it still comes.
    AtMost(usize),
    /// 401 unless it is authorized so.
    Guarded(&'static str),
}

/// What happens to one request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// 429 with `Content-Length: 0`, and nothing is processed; the connection stays.
    Full,
    /// 429 without a length after a while, and no end; all of it is processed.
    TooSlow,
    /// So many events are processed; then 500.
    Choke(u32),
    /// So many events are processed; then RST.
    Reset(u32),
    /// All is processed; then FIN without an answer.
    Close,
    /// Processed so much later.
    Late(Duration),
    /// Processed, answered with `Connection: close`, and closed.
    Goodbye,
    /// Processed; the answer comes byte by byte behind a 100.
    Dribble,
    /// No HTTP.
    Garbage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Every connection is closed after this time; what was read of a request is
    /// processed all the same.
    Stopping(Duration),
    /// Every connection is reset, and what was not processed is lost.
    Killed,
}

/// What the clients did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// The events of each request that was read.
    pub(crate) requests: Vec<usize>,
    pub(crate) connections: usize,
    /// Requests that began before the one before was answered.
    pub(crate) pipelined: usize,
    /// The head of the last request.
    pub(crate) head: String,
}

#[derive(Debug)]
struct Shared {
    sink: Arc<Sink>,
    script: watch::Sender<Script>,
    faults: Mutex<VecDeque<Fault>>,
    seen: Mutex<Seen>,
}

/// The stand-in. Dropped, it closes its connections.
#[derive(Debug)]
pub(crate) struct HttpInput {
    address: SocketAddr,
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    accepting: Option<JoinHandle<()>>,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl HttpInput {
    pub(crate) async fn start() -> Self {
        Self::start_with(Script::Take).await
    }

    pub(crate) async fn start_with(script: Script) -> Self {
        let listener = listen(([127, 0, 0, 1], 0).into()).await;
        let mut input = Self {
            address: listener.local_addr().expect("bound"),
            shared: Arc::new(Shared {
                sink: Arc::default(),
                script: watch::Sender::new(script),
                faults: Mutex::default(),
                seen: Mutex::default(),
            }),
            phase: watch::Sender::new(Phase::Running),
            accepting: None,
            connections: Arc::default(),
        };
        input.accept(listener);
        input
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

    pub(crate) fn seen(&self) -> Seen {
        lock(&self.shared.seen).clone()
    }

    pub(crate) fn script(&self, script: Script) {
        self.shared.script.send_replace(script);
    }

    /// The next requests fail so, one each.
    pub(crate) fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.faults).extend(faults);
    }

    /// Waits until so many requests were read.
    pub(crate) async fn wait_for_requests(&self, count: usize) {
        let read = async {
            while self.seen().requests.len() < count {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(DEADLINE, read).await.expect("requests");
    }

    /// Stops as Logstash does: the listener first, each client after `quiet`; what
    /// is in hand is processed, and not answered.
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

impl Drop for HttpInput {
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
                match (changed, stage) {
                    (Ok(()), Phase::Stopping(quiet)) => {
                        sleep(quiet).await;
                        client.process(usize::MAX);
                    }
                    _ => client.reset(),
                }
                false
            }
            went = client.request() => went.is_some(),
        };
    }
}

struct Client {
    stream: TcpStream,
    shared: Arc<Shared>,
    /// The events of the request that are not processed.
    pending: VecDeque<String>,
}

impl Client {
    /// Serves one request; `None` when the connection is over.
    async fn request(&mut self) -> Option<()> {
        let mut script = self.shared.script.subscribe();
        while matches!(*script.borrow_and_update(), Script::Silent) {
            // Nothing, until told otherwise.
            let _ = timeout(DEADLINE, script.changed()).await;
        }
        let head = self.head().await?;
        let length = header(&head, "content-length").parse().expect("a length");
        let authorization = header(&head, "authorization").to_owned();
        lock(&self.shared.seen).head = head;
        let now = script.borrow_and_update().clone();
        if let Script::AtMost(most) = now
            && length > most
        {
            return self.part_with("413 Request Entity Too Large").await;
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        let events: Vec<&RawValue> = serde_json::from_slice(&body).expect("a JSON array");
        lock(&self.shared.seen).requests.push(events.len());
        self.pending = events.iter().map(|event| event.get().to_owned()).collect();
        if let Script::Guarded(wanted) = now
            && authorization != wanted
        {
            return self.part_with("401 Unauthorized").await;
        }
        let fault = lock(&self.shared.faults).pop_front();
        match fault {
            Some(fault) => self.fail(fault).await,
            None => self.respond(&mut script).await,
        }
    }

    async fn respond(&mut self, script: &mut watch::Receiver<Script>) -> Option<()> {
        loop {
            let now = script.borrow_and_update().clone();
            match now {
                Script::Hang | Script::Silent => {
                    let _ = timeout(DEADLINE, script.changed()).await;
                }
                Script::Take | Script::AtMost(_) | Script::Guarded(_) => return self.take().await,
                Script::Answer(status) => return self.part_with(&format!("{status} So")).await,
                Script::ChokeOn(marker) => {
                    let bad = |event: &String| event.contains(marker);
                    return match self.pending.iter().position(bad) {
                        None => self.take().await,
                        Some(at) => {
                            self.process(at);
                            self.say(
                                "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
                            )
                            .await
                        }
                    };
                }
            }
        }
    }

    async fn take(&mut self) -> Option<()> {
        self.process(usize::MAX);
        self.say("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
            .await
    }

    async fn fail(&mut self, fault: Fault) -> Option<()> {
        match fault {
            Fault::Full => {
                self.pending.clear();
                self.say("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
                    .await
            }
            Fault::TooSlow => {
                sleep(Duration::from_millis(50)).await;
                self.say("HTTP/1.1 429 Too Many Requests\r\n\r\n").await?;
                self.process(usize::MAX);
                self.until_the_client_is_gone().await
            }
            Fault::Choke(events) => {
                self.process(events as usize);
                self.say("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
                    .await
            }
            Fault::Reset(events) => {
                self.process(events as usize);
                self.reset();
                None
            }
            Fault::Close => {
                self.process(usize::MAX);
                None
            }
            Fault::Late(late) => {
                sleep(late).await;
                self.take().await
            }
            Fault::Goodbye => {
                self.process(usize::MAX);
                let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
                self.say(answer).await?;
                None
            }
            Fault::Dribble => {
                self.process(usize::MAX);
                let answer =
                    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                for at in 0..answer.len() {
                    self.say(&answer[at..=at]).await?;
                    tokio::task::yield_now().await;
                }
                Some(())
            }
            Fault::Garbage => {
                self.pending.clear();
                self.say("220 smtp\r\n").await?;
                self.until_the_client_is_gone().await
            }
        }
    }

    /// Answers before the body is read, and closes without a reset.
    async fn part_with(&mut self, status: &str) -> Option<()> {
        self.pending.clear();
        self.say(&format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        ))
        .await?;
        self.until_the_client_is_gone().await
    }

    async fn until_the_client_is_gone(&mut self) -> Option<()> {
        let mut scrap = Vec::new();
        let _ = self.stream.read_to_end(&mut scrap).await;
        None
    }

    fn process(&mut self, events: usize) {
        for event in self.pending.drain(..self.pending.len().min(events)) {
            self.shared.sink.process(event.as_bytes());
        }
    }

    async fn say(&mut self, text: &str) -> Option<()> {
        // What a client sends before it is answered is another request.
        let more = self.stream.try_read(&mut [0; 1]);
        lock(&self.shared.seen).pipelined += usize::from(more.is_ok_and(|n| n > 0));
        self.stream.write_all(text.as_bytes()).await.ok()
    }

    fn reset(&self) {
        let _ = self.stream.set_zero_linger();
    }

    /// All of a head with the empty line.
    async fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        Some(String::from_utf8(head).expect("text"))
    }
}

/// The value of the header of this name, in small letters; empty if there is none.
fn header<'h>(head: &'h str, name: &str) -> &'h str {
    let pairs = head.lines().filter_map(|line| line.split_once(": "));
    let mut named = pairs.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    named.next().map_or("", |(_, value)| value)
}
