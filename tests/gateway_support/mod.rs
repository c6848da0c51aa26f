//! What the tests of a whole gateway share.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

pub mod program;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use stashgate::batch::QueueName;
use stashgate::config::{Config, Queue, Tcp};

/// Long enough that only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Settings on free ports, for a Logstash at `logstash`.
pub fn config(data_dir: &Path, logstash: SocketAddr) -> Config {
    let any_port = ([127, 0, 0, 1], 0).into();
    let mut config = Config {
        data_dir: data_dir.to_owned(),
        ..Config::default()
    };
    config.admin.listen = any_port;
    config.receivers.grpc.listen = any_port;
    config.receivers.http.listen = any_port;
    let tcp = Tcp {
        listen: any_port,
        ..Tcp::default()
    };
    config.receivers.tcp = BTreeMap::from([("default".into(), tcp)]);
    config.spool.journal.min_free_bytes = bytesize::ByteSize::mib(16);
    let mut queue = Queue::default();
    queue.output.hosts = vec![logstash.to_string()];
    config.queues = BTreeMap::from([(QueueName::default(), queue)]);
    config
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// One request, as it stands on the wire; the body's length is added.
pub fn ask(address: SocketAddr, head: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let length = body.len();
    write!(
        stream,
        "{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Answer {
        status: status.expect("a status"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// `GET path` from this machine.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}"),
        "",
    )
}

/// Sends `body` as newline-delimited JSON.
pub fn post_events(address: SocketAddr, body: &str) -> Answer {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-ndjson"
    );
    ask(address, &head, body)
}

/// Events numbered `numbers`, one a line.
pub fn events(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

/// Looks until `is` gives something.
pub fn wait_for<T>(what: &str, mut is: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = is() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}
