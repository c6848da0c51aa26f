//! The form in which a letter is in the store, and in a file that was exported: one
//! JSON object on one line.
//!
//! The event, if it is one JSON object on one line, stands in `event` as it is, byte for
//! byte, so that any tool for JSON can read it and change it. Another one is in
//! `event_text`, or in `event_base64` if it is no text. So it is with `original`.

use std::borrow::Cow;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::readable;
use crate::batch::{QueueName, UnixMillis};
use crate::dead_letter::store::Letter;
use crate::dead_letter::{DeadLetter, Reason, Source};
use crate::event::object;

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    number: u64,
    queue: QueueName,
    name: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    detail: Cow<'a, str>,
    source: Source,
    attempt: u32,
    first_at: UnixMillis,
    at: UnixMillis,
    times: u64,
    /// xxh3-128 of the event as it was refused, in hexadecimal digits.
    content: String,
    revision: u32,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_text: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_base64: Option<String>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    original: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original_text: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original_base64: Option<String>,
}

/// The letters, one a line.
pub(in crate::dead_letter) fn write_stored(letters: &[Letter]) -> Bytes {
    let mut out = Vec::new();
    for letter in letters {
        out.extend_from_slice(&write_one(letter));
        out.push(b'\n');
    }
    out.into()
}

/// A letter as one line, without the line break.
pub(in crate::dead_letter) fn write_one(letter: &Letter) -> Vec<u8> {
    let dead = &letter.letter;
    let (event, event_text, event_base64) = parts(&dead.event);
    let original = letter.original.as_ref().map(|event| parts(event));
    let (original, original_text, original_base64) = original.unwrap_or_default();
    let line = Line {
        number: letter.number,
        queue: dead.queue.clone(),
        name: Cow::Borrowed(&letter.name),
        id: dead.id.clone(),
        reason: dead.reason,
        field: dead.field.clone(),
        detail: Cow::Borrowed(&dead.detail),
        source: dead.source,
        attempt: dead.attempt,
        first_at: letter.first_at,
        at: dead.at,
        times: letter.times,
        content: format!("{:032x}", letter.content),
        revision: letter.revision,
        event,
        event_text,
        event_base64,
        original,
        original_text,
        original_base64,
    };
    serde_json::to_vec(&line)
        .expect("invariant: memory takes every write, and a line has string keys")
}

/// A letter as JSON.
pub(in crate::dead_letter) fn to_json(letter: &Letter) -> Box<RawValue> {
    let json = String::from_utf8(write_one(letter)).ok();
    json.and_then(|json| RawValue::from_string(json).ok())
        .expect("invariant: a line is JSON")
}

type Parts<'a> = (Option<&'a RawValue>, Option<Cow<'a, str>>, Option<String>);

/// An event as it is written: one of three.
fn parts(event: &[u8]) -> Parts<'_> {
    if let Some(raw) = as_object(event) {
        return (Some(raw), None, None);
    }
    match readable(event) {
        Some(text) => (None, Some(Cow::Borrowed(text)), None),
        None => (None, None, Some(BASE64.encode(event))),
    }
}

/// The event, if it is one JSON object on one line and nothing else.
fn as_object(event: &[u8]) -> Option<&RawValue> {
    let whole = event.first() == Some(&b'{') && event.last() == Some(&b'}');
    if !whole || event.contains(&b'\n') || event.contains(&b'\r') {
        return None;
    }
    // Not deeper than the door allows, so that whoever reads the line need not be
    // afraid for its stack.
    object(event).ok()?;
    serde_json::from_slice(event).ok()
}

/// Reads a line that [`write_one`] wrote, or that a person changed.
pub(in crate::dead_letter) fn read_stored(line: &[u8]) -> Result<Letter, serde_json::Error> {
    use serde::de::Error;
    let line: Line<'_> = serde_json::from_slice(line)?;
    let event = event((line.event, line.event_text, line.event_base64))?;
    let event = event.ok_or_else(|| Error::missing_field("event"))?;
    let content = u128::from_str_radix(&line.content, 16);
    // A person's file may have any figures; these are counted on.
    let (times, revision) = (
        line.times.min(u64::MAX / 2),
        line.revision.min(u32::MAX / 2),
    );
    Ok(Letter {
        number: line.number,
        name: line.name.into_owned(),
        first_at: line.first_at,
        times,
        content: content.map_err(|_| Error::custom("`content` is not a hexadecimal number"))?,
        original: self::event((line.original, line.original_text, line.original_base64))?,
        revision,
        letter: DeadLetter {
            queue: line.queue,
            id: line.id,
            reason: line.reason,
            field: line.field,
            detail: line.detail.into_owned(),
            source: line.source,
            attempt: line.attempt,
            at: line.at,
            event,
        },
    })
}

fn event((raw, text, base64): Parts<'_>) -> Result<Option<Bytes>, serde_json::Error> {
    let bytes = match (raw, text, base64) {
        (Some(raw), ..) => raw.get().as_bytes().to_vec(),
        (None, Some(text), _) => text.into_owned().into_bytes(),
        (None, None, Some(base64)) => super::decode(&base64)?,
        (None, None, None) => return Ok(None),
    };
    Ok(Some(bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RejectReason;

    fn letter(event: &'static [u8], original: Option<&'static [u8]>) -> Letter {
        Letter {
            number: 1_795_294_380_120_007,
            name: "0123~89abcdef".into(),
            letter: DeadLetter {
                queue: QueueName::default(),
                id: Some("0123".into()),
                reason: Reason::Rejected(RejectReason::InvalidJson),
                field: Some("user.id".into()),
                detail: "\u{1b}[31m".into(),
                source: Source::Logstash,
                attempt: 2,
                at: UnixMillis(1_795_294_380_120),
                event: Bytes::from_static(event),
            },
            first_at: UnixMillis(1_795_294_000_000),
            times: 3,
            content: 0xfeed << 100,
            original: original.map(Bytes::from_static),
            revision: u32::from(original.is_some()),
        }
    }

    #[test]
    fn a_letter_comes_back_as_it_was_whatever_its_bytes() {
        let deep = [
            b"{\"a\":".repeat(10_000),
            b"1".to_vec(),
            b"}".repeat(10_000),
        ]
        .concat();
        let deep: &'static [u8] = deep.leak();
        for event in [
            &b"{ \"a\" : 1.00 }"[..],
            b"{\"a\n",
            b"{\"a\":1}\n",
            b"{\"a\":\n1}",
            b" {}",
            b"[1]",
            b"\xff\0{",
            b"",
            deep,
        ] {
            for original in [None, Some(event)] {
                let letter = letter(event, original);
                let line = write_one(&letter);
                assert!(!line.contains(&b'\n'));
                assert_eq!(read_stored(&line).expect("readable"), letter);
                assert_eq!(to_json(&letter).get().as_bytes(), line);
            }
        }
    }

    #[test]
    fn a_readable_event_stands_in_the_line_as_it_is() {
        let line = write_one(&letter(b"{\"a\": 1.00}", None));
        let line = String::from_utf8(line).expect("UTF-8");
        assert!(line.contains(r#""event":{"a": 1.00}"#), "{line}");
    }

    #[test]
    fn an_event_that_a_person_changed_is_read_as_it_is() {
        let line = write_one(&letter(b"{\"a\": 1}", None));
        let line = String::from_utf8(line).expect("UTF-8");
        let changed = line.replace(r#"{"a": 1}"#, r#"{"a": "x"}"#);
        let read = read_stored(changed.as_bytes()).expect("readable");
        assert_eq!(read.letter.event, r#"{"a": "x"}"#);
        let gone = line.replace(r#""event":{"a": 1}"#, r#""x":1"#);
        let error = read_stored(gone.as_bytes()).expect_err("no event");
        assert!(error.to_string().contains("event"), "{error}");
    }
}
