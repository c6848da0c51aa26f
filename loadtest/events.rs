//! The events that are sent: log lines of a given length, each with its number.
//! A batch is written once and renumbered in place for each send, so that the
//! generator does not become what is measured.
//!
//! Events that differ by their numbers alone are what a gateway is compared with relays
//! by. Where the spool compresses they would flatter it, so there they are varied: ids,
//! addresses and texts that do not repeat within a batch.

use crate::scenario::Scenario;

/// What stands before the number of an event, in the event and at the sink.
pub(crate) const SEQUENCE_KEY: &[u8] = b"\"seq\":\"";
/// Digits of the number.
pub(crate) const SEQUENCE_DIGITS: usize = 12;

/// A block of numbered events.
#[derive(Clone)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    line: usize,
    digits_at: usize,
}

impl Block {
    /// The block of a batch of `scenario`.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let (events, event_bytes) = (scenario.batch_events, scenario.event_bytes);
        if !scenario.varied {
            return Self::new(events, event_bytes);
        }
        let mut random = fastrand::Rng::with_seed(11);
        let lines = (0..events).map(|_| varied_line(event_bytes, &mut random));
        Self::from_lines(lines.collect())
    }

    /// A block of `events` events of `event_bytes` bytes each, all alike.
    pub(crate) fn new(events: usize, event_bytes: usize) -> Self {
        Self::from_lines(vec![line(event_bytes); events])
    }

    /// All of the same length, with the number at the same place.
    fn from_lines(lines: Vec<Vec<u8>>) -> Self {
        let first = lines.first().expect("invariant: no batch is empty");
        let digits_at = memchr::memmem::find(first, SEQUENCE_KEY)
            .expect("invariant: every line has a number")
            + SEQUENCE_KEY.len();
        Self {
            line: first.len(),
            digits_at,
            bytes: lines.concat(),
        }
    }

    /// Numbers the events from `first` and gives the block.
    pub(crate) fn numbered(&mut self, first: u64) -> &[u8] {
        for (i, line) in self.bytes.chunks_exact_mut(self.line).enumerate() {
            write_digits(
                first + i as u64,
                &mut line[self.digits_at..][..SEQUENCE_DIGITS],
            );
        }
        &self.bytes
    }
}

fn line(event_bytes: usize) -> Vec<u8> {
    let head = format!(
        "{{\"@timestamp\":\"2026-11-21T20:53:00.123Z\",\"seq\":\"{:012}\",\"level\":\"info\",\"service\":\"checkout\",\
         \"host\":{{\"name\":\"web-17\",\"ip\":\"10.1.2.3\"}},\"status\":200,\"duration_ms\":12.75,\
         \"path\":\"/api/v2/orders\",\"tags\":[\"edge\",\"eu-west\"],\"message\":\"",
        0
    );
    let filler = event_bytes.saturating_sub(head.len() + 2);
    let words = "order accepted and handed to payment after validation of the basket ";
    let mut line = head.into_bytes();
    line.extend(words.bytes().cycle().take(filler));
    line.extend_from_slice(b"\"}\n");
    line
}

const WORDS: [&str; 12] = [
    "order", "payment", "timeout", "user", "cache", "session", "retry", "shard", "failed",
    "accepted", "customer", "upstream",
];

fn varied_line(event_bytes: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let service = WORDS[random.usize(..WORDS.len())];
    let path = WORDS[random.usize(..WORDS.len())];
    let (id, host, micros) = (
        random.u128(..),
        random.u16(..),
        random.u32(100_000..1_000_000),
    );
    let [a, b] = [random.u8(100..), random.u8(100..)];
    let head = format!(
        "{{\"@timestamp\":\"2026-11-21T20:53:00.{micros}Z\",\"seq\":\"{:012}\",\"service\":\"{service}\",\
         \"trace\":\"{id:032x}\",\"host\":{{\"name\":\"web-{host}\",\"ip\":\"10.1.{a}.{b}\"}},\"status\":200,\
         \"duration_us\":{micros},\"path\":\"/v1/{path}/{host}\",\"message\":\"",
        0
    );
    let mut line = head.into_bytes();
    while line.len() + 2 < event_bytes {
        line.extend_from_slice(WORDS[random.usize(..WORDS.len())].as_bytes());
        line.push(b' ');
    }
    line.truncate(event_bytes.saturating_sub(2));
    line.extend_from_slice(b"\"}\n");
    line
}

fn write_digits(mut number: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Reads a number that [`Block::numbered`] wrote.
pub(crate) fn read_digits(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, digit| {
        number * 10 + u64::from(digit.wrapping_sub(b'0'))
    })
}
