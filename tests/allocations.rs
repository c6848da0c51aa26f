//! The number of allocations at the door and at the stamp does not depend on
//! the number of events.

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use stashgate::batch::{Batch, BatchId, UnixMillis};
use stashgate::event::{Limits, Stamper, Validated, json_document, list, ndjson};
use stashgate::record::{Header, Place, decode_header, encode_header};

const FEW: usize = 10;
const MANY: usize = 5000;
/// Allocations of a buffer that is handed out as `Bytes`.
const BUFFER: u64 = 2;

/// Events of which [`MANY`] stay within the limit of a batch.
fn events(count: usize, metadata: &str) -> Vec<Bytes> {
    let event = |number: usize| {
        let text = "x".repeat(number % 200);
        format!(
            r#"{{{metadata}"n":{number},"text":"{text}","tags":["a","\u0062"],"at":{{"x":1.5e3}}}}"#
        )
        .into()
    };
    (0..count).map(event).collect()
}

const PLAIN: &str = "";
const OWN: &str = r#""@metadata":{"pipeline":"web"},"#;
const OWN_TO_REWRITE: &str = r#""first":1,"@metadata":{"dead_letter_queue":{}},"#;

fn lines(events: &[Bytes], end: &str) -> Bytes {
    let lines: Vec<Vec<u8>> = events
        .iter()
        .map(|event| [event, end.as_bytes()].concat())
        .collect();
    lines.concat().into()
}

/// What `work` allocates; it must accept `count` events.
fn allocations(count: usize, work: impl FnOnce() -> Validated) -> AllocationInfo {
    let mut validated = Validated::default();
    let info = measure(|| validated = work());
    assert_eq!(
        (validated.events as usize, validated.rejects.len()),
        (count, 0)
    );
    info
}

fn limits() -> Limits {
    Limits::default()
}

#[test]
fn a_block_without_faults_is_not_copied() {
    for metadata in [PLAIN, OWN] {
        for count in [FEW, MANY] {
            let block = lines(&events(count, metadata), "\n");
            let info = allocations(count, || ndjson(block, &limits()).expect("valid"));
            assert!(info.count_total <= 1 && info.bytes_total < 100, "{info:?}");
        }
    }
}

#[test]
fn a_block_that_is_copied_is_copied_into_one_buffer() {
    for (metadata, end) in [(PLAIN, " \r\n"), (OWN, " \r\n"), (OWN_TO_REWRITE, "\n")] {
        let [few, many] = [FEW, MANY].map(|count| {
            let block = lines(&events(count, metadata), end);
            allocations(count, || ndjson(block, &limits()).expect("valid")).count_total
        });
        assert_eq!(few, many, "{metadata}");
        assert!(many <= BUFFER, "{many}");
    }
}

#[test]
fn a_list_becomes_a_block_in_one_buffer() {
    for metadata in [PLAIN, OWN, OWN_TO_REWRITE] {
        let [few, many] = [FEW, MANY].map(|count| {
            let events = events(count, metadata);
            allocations(count, || list(&events, &limits()).expect("valid")).count_total
        });
        assert_eq!(few, many, "{metadata}");
        assert!(many <= BUFFER, "{many}");
    }
}

#[test]
fn a_document_becomes_a_block_in_one_buffer() {
    for metadata in [PLAIN, OWN, OWN_TO_REWRITE] {
        let [few, many] = [FEW, MANY].map(|count| {
            let elements = events(count, metadata).join(&b",\n"[..]);
            let body = [b"[", &elements[..], b"]"].concat().into();
            allocations(count, || json_document(body, &limits()).expect("valid")).count_total
        });
        assert_eq!(few, many, "{metadata}");
        assert!(many <= BUFFER, "{many}");
    }
}

#[test]
fn a_block_is_stamped_with_one_allocation() {
    for metadata in [PLAIN, OWN] {
        let [few, many] = [FEW, MANY].map(|count| {
            let block = lines(&events(count, metadata), "\n");
            let header = header(&ndjson(block.clone(), &limits()).expect("valid"));
            let made = measure(|| drop(Stamper::new(&header, true))).count_total;
            let stamper = Stamper::new(&header, true);
            let mut out = Vec::new();
            let stamped = measure(|| stamper.stamp(&block, 0, &mut out)).count_total;
            assert_eq!(stamped, 1);
            made
        });
        assert_eq!(few, many);
    }
}

fn header(validated: &Validated) -> Header {
    let batch = Batch {
        id: BatchId::generate(),
        accepted_at: UnixMillis::now(),
        events: validated.events,
        payload: validated.block.clone(),
        payload_hash: validated.hash,
        rejected: [].into(),
        own_metadata: validated.own_metadata,
        foreign: false,
        timestamps: stashgate::batch::Timestamps::None,
        origin: stashgate::batch::Origin::Accepted,
    };
    let mut header = Vec::new();
    encode_header(&batch, Place::default(), &mut header);
    decode_header(&header).expect("decodes")
}
