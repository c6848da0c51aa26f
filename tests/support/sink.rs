//! A sink that closes as Logstash's tcp input does, and remembers the id of
//! every event by its number (`"seq"`).

#![allow(dead_code)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// A running sink; its threads end with the test's process.
#[derive(Clone)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    ids: Arc<Mutex<HashMap<u64, String>>>,
    faults: Arc<Mutex<Vec<String>>>,
    /// Events that came again.
    twice: Arc<AtomicU64>,
    blocked: Arc<AtomicBool>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").expect("a port for the sink"))
    }

    /// Serves a listener; until then, whoever connects to it is left waiting as
    /// by a Logstash that is blocked.
    pub(crate) fn serve(listener: TcpListener) -> Self {
        let sink = Self::at(&listener);
        sink.serve_at(listener);
        sink
    }

    /// One that does not serve its listener yet.
    pub(crate) fn at(listener: &TcpListener) -> Self {
        Self {
            address: listener.local_addr().expect("bound"),
            ids: Arc::default(),
            faults: Arc::default(),
            twice: Arc::default(),
            blocked: Arc::default(),
        }
    }

    /// Begins to serve.
    pub(crate) fn serve_at(&self, listener: TcpListener) {
        let sink = self.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let sink = sink.clone();
                thread::spawn(move || sink.read(connection));
            }
        });
    }

    /// Reads no more, or reads on; what is connected stays so.
    pub(crate) fn block(&self, blocked: bool) {
        self.blocked.store(blocked, Relaxed);
    }

    /// Whether the event with this number arrived.
    pub(crate) fn has(&self, seq: u64) -> bool {
        self.ids
            .lock()
            .expect("no holder panics")
            .contains_key(&seq)
    }

    /// How many events arrived, each counted once.
    pub(crate) fn distinct(&self) -> u64 {
        self.ids.lock().expect("no holder panics").len() as u64
    }

    /// How many events came that had come before.
    #[allow(dead_code)]
    pub(crate) fn twice(&self) -> u64 {
        self.twice.load(Relaxed)
    }

    /// Everything that should not have been: lines that are no whole events,
    /// events that came twice under two ids.
    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().expect("no holder panics").clone()
    }

    fn read(&self, from: TcpStream) {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        // A sender that was killed leaves part of a line: that is no event.
        while from.read_until(b'\n', &mut line).is_ok() && line.ends_with(b"\n") {
            if let Err(fault) = self.take(&line) {
                self.faults.lock().expect("no holder panics").push(fault);
            }
            line.clear();
            while self.blocked.load(Relaxed) {
                thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn take(&self, line: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(line);
        let event: Value =
            serde_json::from_slice(line).map_err(|e| format!("not JSON: {e}: {text}"))?;
        let seq = event["seq"]
            .as_u64()
            .ok_or_else(|| format!("no seq: {text}"))?;
        let id = event["@metadata"]["_id"]
            .as_str()
            .ok_or_else(|| format!("no id: {text}"))?;
        let mut ids = self.ids.lock().expect("no holder panics");
        let before = ids.insert(seq, id.to_owned());
        self.twice.fetch_add(u64::from(before.is_some()), Relaxed);
        match before {
            Some(before) if before != id => Err(format!("event {seq} has ids {before} and {id}")),
            _ => Ok(()),
        }
    }
}
