//! Any bytes at the three doors, and what they accept at the stamp.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, IgnoredAny};
use stashgate::batch::{Batch, BatchId, UnixMillis};
use stashgate::event::{Limits, RejectReason, Stamper, Validated, json_document, list, ndjson};
use stashgate::record::{Place, decode_header, encode_header};

fuzz_target!(|data: &[u8]| {
    let limits = Limits {
        max_event_bytes: 3000,
        ..Limits::default()
    };
    let input = Bytes::copy_from_slice(data);
    if let Ok(validated) = ndjson(input.clone(), &limits) {
        let blank = |line: &&[u8]| line.iter().all(|byte| b" \t\r".contains(byte));
        let lines = data.split(|&byte| byte == b'\n');
        check(&validated, lines.filter(|line| !blank(line)).count());
    }
    let half = data.len() / 2;
    let elements = [input.slice(..half), input.slice(half..), input.clone()];
    if let Ok(validated) = list(&elements, &limits) {
        check(&validated, elements.len());
    }
    if let Ok(validated) = json_document(input, &limits) {
        let sent = validated.events as usize + validated.rejects.len();
        check(&validated, sent);
    }
});

fn check(validated: &Validated, sent: usize) {
    assert_eq!(validated.events as usize + validated.rejects.len(), sent);
    for reject in &validated.rejects {
        match reject.reason {
            RejectReason::InvalidJson => assert!(!is_json(&reject.event)),
            RejectReason::InvalidUtf8 => assert!(std::str::from_utf8(&reject.event).is_err()),
            RejectReason::NotAnObject | RejectReason::InvalidMetadata => {
                assert!(is_json(&reject.event));
            }
            RejectReason::TooLarge | RejectReason::TooDeep | RejectReason::TokenTooLong => {}
        }
    }
    check_lines(&validated.block, validated.events);
    check_lines(&stamped(validated), validated.events);
}

fn check_lines(block: &[u8], events: u32) {
    let lines: Vec<&[u8]> = block.split_inclusive(|&byte| byte == b'\n').collect();
    assert_eq!(lines.len(), events as usize);
    for line in lines {
        assert!(line.starts_with(b"{") && line.ends_with(b"}\n") && !line.contains(&b'\r'));
        assert!(std::str::from_utf8(line).is_ok() && is_json(line));
    }
}

fn stamped(validated: &Validated) -> Vec<u8> {
    let batch = Batch {
        id: BatchId::new(b"fuzz").expect("valid"),
        accepted_at: UnixMillis(0),
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
    let header = decode_header(&header).expect("decodes");
    let mut out = Vec::new();
    Stamper::new(&header, true).stamp(&validated.block, 0, &mut out);
    out
}

/// Without a limit of depth where that is safe: what is accepted has at most
/// 128 levels, and an event here has at most 3,000 bytes.
fn is_json(text: &[u8]) -> bool {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    deserializer.disable_recursion_limit();
    IgnoredAny::deserialize(&mut deserializer).is_ok() && deserializer.end().is_ok()
}
