//! Plain JSON that others pushed: the old agent, Filebeat's and Logstash's redis
//! outputs, a person.
//!
//! An element is one object, however it is printed, or an array of objects, as the
//! agent stored what it got. It passes the same door as any event; only the limits of
//! a whole batch do not hold, since it is here already. Several elements make up one
//! batch. What is refused is handed out beside the batch, to be kept as a dead letter
//! before anything is acknowledged. Nothing is thrown away, except an array without
//! elements.

use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Batch, BatchId, Timestamps, UnixMillis};
use crate::event::{self, BlockError, Limits, Reject, RejectReason, Validated};
use crate::record::{self, Header, MAX_PAYLOAD_LEN, MAX_REJECTED, Place};

/// A batch is complete when it has so many events and rejects.
const MOST_EVENTS: usize = 500;
/// Or when its elements have so many bytes.
const MOST_BYTES: usize = 1 << 20;

/// Elements of others, as a batch.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// Marked as foreign; it may have no events at all.
    pub header: Header,
    /// The accepted events, as a block.
    pub block: Bytes,
    /// What was refused.
    pub rejects: Arc<[Reject]>,
}

/// Puts elements of others together.
#[derive(Debug)]
pub struct Gathering {
    limits: Limits,
    elements: usize,
    bytes: usize,
    events: u32,
    block: Vec<u8>,
    own_metadata: bool,
    timestamps: Timestamps,
    rejects: Vec<Reject>,
}

impl Gathering {
    /// Nothing yet. An event may have `max_event_bytes`.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            limits: Limits {
                max_event_bytes,
                max_batch_bytes: MAX_PAYLOAD_LEN,
                max_batch_events: MAX_REJECTED,
            },
            elements: 0,
            bytes: 0,
            events: 0,
            block: Vec::new(),
            own_metadata: false,
            timestamps: Timestamps::None,
            rejects: Vec::new(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.elements == 0
    }

    /// Whether it is large enough: one more element is for the next batch.
    pub fn is_full(&self) -> bool {
        self.events as usize + self.rejects.len() >= MOST_EVENTS || self.bytes >= MOST_BYTES
    }

    /// Takes an element. Any bytes will do.
    pub fn add(&mut self, element: &Bytes) {
        self.elements += 1;
        self.bytes += element.len();
        let validated = match first_sign(element) {
            Some(b'[') => event::json_document(element.clone(), &self.limits),
            _ => event::list(std::slice::from_ref(element), &self.limits),
        };
        match validated {
            Ok(validated) => self.take(validated),
            Err(error) => self.rejects.push(refused(element, &error)),
        }
    }

    fn take(&mut self, validated: Validated) {
        self.block.extend_from_slice(&validated.block);
        self.timestamps = match (self.events, validated.events) {
            (_, 0) => self.timestamps,
            (0, _) => validated.timestamps,
            _ if self.timestamps == validated.timestamps => self.timestamps,
            _ => Timestamps::Some,
        };
        self.events += validated.events;
        self.own_metadata |= validated.own_metadata;
        self.rejects.extend(validated.rejects);
    }

    /// The batch, taken at `accepted_at`, under a name of its own. What was gathered
    /// is taken out.
    pub fn finish(&mut self, accepted_at: UnixMillis) -> Foreign {
        let gathered = std::mem::replace(self, Self::new(self.limits.max_event_bytes));
        let batch = Batch {
            id: BatchId::generate(),
            accepted_at,
            events: gathered.events,
            payload_hash: 0,
            payload: gathered.block.into(),
            rejected: Box::default(),
            own_metadata: gathered.own_metadata,
            foreign: true,
            timestamps: gathered.timestamps,
            origin: crate::batch::Origin::Accepted,
        };
        Foreign {
            header: record::encode_header(&batch, Place::default(), &mut Vec::new()),
            block: batch.payload,
            rejects: gathered.rejects.into(),
        }
    }
}

/// An element that cannot be taken apart.
fn refused(element: &Bytes, error: &BlockError) -> Reject {
    let reason = match error {
        BlockError::Malformed { .. } => RejectReason::InvalidJson,
        BlockError::TooManyEvents { .. } | BlockError::TooManyBytes { .. } => {
            RejectReason::TooLarge
        }
    };
    Reject {
        index: 0,
        reason,
        detail: error.to_string(),
        event: element.clone(),
    }
}

fn first_sign(element: &[u8]) -> Option<u8> {
    element.trim_ascii_start().first().copied()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn gathered(elements: &[&str]) -> Foreign {
        let mut gathering = Gathering::new(1000);
        for element in elements {
            gathering.add(&Bytes::copy_from_slice(element.as_bytes()));
        }
        gathering.finish(UnixMillis(7))
    }

    fn reasons(foreign: &Foreign) -> Vec<RejectReason> {
        foreign.rejects.iter().map(|r| r.reason).collect()
    }

    #[test]
    fn objects_however_printed_become_lines_of_one_batch() {
        let foreign = gathered(&["{\"a\":1}", " {\n  \"b\": \"x\\n\",\r\n  \"c\": 2\n}\n"]);
        assert_eq!(
            foreign.block,
            &b"{\"a\":1}\n{   \"b\": \"x\\n\",    \"c\": 2 }\n"[..]
        );
        assert_eq!((foreign.header.events, foreign.rejects.len()), (2, 0));
        assert!(foreign.header.foreign && foreign.header.matches(&foreign.block));
        assert_eq!(foreign.header.accepted_at, UnixMillis(7));
    }

    #[test]
    fn an_array_as_the_agent_stored_it_becomes_one_event_for_each_object() {
        let foreign = gathered(&["[{\"a\":1},\n {\"a\":2}, 3]", "{\"a\":4}", "[]"]);
        assert_eq!(foreign.block, &b"{\"a\":1}\n{\"a\":2}\n{\"a\":4}\n"[..]);
        assert_eq!(reasons(&foreign), [RejectReason::NotAnObject]);
        assert_eq!(foreign.rejects[0].event, &b"3"[..]);
    }

    #[test]
    fn what_is_no_event_is_refused_with_its_bytes_and_the_rest_goes_on() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1000));
        let elements = [
            "{\"a\":",
            "",
            "\"text\"",
            "[{\"a\":1}",
            "{}{}",
            &long,
            "{\"b\":1}",
        ];
        let foreign = gathered(&elements);
        assert_eq!(
            reasons(&foreign),
            [
                RejectReason::InvalidJson,
                RejectReason::InvalidJson,
                RejectReason::NotAnObject,
                RejectReason::InvalidJson,
                RejectReason::InvalidJson,
                RejectReason::TooLarge,
            ]
        );
        let refused = foreign.rejects.iter().map(|r| &*r.event);
        assert!(refused.eq(elements[..6].iter().map(|e| e.as_bytes())));
        assert_eq!(foreign.block, &b"{\"b\":1}\n"[..]);
    }

    #[test]
    fn an_array_longer_than_a_batch_may_be_is_taken_all_the_same() {
        let many = format!("[{}]", vec!["{\"a\":1}"; 20_000].join(","));
        assert_eq!(gathered(&[&many]).header.events, 20_000);
    }

    #[test]
    fn metadata_of_its_own_is_kept() {
        let foreign = gathered(&["{\"a\":1,\"@metadata\":{\"_id\":\"7\"}}"]);
        assert!(foreign.header.own_metadata);
        assert_eq!(
            foreign.block,
            &b"{\"@metadata\":{\"_id\":\"7\"},\"a\":1}\n"[..]
        );
    }

    #[test]
    fn which_events_have_a_timestamp_is_known_of_the_whole_batch() {
        let (dated, undated) = ("{\"@timestamp\":\"x\"}", "{\"a\":1}");
        for (elements, expected) in [
            (&[dated, dated][..], Timestamps::All),
            (&["no event", dated], Timestamps::All),
            (&[undated, "[]", undated], Timestamps::None),
            (&[dated, undated], Timestamps::Some),
            (&[undated, dated], Timestamps::Some),
        ] {
            assert_eq!(
                gathered(elements).header.timestamps,
                expected,
                "{elements:?}"
            );
        }
    }

    #[test]
    fn a_batch_is_full_after_some_events_or_bytes_and_then_empty_again() {
        let mut gathering = Gathering::new(1 << 20);
        for _ in 0..MOST_EVENTS {
            assert!(!gathering.is_full());
            gathering.add(&Bytes::from_static(b"{}"));
        }
        assert!(gathering.is_full());
        assert_eq!(gathering.finish(UnixMillis(1)).header.events, 500);
        assert!(gathering.is_empty() && !gathering.is_full());
        gathering.add(&vec![b' '; MOST_BYTES].into());
        assert!(gathering.is_full() && !gathering.is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_become_events_or_are_refused_whole(
            elements in vec(vec(prop_oneof![Just(b'{'), Just(b'}'), Just(b'"'), any::<u8>()], 0..30), 1..9)
        ) {
            let mut gathering = Gathering::new(1000);
            for element in &elements {
                gathering.add(&element.clone().into());
            }
            let foreign = gathering.finish(UnixMillis(1));
            let lines = foreign.block.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(lines, foreign.header.events as usize);
            prop_assert!(lines + foreign.rejects.len() >= elements.iter().filter(|e| first_sign(e) != Some(b'[')).count());
        }
    }
}
