//! The events that are sent: log lines of a given length, each with its number.
//! A batch is written once and renumbered in place for each send, so that the
//! generator does not become what is measured.

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
    /// A block of `events` events of `event_bytes` bytes each.
    pub(crate) fn new(events: usize, event_bytes: usize) -> Self {
        let line = line(event_bytes);
        let digits_at = memchr::memmem::find(&line, SEQUENCE_KEY)
            .expect("invariant: every line has a number")
            + SEQUENCE_KEY.len();
        Self {
            bytes: line.repeat(events),
            line: line.len(),
            digits_at,
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
