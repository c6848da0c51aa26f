//! A Logstash tcp input by script: it does on the wire what was measured of the
//! real one, and counts what it processed.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// How long a test waits for something that has to happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// How every connection behaves, until told otherwise.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// Reads, processes, closes when the client half-closed.
    Read,
    /// Reads nothing.
    Stall,
    /// Reads so many bytes, then pauses.
    Slow(usize, Duration),
    /// Reads and processes, but keeps half-closed connections.
    NeverClose,
    /// Resets the connection as soon as it holds these bytes; what came with them
    /// is not processed.
    ResetOn(&'static str),
    /// Closes the connection with FIN as soon as it holds these bytes; what came
    /// with them is not processed.
    CloseOn(&'static str),
    /// Dies when a connection holds these bytes, and is there again at once:
    /// every connection is reset.
    CrashOn(&'static str),
}

/// What happens to one connection that brings data; then it is over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// RST at the first data, which are not processed.
    Reset,
    /// FIN at the first data, which are read and not processed.
    Close,
    /// FIN so much later than it should come.
    LateFin(Duration),
    /// Says something.
    Chatter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// A stop was asked for: what is read is lost.
    Losing,
    /// Every connection is closed with FIN.
    Closing,
    /// Every connection is closed with RST.
    Resetting,
}

/// What was processed. Events carry their number as `n`.
#[derive(Debug, Default)]
pub(crate) struct Sink(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    order: Vec<u64>,
    ids: HashMap<u64, String>,
    conflicts: u64,
    junk: u64,
}

impl Sink {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn process(&self, line: &[u8]) {
        let event: Option<serde_json::Value> = serde_json::from_slice(line).ok();
        let mut seen = self.seen();
        let Some((n, event)) = event.and_then(|e| Some((e.get("n")?.as_u64()?, e))) else {
            seen.junk += 1;
            return;
        };
        let id = event["@metadata"]["_id"].to_string();
        seen.order.push(n);
        if *seen.ids.entry(n).or_insert_with(|| id.clone()) != id {
            seen.conflicts += 1;
        }
    }

    /// The numbers in the order in which they were processed, copies included.
    pub(crate) fn order(&self) -> Vec<u64> {
        self.seen().order.clone()
    }

    /// The id of an event that was processed.
    #[allow(dead_code)]
    pub(crate) fn id(&self, n: u64) -> String {
        let seen = self.seen();
        seen.ids[&n].trim_matches('"').to_owned()
    }

    /// How many different events there were.
    pub(crate) fn distinct(&self) -> u64 {
        self.seen().ids.len() as u64
    }

    /// The first of `all` that are not there.
    pub(crate) fn missing(&self, all: std::ops::Range<u64>) -> Vec<u64> {
        let seen = self.seen();
        all.filter(|n| !seen.ids.contains_key(n)).take(10).collect()
    }

    /// Copies that had another id than the first, and lines that were no event.
    pub(crate) fn faults(&self) -> u64 {
        let seen = self.seen();
        seen.conflicts + seen.junk
    }

    /// All of `all` were processed.
    pub(crate) fn assert_has(&self, all: std::ops::Range<u64>) {
        assert_eq!(self.missing(all), [0; 0]);
    }

    /// Waits until all of `all` were processed.
    pub(crate) async fn wait_for(&self, all: std::ops::Range<u64>) {
        let whole = async {
            while !self.missing(all.clone()).is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(DEADLINE, whole).await.is_err() {
            let missing = self.missing(all);
            panic!(
                "missing, among others: {missing:?}; there are {}",
                self.distinct()
            );
        }
    }
}

#[derive(Debug)]
struct Shared {
    sink: Arc<Sink>,
    script: watch::Sender<Script>,
    faults: Mutex<VecDeque<Fault>>,
    received: Mutex<u64>,
    crashes: watch::Sender<u64>,
}

/// The stand-in. Dropped, it resets its connections.
#[derive(Debug)]
pub(crate) struct Logstash {
    address: SocketAddr,
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    accepting: Option<JoinHandle<()>>,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Logstash {
    pub(crate) async fn start() -> Self {
        Self::start_with(Script::Read, Arc::default()).await
    }

    pub(crate) async fn start_with(script: Script, sink: Arc<Sink>) -> Self {
        let listener = listen(([127, 0, 0, 1], 0).into()).await;
        let mut logstash = Self {
            address: listener.local_addr().expect("bound"),
            shared: Arc::new(Shared {
                sink,
                script: watch::Sender::new(script),
                faults: Mutex::default(),
                received: Mutex::default(),
                crashes: watch::Sender::new(0),
            }),
            phase: watch::Sender::new(Phase::Running),
            accepting: None,
            connections: Arc::default(),
        };
        logstash.accept(listener);
        logstash
    }

    fn accept(&mut self, listener: TcpListener) {
        let (shared, phase) = (self.shared.clone(), self.phase.subscribe());
        let connections = self.connections.clone();
        self.accepting = Some(tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                let serve = serve(stream, shared.clone(), phase.clone());
                lock(&connections).spawn(serve);
            }
        }));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn sink(&self) -> &Sink {
        &self.shared.sink
    }

    /// Bytes read so far, processed or lost.
    pub(crate) fn received(&self) -> u64 {
        *lock(&self.shared.received)
    }

    pub(crate) fn crashes(&self) -> u64 {
        *self.shared.crashes.borrow()
    }

    pub(crate) fn script(&self, script: Script) {
        self.shared.script.send_replace(script);
    }

    /// The next connections that bring data fail so, one each.
    pub(crate) fn faults(&self, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.shared.faults).extend(faults);
    }

    /// Waits until a connection is served.
    pub(crate) async fn wait_for_connection(&self) {
        let served = async {
            while lock(&self.connections).is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(DEADLINE, served).await.expect("a connection");
    }

    /// The listener is closed; connections live.
    pub(crate) async fn stop_listening(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
            let _ = accepting.await;
        }
    }

    /// Stops as Logstash does: first the listener is closed; for `quiet`, what
    /// arrives is taken from the kernel and lost; then each client sees FIN.
    pub(crate) async fn stop(&mut self, quiet: Duration) {
        self.stop_listening().await;
        self.phase.send_replace(Phase::Losing);
        sleep(quiet).await;
        self.end(Phase::Closing).await;
    }

    /// Everything is gone at once, with RST.
    pub(crate) async fn kill(&mut self) {
        self.stop_listening().await;
        self.end(Phase::Resetting).await;
    }

    async fn end(&mut self, phase: Phase) {
        self.phase.send_replace(phase);
        let mut connections = std::mem::take(&mut *lock(&self.connections));
        while connections.join_next().await.is_some() {}
    }

    /// Listens again, at the same port, after `startup`. The real one takes about
    /// two seconds; confirmation by close rests on that being longer than the
    /// half second in which a listener has to answer.
    pub(crate) async fn start_again(&mut self, startup: Duration) {
        sleep(startup).await;
        self.phase = watch::Sender::new(Phase::Running);
        let listener = listen(self.address).await;
        self.accept(listener);
    }
}

impl Drop for Logstash {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Binds `address`; a client's own port may be in the way for a moment.
pub(crate) async fn listen(address: SocketAddr) -> TcpListener {
    let bind = async {
        loop {
            let socket = TcpSocket::new_v4().expect("socket");
            socket.set_reuseaddr(true).expect("option");
            if socket.bind(address).is_ok()
                && let Ok(listener) = socket.listen(1024)
            {
                return listener;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, bind).await.expect("the port is free")
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let mut script = shared.script.subscribe();
    let mut crashes = shared.crashes.subscribe();
    let mut client = Client {
        stream,
        shared,
        line: Vec::new(),
        fault: None,
        brought_data: false,
    };
    loop {
        let stage = *phase.borrow_and_update();
        match stage {
            Phase::Closing => return client.close().await,
            Phase::Resetting => return client.reset(),
            Phase::Losing => {
                tokio::select! {
                    _ = phase.changed() => {}
                    lost = client.read(64 << 10) => if lost.is_none() { return },
                }
                continue;
            }
            Phase::Running => {}
        }
        let now = script.borrow_and_update().clone();
        let goes_on = tokio::select! {
            biased;
            changed = phase.changed() => changed.is_ok() || { client.reset(); return },
            crashed = crashes.changed() => crashed.is_ok() && client.reset_now(),
            changed = script.changed() => changed.is_ok(),
            goes_on = client.turn(&now) => goes_on,
        };
        if !goes_on {
            return;
        }
    }
}

struct Client {
    stream: TcpStream,
    shared: Arc<Shared>,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    fault: Option<Fault>,
    brought_data: bool,
}

impl Client {
    /// Acts once by the script; false when the connection is over.
    async fn turn(&mut self, script: &Script) -> bool {
        let bytes = match script {
            Script::Stall => return std::future::pending().await,
            Script::Slow(bytes, pause) => {
                sleep(*pause).await;
                *bytes
            }
            _ => 64 << 10,
        };
        let Some(read) = self.read(bytes).await else {
            return false;
        };
        if read.is_empty() {
            return self.ended(script).await;
        }
        if !std::mem::replace(&mut self.brought_data, true) {
            self.fault = lock(&self.shared.faults).pop_front();
        }
        match self.fault {
            Some(Fault::Reset) => return self.reset_now(),
            Some(Fault::Close) => return false,
            Some(Fault::Chatter) => {
                let _ = self.stream.write_all(b"hello\n").await;
            }
            _ => {}
        }
        self.line.extend_from_slice(&read);
        match script {
            Script::ResetOn(marker) if self.holds(marker) => return self.reset_now(),
            Script::CloseOn(marker) if self.holds(marker) => return false,
            Script::CrashOn(marker) if self.holds(marker) => {
                self.shared.crashes.send_modify(|crashes| *crashes += 1);
                return true;
            }
            _ => {}
        }
        self.process();
        true
    }

    fn holds(&self, marker: &str) -> bool {
        memchr::memmem::find(&self.line, marker.as_bytes()).is_some()
    }

    /// What came; empty at the end, `None` when the connection is broken.
    async fn read(&mut self, most: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; most];
        let n = self.stream.read(&mut bytes).await.ok()?;
        bytes.truncate(n);
        *lock(&self.shared.received) += n as u64;
        Some(bytes)
    }

    fn process(&mut self) {
        let whole = memchr::memrchr(b'\n', &self.line).map_or(0, |end| end + 1);
        for line in self.line[..whole].split(|&b| b == b'\n') {
            // A blank line is no event.
            if !line.is_empty() {
                self.shared.sink.process(line);
            }
        }
        self.line.drain(..whole);
    }

    /// The client half-closed.
    async fn ended(&mut self, script: &Script) -> bool {
        if let Script::NeverClose = script {
            return std::future::pending().await;
        }
        if let Some(Fault::LateFin(late)) = self.fault {
            sleep(late).await;
        }
        false
    }

    async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }

    fn reset(self) {
        self.reset_now();
    }

    fn reset_now(&self) -> bool {
        let _ = self.stream.set_zero_linger();
        false
    }
}
