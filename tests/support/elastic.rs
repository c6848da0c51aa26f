//! Of Elasticsearch, what the recipes ask: how many documents an index has, and that it
//! is deleted. A document is an event by its number; what comes twice under one id
//! replaces itself, and the sink in front counts ids that differ.

#![allow(dead_code)]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

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
}

impl Elastic {
    pub(crate) fn start(sink: Arc<Sink>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("bound");
        let index = Index {
            sink,
            forgotten: Arc::default(),
        };
        let served = index.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                served.answer(stream);
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

    fn answer(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().expect("cloned")).lines();
        let request = lines.next().and_then(Result::ok).unwrap_or_default();
        // The rest of the head: else the close would be a reset.
        for line in lines.map_while(Result::ok) {
            if line.is_empty() {
                break;
            }
        }
        let body = if request.starts_with("DELETE ") {
            self.forgotten.store(self.sink.order().len(), Relaxed);
            "{\"acknowledged\":true}".to_owned()
        } else {
            format!("{{\"count\":{}}}", self.documents())
        };
        let length = body.len();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
        // A client that is gone does not read.
        let _ = write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}");
    }
}
