//! Properties of the door and the stamp over generated and damaged JSON, with
//! serde_json as the judge.
//!
//! Where serde_json differs from the door, and what the tests make of it:
//! - `IgnoredAny` does not look at UTF-8: it is checked before.
//! - `Value` takes no lone surrogates and no number beyond `f64`, the door and
//!   `IgnoredAny` do: the grammar is judged by `IgnoredAny`, and values are
//!   compared only where there are any.
//! - serde_json stops at 127 levels, the door at 128: nothing here is that deep
//!   (`json_cases.rs` goes to the limit).

mod generated_events;

use bytes::Bytes;
use generated_events::*;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use stashgate::batch::{Batch, BatchId, UnixMillis};
use stashgate::event::RejectReason::{self, *};
use stashgate::event::{BlockError, Limits, Stamper, Validated, json_document, list, ndjson};
use stashgate::record::{Header, Place, decode_header, encode_header};

/// How an event with an `@metadata` of its own begins behind the door.
const OWN: &[u8] = b"{\"@metadata\":{";

// ---- The judge ----

/// The members of an object in their order, doubles included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|byte| b" \t\r\n".contains(byte))
}

fn trimmed(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| b" \t\r\n".contains(byte);
    let start = text.iter().take_while(|byte| blank(byte)).count();
    let end = text.iter().rev().take_while(|byte| blank(byte)).count();
    &text[start..(text.len() - end).max(start)]
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// What the door must say of an event. `None`: a top-level name is no Unicode
/// text, so that serde_json cannot say whether there is an `@metadata`.
fn judge(event: &[u8]) -> Option<Result<(), RejectReason>> {
    if std::str::from_utf8(event).is_err() {
        return Some(Err(InvalidUtf8));
    }
    if !is_json(event) {
        return Some(Err(InvalidJson));
    }
    if trimmed(event).first() != Some(&b'{') {
        return Some(Err(NotAnObject));
    }
    let Members(members) = serde_json::from_slice(event).ok()?;
    let own = members.iter().filter(|(name, _)| name == "@metadata");
    let own: Vec<&str> = own.map(|(_, value)| value.get()).collect();
    Some(match own[..] {
        [] => Ok(()),
        [one] if one.starts_with('{') => Ok(()),
        _ => Err(InvalidMetadata),
    })
}

/// What an accepted event must mean; `None` where serde_json has no value for it.
fn meaning(event: &[u8]) -> Option<Value> {
    let mut value: Value = serde_json::from_slice(event).ok()?;
    if let Some(Value::Object(own)) = value.get_mut("@metadata") {
        own.shift_remove("dead_letter_queue");
    }
    Some(value)
}

/// Holds what came out of a door against the events that went in.
fn check(events: &[&[u8]], validated: &Validated) -> Result<(), TestCaseError> {
    prop_assert_eq!(
        validated.events as usize + validated.rejects.len(),
        events.len()
    );
    let block = &validated.block[..];
    prop_assert!(block.is_empty() || block.ends_with(b"\n"));
    let mut lines = block.split_inclusive(|&byte| byte == b'\n');
    let mut rejects = validated.rejects.iter().peekable();
    for (index, event) in events.iter().enumerate() {
        let reject = rejects.next_if(|reject| reject.index as usize == index);
        let verdict = reject.map_or(Ok(()), |reject| Err(reject.reason));
        match judge(event) {
            Some(expected) => prop_assert_eq!(verdict, expected, "{}", event.escape_ascii()),
            None => prop_assert!(matches!(verdict, Ok(()) | Err(InvalidMetadata))),
        }
        match reject {
            Some(reject) => prop_assert_eq!(&reject.event[..], *event),
            None => check_line(event, lines.next(), validated.own_metadata)?,
        }
    }
    prop_assert!(rejects.next().is_none() && lines.next().is_none());
    Ok(())
}

fn check_line(event: &[u8], line: Option<&[u8]>, own: bool) -> Result<(), TestCaseError> {
    let line = line.expect("a line for each accepted event");
    prop_assert!(
        line.starts_with(b"{") && line.ends_with(b"}\n"),
        "{}",
        line.escape_ascii()
    );
    prop_assert!(
        !line[..line.len() - 1]
            .iter()
            .any(|byte| b"\r\n".contains(byte))
    );
    prop_assert!(is_json(line));
    prop_assert!(line.len() <= event.len() + 1);
    if let Some(expected) = meaning(event) {
        let value: Value = serde_json::from_slice(line).expect("as good as the event");
        if let Some(metadata) = expected.get("@metadata") {
            let first = line.starts_with(OWN);
            prop_assert!(own && first);
            prop_assert!(metadata.is_object());
        }
        prop_assert_eq!(value, expected);
    }
    Ok(())
}

// ---- The properties ----

fn limits() -> Limits {
    Limits::default()
}

/// The events of a block: its lines that are not blank, without line ends.
fn lines_of(block: &[u8]) -> Vec<&[u8]> {
    let lines = block.split(|&byte| byte == b'\n');
    lines
        .filter(|line| !is_blank(line))
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect()
}

fn header(validated: &Validated) -> Header {
    let batch = Batch {
        id: BatchId::new(b"a batch").expect("valid"),
        accepted_at: UnixMillis(1_795_294_380_120),
        events: validated.events,
        payload: validated.block.clone(),
        payload_hash: validated.hash,
        rejected: validated
            .rejects
            .iter()
            .map(|reject| reject.index)
            .collect(),
        own_metadata: validated.own_metadata,
        foreign: false,
        timestamps: validated.timestamps,
        origin: stashgate::batch::Origin::Accepted,
    };
    let mut header = Vec::new();
    encode_header(&batch, Place::default(), &mut header);
    decode_header(&header).expect("decodes")
}

/// What a stamped event means without the stamp, which must be right.
fn unstamped(line: &str, original: &Value, id: &str) -> Result<Value, TestCaseError> {
    let mut value: Value = serde_json::from_str(line).expect("JSON");
    let own = original.get("@metadata");
    let Some(Value::Object(metadata)) = value.get_mut("@metadata") else {
        return Err(TestCaseError::fail("no @metadata"));
    };
    for (name, ours) in [("_id", id), ("accepted_at", "2026-11-21T20:53:00.120Z")] {
        let told = name == "_id" || original.get("@timestamp").is_none();
        if told && own.and_then(|own| own.get(name)).is_none() {
            prop_assert_eq!(metadata.shift_remove(name), Some(Value::from(ours)));
        }
    }
    if own.is_none() {
        prop_assert!(metadata.is_empty());
        value
            .as_object_mut()
            .expect("an object")
            .shift_remove("@metadata");
    }
    Ok(value)
}

/// How often a name stands in an object, as written there.
fn occurrences(object: &RawValue, name: &str) -> usize {
    let Members(members) = serde_json::from_str(object.get()).expect("an object");
    members.iter().filter(|(other, _)| other == name).count()
}

proptest! {
    #[test]
    fn every_line_of_a_block_is_accepted_or_rejected_as_serde_json_says(block in block()) {
        let validated = ndjson(block.clone().into(), &limits()).expect("within the limits");
        check(&lines_of(&block), &validated)?;
    }

    #[test]
    fn every_element_of_a_list_is_accepted_or_rejected_as_serde_json_says(
        events in prop::collection::vec(prop_oneof![
            event().prop_map(String::into_bytes),
            damaged(event()),
            damaged(value()),
            event().prop_map(|event| event.replace("\":", "\":\r\n").into_bytes()),
        ], 0..8),
    ) {
        let elements: Vec<Bytes> = events.iter().map(|event| Bytes::copy_from_slice(event)).collect();
        let validated = list(&elements, &limits()).expect("within the limits");
        check(&events.iter().map(|event| &event[..]).collect::<Vec<_>>(), &validated)?;
    }

    #[test]
    fn a_document_is_well_formed_when_serde_json_says_so(
        body in prop_oneof![
            damaged(prop::collection::vec((blank(), value(), blank()), 0..5).prop_map(array)),
            prop::collection::vec((blank(), event(), blank()), 0..5).prop_map(|e| array(e).into_bytes()),
            event().prop_map(String::into_bytes),
            damaged(event()),
        ],
    ) {
        let well_formed = is_json(&body) && matches!(trimmed(&body).first(), Some(b'{' | b'['));
        match json_document(body.clone().into(), &limits()) {
            Ok(validated) => {
                prop_assert!(well_formed, "{}", body.escape_ascii());
                if let Ok(elements) = serde_json::from_slice::<Vec<&RawValue>>(&body) {
                    let elements = elements.iter().map(|raw| trimmed(raw.get().as_bytes()));
                    check(&elements.collect::<Vec<_>>(), &validated)?;
                } else if trimmed(&body).first() == Some(&b'{') {
                    check(&[trimmed(&body)], &validated)?;
                }
            }
            Err(BlockError::Malformed { .. }) => prop_assert!(!well_formed, "{}", body.escape_ascii()),
            Err(error) => prop_assert!(false, "{error}"),
        }
    }

    #[test]
    fn a_block_cut_between_lines_gives_the_same_in_pieces(block in block(), cut in any::<Index>()) {
        let whole = ndjson(block.clone().into(), &limits()).expect("within the limits");
        let starts: Vec<usize> = (0..=block.len()).filter(|&at| at == 0 || block[at - 1] == b'\n').collect();
        let (a, b) = block.split_at(starts[cut.index(starts.len())]);
        let [a, b] = [a, b].map(|part| {
            ndjson(Bytes::copy_from_slice(part), &limits()).expect("within the limits")
        });
        prop_assert_eq!([a.block, b.block].concat(), whole.block);
        prop_assert_eq!(a.own_metadata | b.own_metadata, whole.own_metadata);
        let seen = a.events + a.rejects.len() as u32;
        let later = b.rejects.into_iter().map(|mut reject| { reject.index += seen; reject });
        let rejects: Vec<_> = a.rejects.into_iter().chain(later).collect();
        prop_assert_eq!(rejects, whole.rejects);
    }

    #[test]
    fn what_passed_the_door_passes_it_again_unchanged(block in block()) {
        let first = ndjson(block.into(), &limits()).expect("within the limits");
        let again = ndjson(first.block.clone(), &limits()).expect("within the limits");
        prop_assert_eq!(again.rejects.len(), 0);
        prop_assert_eq!(again.block.as_ptr(), first.block.as_ptr());
        prop_assert_eq!((again.block, again.events), (first.block, first.events));
        prop_assert_eq!(again.own_metadata, first.own_metadata);
    }

    #[test]
    fn a_stamped_event_is_the_event_with_the_stamp(block in block(), from in any::<Index>()) {
        let validated = ndjson(block.into(), &limits()).expect("within the limits");
        let events: Vec<&[u8]> = validated.block.split_inclusive(|&byte| byte == b'\n').collect();
        let stamper = Stamper::new(&header(&validated), true);
        let first = if events.is_empty() { 0 } else { from.index(events.len()) };
        let mut out = Vec::new();
        stamper.stamp(&events[first..].concat(), first as u32, &mut out);
        let out = String::from_utf8(out).expect("UTF-8");
        prop_assert_eq!(out.lines().count(), events.len() - first);

        let rejected: Vec<u32> = validated.rejects.iter().map(|reject| reject.index).collect();
        let mut positions = (0..).filter(|position| !rejected.contains(position)).skip(first);
        for ((line, event), accepted) in out.lines().zip(&events[first..]).zip(first as u32..) {
            prop_assert!(is_json(line.as_bytes()), "{line}");
            let id = stamper.id(accepted);
            let position = data_encoding::BASE32_DNSSEC
                .encode(&(positions.next().expect("endless") << 12).to_be_bytes());
            prop_assert_eq!(&id[id.len() - 4..], &position[..4]);
            let Ok(original) = serde_json::from_slice::<Value>(event) else { continue };
            prop_assert_eq!(&unstamped(line, &original, &id)?, &original);
            let Members(top) = serde_json::from_str(line).expect("an object");
            prop_assert_eq!(top.iter().filter(|(name, _)| name == "@metadata").count(), 1);
            prop_assert_eq!(top[0].0.as_str(), "@metadata");
            for name in ["_id", "accepted_at"] {
                let Members(before) = serde_json::from_slice(event).expect("an object");
                let own = before.iter().find(|(name, _)| name == "@metadata");
                let own = own.map_or(0, |(_, own)| occurrences(own, name));
                let told = name == "_id" || original.get("@timestamp").is_none();
                prop_assert_eq!(occurrences(top[0].1, name), own.max(usize::from(told)));
            }
        }
    }

    #[test]
    fn no_bytes_make_the_door_or_the_stamp_panic(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(select(b"{}[]\",:\\\n\r u0@e1-".to_vec()), 0..200),
        ],
        first in any::<u32>(),
        own_metadata in any::<bool>(),
        rejected in prop::collection::vec(any::<u32>(), 0..4),
    ) {
        let bytes = Bytes::from(bytes);
        let _ = json_document(bytes.clone(), &limits());
        let _ = list(&[bytes.clone(), bytes.clone()], &limits());
        let validated = ndjson(bytes.clone(), &limits()).expect("within the limits");
        let mut header = header(&validated);
        (header.own_metadata, header.rejected) = (own_metadata, rejected.into());
        let stamper = Stamper::new(&header, true);
        stamper.stamp(&bytes, first, &mut Vec::new());
        let own: Vec<u8> = [OWN, &bytes[..], b"\n"].concat();
        stamper.stamp(&own, first, &mut Vec::new());
    }
}
