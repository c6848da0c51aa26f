//! The form in which a dead letter is in the inbox: one JSON object a line. An event
//! that can be read is kept as text in `event`; one that is not UTF-8, or that
//! would be more than twice as long when it is escaped (control characters), as
//! base64 in `event_base64`. No bytes of a bad event stand in the line as they
//! came: what the store holds is always valid JSON.

mod stored;

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

pub(super) use stored::{read_stored, to_json, write_one, write_stored};

use super::{DeadLetter, Reason, Source};
use crate::batch::{QueueName, UnixMillis};

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    /// Milliseconds since 1970 UTC.
    at: UnixMillis,
    queue: QueueName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    detail: Cow<'a, str>,
    source: Source,
    #[serde(default = "first", skip_serializing_if = "is_first")]
    attempt: u32,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    event: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_base64: Option<String>,
}

fn first() -> u32 {
    1
}

fn is_first(attempt: &u32) -> bool {
    *attempt == 1
}

/// The letters as a block of `len` bytes: one line each.
pub(super) fn write_lines(letters: &[DeadLetter], len: usize) -> Bytes {
    let mut out = Vec::with_capacity(len);
    for letter in letters {
        write_line(letter, &mut out);
    }
    out.into()
}

/// How long a letter's line is, in bytes, line end included.
pub(super) fn line_len(letter: &DeadLetter) -> usize {
    let mut counter = Counter(0);
    write_line(letter, &mut counter);
    counter.0
}

fn write_line(letter: &DeadLetter, out: &mut impl io::Write) {
    let text = readable(&letter.event);
    let line = Line {
        at: letter.at,
        queue: letter.queue.clone(),
        id: letter.id.clone(),
        reason: letter.reason,
        field: letter.field.clone(),
        detail: Cow::Borrowed(&letter.detail),
        source: letter.source,
        attempt: letter.attempt,
        event: text.map(Cow::Borrowed),
        event_base64: text.is_none().then(|| BASE64.encode(&letter.event)),
    };
    serde_json::to_writer(&mut *out, &line)
        .and_then(|()| out.write_all(b"\n").map_err(serde_json::Error::io))
        .expect("invariant: memory takes every write, and a line has string keys");
}

/// The event as text, if it is worth writing as text.
fn readable(event: &[u8]) -> Option<&str> {
    let escaped: usize = event.iter().copied().map(escaped_len).sum();
    if escaped > 2 * event.len() {
        return None;
    }
    simdutf8::basic::from_utf8(event).ok()
}

/// How many bytes JSON writes for a byte of text.
fn escaped_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

/// Counts what is written.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a line that [`write_lines`] wrote.
pub(super) fn read_line(line: &[u8]) -> Result<DeadLetter, serde_json::Error> {
    let line: Line<'_> = serde_json::from_slice(line)?;
    let event = match (line.event, line.event_base64) {
        (Some(text), _) => Bytes::copy_from_slice(text.as_bytes()),
        (None, Some(base64)) => decode(&base64)?.into(),
        (None, None) => return Err(serde::de::Error::missing_field("event")),
    };
    Ok(DeadLetter {
        queue: line.queue,
        id: line.id,
        reason: line.reason,
        field: line.field,
        detail: line.detail.into_owned(),
        source: line.source,
        attempt: line.attempt,
        at: line.at,
        event,
    })
}

fn decode(base64: &str) -> Result<Vec<u8>, serde_json::Error> {
    let bytes = BASE64.decode(base64.as_bytes());
    bytes.map_err(|error| serde::de::Error::custom(format!("base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::Undeliverable;
    use crate::event::RejectReason;

    fn block(letters: &[DeadLetter]) -> Bytes {
        let len = letters.iter().map(line_len).sum();
        let block = write_lines(letters, len);
        assert_eq!(block.len(), len);
        block
    }

    fn letter(event: &'static [u8]) -> DeadLetter {
        DeadLetter {
            queue: QueueName::default(),
            id: None,
            reason: Reason::Rejected(RejectReason::InvalidJson),
            field: None,
            detail: "expected ':' at byte 3".into(),
            source: Source::Tcp,
            attempt: 1,
            at: UnixMillis(1_795_294_380_120),
            event: Bytes::from_static(event),
        }
    }

    #[test]
    fn a_letter_comes_back_as_it_was_whatever_its_bytes() {
        let poison = DeadLetter {
            id: Some("0123".into()),
            reason: Reason::Undeliverable(Undeliverable::Poison),
            source: Source::Forwarder,
            attempt: 2,
            field: Some("user.id".into()),
            ..letter(b"{}")
        };
        let letters = [letter(b"{\"a\n"), letter(b"\xff\0{"), letter(b""), poison];
        let block = block(&letters);
        let read: Vec<_> = block
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| read_line(line).expect("readable"))
            .collect();
        assert_eq!(read, letters);
    }

    #[test]
    fn a_readable_event_is_stored_as_text() {
        let block = block(&[letter(b"{\"a\" 1}")]);
        let line = std::str::from_utf8(&block).expect("UTF-8");
        assert!(line.contains(r#""reason":"invalid_json""#), "{line}");
        assert!(line.contains(r#""event":"{\"a\" 1}""#), "{line}");
    }

    #[test]
    fn a_letter_is_hardly_more_than_twice_as_long_as_its_event_whatever_its_bytes() {
        for byte in 0..=u8::MAX {
            let event = vec![byte; 10_000];
            let letter = DeadLetter {
                event: event.into(),
                ..letter(b"")
            };
            assert!(line_len(&letter) < 20_500, "{byte:#x}");
            let line = block(std::slice::from_ref(&letter));
            assert_eq!(read_line(&line).expect("readable"), letter);
        }
    }
}
