//! The slow path of the door: an event with an `@metadata` of its own.

use super::members::{Member, members};
use super::reject::{Fault, RejectReason::InvalidMetadata};

/// How an event with an `@metadata` of its own begins, once it passed the door.
pub(super) const OWN: &[u8] = b"{\"@metadata\":{";

/// Longest document id that Elasticsearch and OpenSearch take, in bytes of UTF-8. They
/// refuse not the document but the whole bulk request (HTTP 400), which Logstash then
/// sends again for ever: nothing behind it would go on.
pub const MAX_ID_BYTES: usize = 512;

/// Whether an event with one member `@metadata` can stay as it is.
pub(super) fn is_in_order(event: &[u8]) -> bool {
    let in_order = |member: Member<'_>| !is_mark(member) && !is_long_id(member);
    event.starts_with(OWN) && members(&event[OWN.len() - 1..]).all(in_order)
}

/// Which attempt at an event that passed the door this is: its `@metadata.attempt`, a
/// number from 1 or a string of its digits; 1 if it has none. Whoever returns a dead
/// letter sets it.
pub fn attempt(event: &[u8]) -> u32 {
    own(event, "attempt").map_or(1, count)
}

/// The `@metadata._id` that an event that passed the door has of its own.
pub fn own_id(event: &[u8]) -> Option<String> {
    serde_json::from_slice(own(event, "_id")?).ok()
}

/// The value of a member of an event's own `@metadata`.
fn own<'a>(event: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let metadata = event.starts_with(OWN).then(|| &event[OWN.len() - 1..])?;
    let named = members(metadata).filter(|member| member.is(name));
    named.last().map(|member| member.value)
}

fn count(value: &[u8]) -> u32 {
    let digits = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""));
    let digits = std::str::from_utf8(digits.unwrap_or(value)).ok();
    let count: u64 = digits.and_then(|digits| digits.parse().ok()).unwrap_or(1);
    u32::try_from(count).unwrap_or(u32::MAX).max(1)
}

/// Whether a member of `@metadata` is the mark that hides an event from
/// Logstash's dead letter queue.
fn is_mark(member: Member<'_>) -> bool {
    member.is("dead_letter_queue")
}

/// Whether a member of `@metadata` is an id that no index takes. Logstash makes a text
/// of any value.
fn is_long_id(member: Member<'_>) -> bool {
    // An escape is never shorter than what it stands for.
    member.is("_id")
        && member.value.len() > MAX_ID_BYTES
        && serde_json::from_slice(member.value).map_or(true, |id: String| id.len() > MAX_ID_BYTES)
}

/// Appends `event`, an object with a member `@metadata`, as a line that begins
/// with [`OWN`]. The member `dead_letter_queue` of `@metadata` is left out. What
/// is between the members is not kept; the members are, byte for byte and in
/// order. Leaves `out` as it was on error.
pub(super) fn rewrite(event: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let own = find(event)?;
    if members(own.value).any(is_long_id) {
        let what = "@metadata._id is longer than the 512 bytes that Elasticsearch takes";
        return Err(Fault::new(InvalidMetadata, what, own.at));
    }
    out.extend_from_slice(OWN);
    let kept = members(own.value).filter(|member| !is_mark(*member));
    for (i, member) in kept.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(member.text);
    }
    out.push(b'}');
    for member in members(event).filter(|member| member.at != own.at) {
        out.push(b',');
        out.extend_from_slice(member.text);
    }
    out.push(b'}');
    Ok(())
}

/// The one member `@metadata`, which must be an object.
fn find(event: &[u8]) -> Result<Member<'_>, Fault> {
    let mut own = members(event).filter(|member| member.is("@metadata"));
    let fault = |what, at| Fault::new(InvalidMetadata, what, at);
    let member = own.next().ok_or(fault("expected @metadata", 0))?;
    if member.value.first() != Some(&b'{') {
        return Err(fault("@metadata must be an object", member.at));
    }
    match own.next() {
        Some(second) => Err(fault("a second @metadata", second.at)),
        None => Ok(member),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attempt_is_what_an_events_own_metadata_says() {
        for (event, expected) in [
            (r#"{"@metadata":{"attempt":2},"a":1}"#, 2),
            (r#"{"@metadata":{"_id":"x","attempt":"3"}}"#, 3),
            (r#"{"@metadata":{"attempt":1,"attempt":4}}"#, 4),
            (r#"{"@metadata":{"attempt":99999999999}}"#, u32::MAX),
            (r#"{"@metadata":{"attempt":0}}"#, 1),
            (r#"{"@metadata":{"attempt":-1}}"#, 1),
            (r#"{"@metadata":{"attempt":"many"}}"#, 1),
            (r#"{"@metadata":{"attempt":{}}}"#, 1),
            (r#"{"@metadata":{},"attempt":5}"#, 1),
            (r#"{"attempt":5}"#, 1),
            ("", 1),
        ] {
            assert_eq!(attempt(event.as_bytes()), expected, "{event}");
        }
    }

    #[test]
    fn an_id_of_its_own_is_the_text_in_its_metadata() {
        for (event, expected) in [
            (
                r#"{"@metadata":{"attempt":2,"_id":"a\u002d\"1"}}"#,
                Some("a-\"1"),
            ),
            (r#"{"@metadata":{"_id":5}}"#, None),
            (r#"{"@metadata":{}}"#, None),
            (r#"{"_id":"x"}"#, None),
        ] {
            assert_eq!(own_id(event.as_bytes()).as_deref(), expected, "{event}");
        }
    }
    #[test]
    fn an_id_that_no_index_takes_is_not_let_in() {
        let long = "x".repeat(MAX_ID_BYTES);
        let escaped = "\\u00e9".repeat(MAX_ID_BYTES / 2);
        for id in [format!("\"{long}\""), format!("\"{escaped}\""), "17".into()] {
            let event = format!("{{\"@metadata\":{{\"_id\":{id}}}}}");
            assert!(is_in_order(event.as_bytes()), "{event}");
        }
        for id in [
            format!("\"{long}x\""),
            format!("\"{escaped}x\""),
            format!("{{\"a\":\"{long}\"}}"),
            "1".repeat(MAX_ID_BYTES + 1),
        ] {
            for event in [
                format!("{{\"@metadata\":{{\"_id\":{id}}}}}"),
                format!("{{\"a\":1,\"@metadata\":{{\"_id\":\"a\",\"_id\":{id}}}}}"),
            ] {
                assert!(!is_in_order(event.as_bytes()), "{event}");
                let mut out = b"before".to_vec();
                let fault = rewrite(event.as_bytes(), &mut out).expect_err("refused");
                assert_eq!(fault.reason, InvalidMetadata);
                assert_eq!(out, b"before");
            }
        }
    }
}
