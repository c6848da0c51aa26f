//! An event that goes to Logstash once more: marked with its old id and its attempt.

use bytes::Bytes;

use super::members::{Member, members};
use super::metadata::OWN;
use super::{Limits, Reject, list};
use crate::batch::UnixMillis;

/// What an event that is sent again is marked with, in its `@metadata`.
#[derive(Debug, Clone, Copy)]
pub struct Marks<'a> {
    /// `_id`, unless the event has one of its own.
    pub id: &'a str,
    /// `attempt`.
    pub attempt: u32,
    /// `accepted_at`, unless the event has an `@timestamp`, or an `accepted_at`.
    pub accepted_at: UnixMillis,
}

/// The event as a line with its marks, and whether it has an `@timestamp`. It has to
/// pass the door as any other event.
pub fn returned(
    event: &Bytes,
    marks: &Marks<'_>,
    limits: &Limits,
) -> Result<(Vec<u8>, bool), Box<Reject>> {
    let one = Limits {
        max_batch_bytes: usize::MAX,
        max_batch_events: 1,
        ..*limits
    };
    let mut validated = list(std::slice::from_ref(event), &one)
        .expect("invariant: one event is no more than one event");
    if let Some(reject) = validated.rejects.pop() {
        return Err(Box::new(reject));
    }
    let line = &validated.block[..];
    let dated = members(line).any(|member| member.is("@timestamp"));
    Ok((mark(line, marks, dated), dated))
}

fn mark(line: &[u8], marks: &Marks<'_>, dated: bool) -> Vec<u8> {
    let has_own = line.starts_with(OWN);
    let own = if has_own {
        &line[OWN.len() - 1..]
    } else {
        b"{}"
    };
    let kept = members(own).filter(|member| !member.is("attempt"));
    let lacks = |name| !members(own).any(|member| member.is(name));
    let mut out = Vec::with_capacity(line.len() + marks.id.len() + 100);
    out.extend_from_slice(OWN);
    out.extend_from_slice(format!("\"attempt\":{}", marks.attempt).as_bytes());
    if lacks("_id") {
        let id = serde_json::Value::from(marks.id);
        out.extend_from_slice(format!(",\"_id\":{id}").as_bytes());
    }
    if !dated && lacks("accepted_at") {
        out.extend_from_slice(format!(",\"accepted_at\":\"{}\"", marks.accepted_at).as_bytes());
    }
    kept.for_each(|member| put(member, &mut out));
    out.push(b'}');
    let others = members(line).filter(|member| !member.is("@metadata"));
    others.for_each(|member| put(member, &mut out));
    out.extend_from_slice(b"}\n");
    out
}

fn put(member: Member<'_>, out: &mut Vec<u8>) {
    out.push(b',');
    out.extend_from_slice(member.text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::RejectReason;

    fn line(event: &'static str) -> String {
        let marks = Marks {
            id: "a\"b",
            attempt: 2,
            accepted_at: UnixMillis(0),
        };
        let (line, _) = returned(
            &Bytes::from_static(event.as_bytes()),
            &marks,
            &Limits::default(),
        )
        .expect("passes");
        String::from_utf8(line).expect("UTF-8")
    }

    #[test]
    fn an_event_gets_its_marks_and_keeps_all_else() {
        let at = "1970-01-01T00:00:00.000Z";
        for (event, expected) in [
            (
                "{}",
                format!(r#"{{"@metadata":{{"attempt":2,"_id":"a\"b","accepted_at":"{at}"}}}}"#),
            ),
            (
                r#" { "b" : 1.0, "@timestamp":"x" } "#,
                r#"{"@metadata":{"attempt":2,"_id":"a\"b"},"b" : 1.0,"@timestamp":"x"}"#.into(),
            ),
            (
                r#"{"a":1,"@metadata":{"attempt":9,"_id":"own","x":[]},"@timestamp":0}"#,
                r#"{"@metadata":{"attempt":2,"_id":"own","x":[]},"a":1,"@timestamp":0}"#.into(),
            ),
            (
                r#"{"@metadata":{"accepted_at":"then"}}"#,
                r#"{"@metadata":{"attempt":2,"_id":"a\"b","accepted_at":"then"}}"#.into(),
            ),
        ] {
            assert_eq!(line(event), format!("{expected}\n"));
        }
    }

    #[test]
    fn what_would_not_pass_the_door_is_not_returned() {
        let marks = Marks {
            id: "a",
            attempt: 2,
            accepted_at: UnixMillis(0),
        };
        let limits = Limits {
            max_event_bytes: 10,
            ..Limits::default()
        };
        for (event, reason) in [
            ("{\"a\":", RejectReason::InvalidJson),
            ("[]", RejectReason::NotAnObject),
            ("{\"a\":\"longer\"}", RejectReason::TooLarge),
        ] {
            let event = Bytes::from_static(event.as_bytes());
            let reject = returned(&event, &marks, &limits).expect_err("does not pass");
            assert_eq!(reject.reason, reason);
        }
    }
}
