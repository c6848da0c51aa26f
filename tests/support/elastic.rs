//! Of Elasticsearch, what the recipes ask: how many documents an index has, that it is
//! deleted, and how it is; and how long Logstash's own queue is. A document is an event by
//! its number; what comes twice under one id replaces itself, and the sink in front counts
//! ids that differ.

#![allow(dead_code)]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use serde_json::{Value, json};

use super::logstash::Sink;

/// See the module. Its thread ends with the test's process.
pub(crate) struct Elastic {
    pub(crate) address: SocketAddr,
    index: Index,
}

#[derive(Clone)]
struct Index {
    sink: Arc<Sink>,
    /// How many arrivals there were when it was deleted.
    forgotten: Arc<AtomicUsize>,
    /// Events in Logstash's own queue: one less each time somebody asks.
    queued: Arc<AtomicUsize>,
}

impl Elastic {
    pub(crate) fn start(sink: Arc<Sink>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("bound");
        let index = Index {
            sink,
            forgotten: Arc::default(),
            queued: Arc::new(AtomicUsize::new(2)),
        };
        let served = index.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                thread::spawn(move || served.answer(stream));
            }
        });
        Self { address, index }
    }

    /// The documents, each counted once.
    pub(crate) fn documents(&self) -> usize {
        self.index.documents()
    }
}

impl Index {
    fn documents(&self) -> usize {
        let order = self.sink.order();
        let since = order.iter().skip(self.forgotten.load(Relaxed));
        since.collect::<HashSet<_>>().len()
    }

    /// Of a request that it does not know nothing is answered, which `curl` tells.
    fn body(&self, request: &str) -> Value {
        let (method, rest) = request.split_once(' ').expect("a request");
        let path = rest.split(' ').next().expect("a path");
        match (method, path) {
            ("DELETE", _) => {
                self.forgotten.store(self.sink.order().len(), Relaxed);
                json!({"acknowledged": true})
            }
            ("GET", path) if path.ends_with("/_count") => json!({"count": self.documents()}),
            ("GET", "/_cluster/health?wait_for_status=yellow&timeout=10m") => {
                json!({"status": "yellow", "timed_out": false})
            }
            ("GET", "/_node/stats/pipelines/main") => {
                let count = self.queued.load(Relaxed);
                self.queued.store(count.saturating_sub(1), Relaxed);
                json!({"pipelines": {"main": {"queue": {"events_count": count}}}})
            }
            _ => panic!("nobody answers {request}"),
        }
    }

    fn answer(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().expect("cloned")).lines();
        let request = lines.next().and_then(Result::ok).unwrap_or_default();
        // The rest of the head: else the close would be a reset.
        for line in lines.map_while(Result::ok) {
            if line.is_empty() {
                break;
            }
        }
        let body = self.body(&request).to_string();
        let length = body.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
        // A client that is gone does not read.
        let _ = write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}");
    }
}
