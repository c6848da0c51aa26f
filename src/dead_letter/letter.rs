//! The form in which a dead letter is stored: one JSON object a line. An event
//! that is UTF-8 is kept as text in `event`, so that a person can read it; any
//! other as base64 in `event_base64`. No bytes of a bad event stand in the line
//! as they came: what the store holds is always valid JSON.

use std::borrow::Cow;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

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
    detail: Cow<'a, str>,
    source: Source,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    event: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_base64: Option<String>,
}

/// The letters as a block: one line each.
pub(super) fn write_lines(letters: &[DeadLetter]) -> Bytes {
    let mut out = Vec::new();
    for letter in letters {
        let text = simdutf8::basic::from_utf8(&letter.event).ok();
        let line = Line {
            at: letter.at,
            queue: letter.queue.clone(),
            id: letter.id.clone(),
            reason: letter.reason,
            detail: Cow::Borrowed(&letter.detail),
            source: letter.source,
            event: text.map(Cow::Borrowed),
            event_base64: text.is_none().then(|| BASE64.encode(&letter.event)),
        };
        serde_json::to_writer(&mut out, &line)
            .expect("invariant: a Vec takes every write, and a line has string keys");
        out.push(b'\n');
    }
    out.into()
}

/// Reads a line that [`write_lines`] wrote.
#[cfg(test)]
pub(super) fn read_line(line: &[u8]) -> Result<DeadLetter, serde_json::Error> {
    let line: Line<'_> = serde_json::from_slice(line)?;
    let event = match (line.event, line.event_base64) {
        (Some(text), _) => Bytes::copy_from_slice(text.as_bytes()),
        (None, Some(base64)) => BASE64
            .decode(base64.as_bytes())
            .map_err(|e| serde::de::Error::custom(format!("event_base64: {e}")))?
            .into(),
        (None, None) => return Err(serde::de::Error::missing_field("event")),
    };
    Ok(DeadLetter {
        queue: line.queue,
        id: line.id,
        reason: line.reason,
        detail: line.detail.into_owned(),
        source: line.source,
        at: line.at,
        event,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::Undeliverable;
    use crate::event::RejectReason;

    fn letter(event: &'static [u8]) -> DeadLetter {
        DeadLetter {
            queue: QueueName::default(),
            id: None,
            reason: Reason::Rejected(RejectReason::InvalidJson),
            detail: "expected ':' at byte 3".into(),
            source: Source::Tcp,
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
            ..letter(b"{}")
        };
        let letters = [letter(b"{\"a\n"), letter(b"\xff\0{"), letter(b""), poison];
        let block = write_lines(&letters);
        let read: Vec<_> = block
            .split(|b| *b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| read_line(line).expect("readable"))
            .collect();
        assert_eq!(read, letters);
    }

    #[test]
    fn a_readable_event_is_stored_as_text() {
        let block = write_lines(&[letter(b"{\"a\" 1}")]);
        let line = std::str::from_utf8(&block).expect("UTF-8");
        assert!(line.contains(r#""reason":"invalid_json""#), "{line}");
        assert!(line.contains(r#""event":"{\"a\" 1}""#), "{line}");
    }
}
