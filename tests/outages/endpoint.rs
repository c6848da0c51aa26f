//! A Logstash input as a process of its own: the tcp, the beats or the http input. It
//! writes down what it processed before it confirms it, so that what it did is
//! known however it ends. Commands come by standard input; its end ends the process.
//!
//! A record of its file is the number of an event and a hash of its id, eight bytes each.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use stashgate::wire::lumberjack::{Decoder, Item, ack};
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a record.
pub(crate) const RECORD: usize = 16;
/// Between two looks at what was commanded.
const LOOK: Duration = Duration::from_millis(5);
/// Between two acks of 0 while it is blocked.
const ALIVE: Duration = Duration::from_secs(2);
/// For so long a Logstash that stops still reads.
const LAST_BREATH: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    JsonLines,
    Lumberjack,
    Http,
}

impl Protocol {
    /// As a setting.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::JsonLines => "json_lines",
            Self::Lumberjack => "lumberjack",
            Self::Http => "http",
        }
    }

    fn named(name: &str) -> Self {
        [Self::JsonLines, Self::Lumberjack, Self::Http]
            .into_iter()
            .find(|protocol| protocol.name() == name)
            .expect("a protocol")
    }
}

#[derive(Deserialize)]
struct Event {
    seq: u64,
    #[serde(rename = "@metadata")]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "_id")]
    id: String,
}

struct Endpoint {
    protocol: Protocol,
    file: File,
    is_blocked: AtomicBool,
    /// It listens no more, and after that it stops.
    is_closed: AtomicBool,
    is_stopping: AtomicBool,
    /// How often all connections were to be reset.
    resets: AtomicU64,
}

/// Runs it as the environment says; never returns if it says anything.
pub(crate) fn run() {
    let Ok(words) = std::env::var("OUTAGES_ENDPOINT") else {
        return;
    };
    let mut words = words.splitn(3, ' ');
    let mut word = || words.next().expect("protocol, address and file");
    let protocol = Protocol::named(word());
    let address: SocketAddr = word().parse().expect("an address");
    let file = File::options()
        .create(true)
        .append(true)
        .open(PathBuf::from(word()))
        .expect("a file");
    let endpoint = Arc::new(Endpoint {
        protocol,
        file,
        is_blocked: AtomicBool::new(false),
        is_closed: AtomicBool::new(false),
        is_stopping: AtomicBool::new(false),
        resets: AtomicU64::new(0),
    });
    let listener = TcpListener::bind(address).expect("the port is free");
    listener.set_nonblocking(true).expect("set");
    let accepting = Arc::clone(&endpoint);
    let accepting = thread::spawn(move || accept(listener, &accepting));
    for command in std::io::stdin().lines().map_while(Result::ok) {
        match command.as_str() {
            "block" => endpoint.is_blocked.store(true, SeqCst),
            "unblock" => endpoint.is_blocked.store(false, SeqCst),
            "reset" => drop(endpoint.resets.fetch_add(1, SeqCst)),
            "stop" => {
                // In this order: what is lost is never confirmed by a listener.
                endpoint.is_closed.store(true, SeqCst);
                accepting.join().expect("no panic");
                endpoint.is_stopping.store(true, SeqCst);
                thread::sleep(LAST_BREATH);
                break;
            }
            other => panic!("no command: {other}"),
        }
    }
    std::process::exit(0);
}

/// Ends, and with it the listener, when the endpoint is to listen no more.
fn accept(listener: TcpListener, endpoint: &Arc<Endpoint>) {
    while !endpoint.is_closed.load(SeqCst) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(LOOK);
            continue;
        };
        stream.set_nonblocking(false).expect("set");
        let endpoint = Arc::clone(endpoint);
        thread::spawn(move || {
            let resets = endpoint.resets.load(SeqCst);
            let _ = match endpoint.protocol {
                Protocol::JsonLines => endpoint.lines(&stream, resets),
                Protocol::Lumberjack => endpoint.windows(&stream, resets),
                Protocol::Http => endpoint.requests(&stream, resets),
            };
        });
    }
}

/// What becomes of a connection; an error ends it.
type Goes = std::io::Result<()>;

impl Endpoint {
    fn lines(&self, mut stream: &TcpStream, resets: u64) -> Goes {
        let (mut buffer, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            while self.is_blocked.load(SeqCst) {
                thread::sleep(LOOK);
            }
            let read = stream.read(&mut chunk)?;
            if read == 0 {
                return Ok(());
            }
            buffer.extend_from_slice(&chunk[..read]);
            let whole = memchr::memrchr(b'\n', &buffer).map_or(0, |end| end + 1);
            let lines = buffer[..whole].split(|&b| b == b'\n');
            let events: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
            // A Logstash that stops loses what it reads.
            if !self.is_stopping.load(SeqCst) {
                self.process(&events, stream, resets)?;
            }
            buffer.drain(..whole);
        }
    }

    fn windows(&self, mut stream: &TcpStream, resets: u64) -> Goes {
        let mut decoder = Decoder::new(1 << 20);
        let (mut events, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            let read = stream.read(&mut chunk)?;
            if read == 0 {
                return Ok(());
            }
            decoder.buffer().extend_from_slice(&chunk[..read]);
            while let Some(item) = decoder.item().expect("lumberjack") {
                let Item::Event { sequence, json } = item else {
                    continue;
                };
                events.push(json);
                if decoder.events_left() == 0 {
                    self.window(&events, sequence, stream, resets)?;
                    events.clear();
                }
            }
        }
    }

    fn window<E: AsRef<[u8]>>(
        &self,
        events: &[E],
        sequence: u32,
        mut stream: &TcpStream,
        resets: u64,
    ) -> Goes {
        while self.is_blocked.load(SeqCst) {
            stream.write_all(&ack(0))?;
            self.while_blocked(ALIVE);
        }
        self.process(events, stream, resets)?;
        self.unless_stopping()?;
        stream.write_all(&ack(sequence))
    }

    fn requests(&self, stream: &TcpStream, resets: u64) -> Goes {
        let mut reader = BufReader::with_capacity(64 << 10, stream);
        let mut writer = stream;
        loop {
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line)? > 2 {
                if let Some((name, value)) = line.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse().expect("a length");
                }
                line.clear();
            }
            let mut body = vec![0; length];
            if length == 0 || reader.read_exact(&mut body).is_err() {
                return Ok(());
            }
            let events: Vec<&RawValue> = serde_json::from_slice(&body)?;
            let events: Vec<&str> = events.iter().map(|event| event.get()).collect();
            self.while_blocked(Duration::MAX);
            self.process(&events, stream, resets)?;
            self.unless_stopping()?;
            writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    }

    fn while_blocked(&self, most: Duration) {
        let mut waited = Duration::ZERO;
        while waited < most && self.is_blocked.load(SeqCst) {
            thread::sleep(LOOK);
            waited += LOOK;
        }
    }

    /// What was processed is not confirmed by one that stops.
    fn unless_stopping(&self) -> Goes {
        if self.is_stopping.load(SeqCst) {
            thread::sleep(LAST_BREATH);
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        Ok(())
    }

    /// Writes the events down; in the middle of them the connection is reset if that
    /// was commanded since it began.
    fn process<E: AsRef<[u8]>>(&self, events: &[E], stream: &TcpStream, resets: u64) -> Goes {
        let is_reset = self.resets.load(SeqCst) != resets;
        let taken = events.len() / if is_reset { 2 } else { 1 };
        let mut records = Vec::with_capacity(taken * RECORD);
        for event in &events[..taken] {
            let event: Event = serde_json::from_slice(event.as_ref()).expect("an event");
            records.extend_from_slice(&event.seq.to_le_bytes());
            records.extend_from_slice(&xxh3_64(event.metadata.id.as_bytes()).to_le_bytes());
        }
        (&self.file).write_all(&records)?;
        if is_reset {
            socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}
