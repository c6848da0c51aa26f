//! The sink: behaves as Logstash's tcp input does, or as its beats input where the
//! first byte says so, and counts every event by its number: distinct, duplicate,
//! missing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use memchr::memmem::Finder;

use stashgate::wire::lumberjack::{Decoder, Item, VERSION, ack};

use crate::events::{SEQUENCE_DIGITS, SEQUENCE_KEY, read_digits};

/// A histogram of microseconds, up to an hour.
pub(crate) fn micros() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 3_600_000_000, 3)?)
}

/// What arrived.
pub(crate) struct Counts {
    seen: Vec<AtomicU64>,
    distinct: AtomicU64,
    duplicates: AtomicU64,
    strange: AtomicU64,
    /// What an event takes; zero: no time.
    pause: Duration,
    /// Until when what was taken so far keeps it busy, whatever the connection.
    busy: Mutex<Instant>,
}

/// When each batch was (to be) sent, in microseconds since the start of the
/// run; 0 while it was not.
pub(crate) struct SendTimes {
    start: Instant,
    batch_events: u64,
    micros: Vec<AtomicU64>,
}

impl SendTimes {
    /// For `events` events in batches of `batch_events`.
    pub(crate) fn new(events: u64, batch_events: usize) -> Self {
        let batches = events.div_ceil(batch_events as u64) as usize;
        Self {
            start: Instant::now(),
            batch_events: batch_events as u64,
            micros: (0..batches).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// The batch whose first event is `first` was due at `at`.
    pub(crate) fn sent(&self, first: u64, at: Instant) {
        let micros = at.saturating_duration_since(self.start).as_micros() as u64;
        self.micros[(first / self.batch_events) as usize].store(micros.max(1), Relaxed);
    }

    fn since(&self, event: u64) -> Option<u64> {
        let sent = self
            .micros
            .get((event / self.batch_events) as usize)?
            .load(Relaxed);
        (sent > 0).then(|| (self.start.elapsed().as_micros() as u64).saturating_sub(sent))
    }
}

impl Counts {
    fn new(events: u64, pause: Duration) -> Self {
        Self {
            seen: (0..events.div_ceil(64))
                .map(|_| AtomicU64::new(0))
                .collect(),
            distinct: AtomicU64::new(0),
            duplicates: AtomicU64::new(0),
            strange: AtomicU64::new(0),
            pause,
            busy: Mutex::new(Instant::now()),
        }
    }

    /// Events that arrived at least once.
    pub(crate) fn distinct(&self) -> u64 {
        self.distinct.load(Relaxed)
    }

    /// Arrivals of events that had arrived before.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates.load(Relaxed)
    }

    /// Lines without a number.
    pub(crate) fn strange(&self) -> u64 {
        self.strange.load(Relaxed)
    }

    /// What so many events take.
    fn rest(&self, events: u32) {
        if self.pause.is_zero() {
            return;
        }
        let until = {
            let mut busy = self.busy.lock().expect("no holder panics");
            *busy = (*busy).max(Instant::now()) + self.pause * events;
            *busy
        };
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }

    fn count(&self, event: u64) {
        let bit = 1 << (event % 64);
        match self.seen.get((event / 64) as usize) {
            None => self.strange.fetch_add(1, Relaxed),
            Some(word) if word.fetch_or(bit, Relaxed) & bit != 0 => {
                self.duplicates.fetch_add(1, Relaxed)
            }
            Some(_) => self.distinct.fetch_add(1, Relaxed),
        };
    }
}

/// A running sink.
pub(crate) struct Sink {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What arrived.
    pub(crate) counts: Arc<Counts>,
    arrivals: Arc<Mutex<Histogram<u64>>>,
    stop: Arc<AtomicBool>,
}

impl Sink {
    /// Starts a sink that tells `events` events apart.
    pub(crate) fn start(
        listen: SocketAddr,
        events: u64,
        times: Arc<SendTimes>,
    ) -> anyhow::Result<Self> {
        Self::start_slow(listen, events, times, Duration::ZERO)
    }

    /// One that takes `pause` for each event.
    fn start_slow(
        listen: SocketAddr,
        events: u64,
        times: Arc<SendTimes>,
        pause: Duration,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::new(events, pause));
        let arrivals = Arc::new(Mutex::new(micros()?));
        let for_connections = Arc::clone(&arrivals);
        let stop = Arc::new(AtomicBool::new(false));
        let (for_thread, stopped) = (Arc::clone(&counts), Arc::clone(&stop));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if stopped.load(Relaxed) {
                    return;
                }
                let (counts, times) = (Arc::clone(&for_thread), Arc::clone(&times));
                let arrivals = Arc::clone(&for_connections);
                thread::spawn(move || read(connection, &counts, &times, &arrivals));
            }
        });
        Ok(Self {
            address,
            counts,
            arrivals,
            stop,
        })
    }

    /// From sending a batch to its first event's arrival, in microseconds.
    pub(crate) fn arrivals(&self) -> Histogram<u64> {
        self.arrivals.lock().expect("no holder panics").clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        // Wakes `incoming`, so that the thread sees `stop`.
        let _ = TcpStream::connect(self.address);
    }
}

/// Reads until the sender half-closes; then the socket is dropped, which is
/// the FIN the sender waits for.
fn read(mut from: TcpStream, counts: &Counts, times: &SendTimes, arrivals: &Mutex<Histogram<u64>>) {
    let finder = Finder::new(SEQUENCE_KEY);
    if peeked(&from) == Some(VERSION) {
        read_windows(from, &finder, counts, times, arrivals);
        return;
    }
    let mut buffer = vec![0; 256 << 10];
    let mut kept = 0;
    while let Ok(read @ 1..) = from.read(&mut buffer[kept..]) {
        let filled = kept + read;
        let Some(end) = memchr::memrchr(b'\n', &buffer[..filled]) else {
            kept = filled;
            if kept == buffer.len() {
                buffer.resize(2 * kept, 0);
            }
            continue;
        };
        let events = count_lines(&buffer[..=end], &finder, counts, times, arrivals);
        counts.rest(events);
        buffer.copy_within(end + 1..filled, 0);
        kept = filled - end - 1;
    }
}

/// The first byte, which stays where it is.
fn peeked(from: &TcpStream) -> Option<u8> {
    let mut first = [0];
    (from.peek(&mut first).ok()? == 1).then_some(first[0])
}

/// Acknowledges each window when all of it is counted.
fn read_windows(
    mut from: TcpStream,
    finder: &Finder<'_>,
    counts: &Counts,
    times: &SendTimes,
    arrivals: &Mutex<Histogram<u64>>,
) {
    let mut decoder = Decoder::new(1 << 20);
    let mut buffer = vec![0; 256 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        decoder.buffer().extend_from_slice(&buffer[..read]);
        while let Ok(Some(item)) = decoder.item() {
            let Item::Event { sequence, json } = item else {
                continue;
            };
            count_lines(&json, finder, counts, times, arrivals);
            if decoder.events_left() == 0 {
                counts.rest(sequence);
                if from.write_all(&ack(sequence)).is_err() {
                    return;
                }
            }
        }
    }
}

fn count_lines(
    lines: &[u8],
    finder: &Finder<'_>,
    counts: &Counts,
    times: &SendTimes,
    arrivals: &Mutex<Histogram<u64>>,
) -> u32 {
    let mut events = 0;
    for at in finder.find_iter(lines) {
        events += 1;
        let Some(digits) = lines
            .get(at + SEQUENCE_KEY.len()..)
            .and_then(|d| d.get(..SEQUENCE_DIGITS))
        else {
            counts.strange.fetch_add(1, Relaxed);
            continue;
        };
        let event = read_digits(digits);
        if event.is_multiple_of(times.batch_events)
            && let Some(micros) = times.since(event)
        {
            // Once a batch.
            arrivals
                .lock()
                .expect("no holder panics")
                .saturating_record(micros);
        }
        counts.count(event);
    }
    events
}

/// `loadtest sink`: prints once a second until it is stopped.
pub(crate) fn serve_by_hand(listen: SocketAddr, events: u64, rate: u64) -> anyhow::Result<()> {
    let times = Arc::new(SendTimes::new(1, 1));
    let pause = match rate {
        0 => Duration::ZERO,
        rate => Duration::from_secs_f64(1.0 / rate as f64),
    };
    let sink = Sink::start_slow(listen, events, times, pause)?;
    println!("counting on {}", sink.address);
    loop {
        thread::sleep(Duration::from_secs(1));
        let counts = &sink.counts;
        println!(
            "distinct {}  duplicates {}  without a number {}",
            counts.distinct(),
            counts.duplicates(),
            counts.strange()
        );
    }
}
