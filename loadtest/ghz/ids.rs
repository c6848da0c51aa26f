//! A sink that tells events apart by the id that the gateway gave them.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

use memchr::memmem;
use xxhash_rust::xxh3::xxh3_64;

/// What stands before an id: the gateway writes it at the start of each event.
const ID_KEY: &[u8] = b"\"_id\":\"";

/// Ids that a reader keeps before it takes the lock.
const AT_ONCE: usize = 1_000;

#[derive(Default)]
struct Seen {
    /// Of each id the hash: among ten million ids two are the same with a
    /// probability of one in 370,000.
    ids: Mutex<HashSet<u64>>,
    duplicates: AtomicU64,
}

impl Seen {
    fn add(&self, hashes: &mut Vec<u64>) {
        let mut ids = self.ids.lock().expect("no holder panics");
        let known = hashes.drain(..).filter(|hash| !ids.insert(*hash)).count();
        self.duplicates.fetch_add(known as u64, Relaxed);
    }
}

/// A running sink; its threads end with the process.
pub(crate) struct IdSink {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

impl IdSink {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let for_thread = Arc::clone(&seen);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let seen = Arc::clone(&for_thread);
                thread::spawn(move || read(connection, &seen));
            }
        });
        Ok(Self { address, seen })
    }

    /// Ids that arrived.
    pub(crate) fn distinct(&self) -> u64 {
        let ids = self.seen.ids.lock().expect("no holder panics");
        ids.len() as u64
    }

    /// Arrivals of ids that had arrived before.
    pub(crate) fn duplicates(&self) -> u64 {
        self.seen.duplicates.load(Relaxed)
    }
}

/// Reads until the sender half-closes; then the socket is dropped, which is the
/// FIN that the sender waits for.
fn read(from: TcpStream, seen: &Seen) {
    let finder = memmem::Finder::new(ID_KEY);
    let mut from = BufReader::with_capacity(256 << 10, from);
    let mut line = Vec::new();
    let mut hashes = Vec::with_capacity(AT_ONCE);
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let id = finder.find(&line).map(|at| &line[at + ID_KEY.len()..]);
        if let Some((id, true)) = id.map(|id| (until_quote(id), line.ends_with(b"\n"))) {
            hashes.push(xxh3_64(id));
        }
        line.clear();
        if hashes.len() == AT_ONCE {
            seen.add(&mut hashes);
        }
    }
    seen.add(&mut hashes);
}

fn until_quote(id: &[u8]) -> &[u8] {
    let end = memchr::memchr(b'"', id).unwrap_or(id.len());
    &id[..end]
}
