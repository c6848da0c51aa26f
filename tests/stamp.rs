//! What an event looks like when it is sent.

use bytes::Bytes;
use stashgate::batch::{Batch, BatchId, UnixMillis};
use stashgate::event::{Limits, Stamper, attempt, ndjson, own_id, rename_lone_line};
use stashgate::record::{Header, Place, decode_header, encode_header};

const ACCEPTED_AT: &str = r#""accepted_at":"2026-11-21T20:53:00.120Z""#;
/// base32hex of `order-7` and the hash.
const ID: &str = "dtp68pbi5krg20g30g2gc1o8";

/// The header and the block of what the door takes of `lines`.
fn batch(lines: &str) -> (Header, Bytes) {
    let lines = Bytes::copy_from_slice(lines.as_bytes());
    let validated = ndjson(lines, &Limits::default()).expect("within the limits");
    let batch = Batch {
        id: BatchId::new(b"order-7").expect("valid"),
        accepted_at: UnixMillis(1_795_294_380_120),
        events: validated.events,
        payload: validated.block.clone(),
        payload_hash: 0x0102_0304_0506_0708,
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
    (decode_header(&header).expect("decodes"), validated.block)
}

fn stamped(lines: &str, event_id: bool) -> Vec<String> {
    let (header, block) = batch(lines);
    let mut out = Vec::new();
    Stamper::new(&header, event_id).stamp(&block, 0, &mut out);
    let out = String::from_utf8(out).expect("UTF-8");
    assert!(out.is_empty() || out.ends_with('\n'));
    out.lines().map(str::to_owned).collect()
}

fn id(position: &str) -> String {
    format!("{ID}{position}")
}

#[test]
fn a_plain_event_gets_id_and_time() {
    let first = id("0000");
    let second = id("0001");
    assert_eq!(
        stamped("{\"a\":1}\n{ \"b\" : 2 }\n", true),
        [
            format!(r#"{{"@metadata":{{"_id":"{first}",{ACCEPTED_AT}}},"a":1}}"#),
            format!(r#"{{"@metadata":{{"_id":"{second}",{ACCEPTED_AT}}}, "b" : 2 }}"#),
        ]
    );
}

/// As it goes out over json_lines and http, and over lumberjack, which renames a `line`.
#[test]
fn a_returned_event_keeps_its_id_and_attempt_on_every_way_out() {
    let returned = r#"{"@metadata":{"_id":"own","attempt":2},"line":1,"a":1}"#;
    let dated = r#"{"@metadata":{"_id":"own","attempt":2},"@timestamp":"t","line":1}"#;
    for event_id in [true, false] {
        for sent in stamped(&format!("{returned}\n{dated}\n"), event_id) {
            let mut window = format!("{sent}\n").into_bytes();
            rename_lone_line(&mut window, 0);
            for sent in [sent.as_bytes(), &window] {
                assert_eq!(attempt(sent), 2);
                assert_eq!(own_id(sent).as_deref(), Some("own"));
                let event: serde_json::Value = serde_json::from_slice(sent).expect("JSON");
                assert_eq!(event["@metadata"]["attempt"], 2);
            }
        }
    }
    assert_eq!(attempt(stamped("{}\n", true)[0].as_bytes()), 1);
}

#[test]
fn without_ids_an_event_gets_the_time_only() {
    assert_eq!(
        stamped(
            "{\"a\":1}\n{\"@metadata\":{\"x\":1}}\n{\"@metadata\":{}}\n{}\n",
            false
        ),
        [
            format!(r#"{{"@metadata":{{{ACCEPTED_AT}}},"a":1}}"#),
            format!(r#"{{"@metadata":{{{ACCEPTED_AT},"x":1}}}}"#),
            format!(r#"{{"@metadata":{{{ACCEPTED_AT}}}}}"#),
            format!(r#"{{"@metadata":{{{ACCEPTED_AT}}}}}"#),
        ]
    );
}

#[test]
fn an_event_with_a_timestamp_of_its_own_is_not_told_when_it_was_accepted() {
    let (a, b, c) = (id("0000"), id("0001"), id("0002"));
    let dated = r#"{"@timestamp":"2020-01-01T00:00:00Z"}"#;
    let escaped = r#"{"x":1,"\u0040timestamp":0}"#;
    let own = r#"{"@metadata":{"k":1},"@timestamp":1}"#;
    assert_eq!(
        stamped(&format!("{dated}\n{escaped}\n{own}\n"), true),
        [
            format!(r#"{{"@metadata":{{"_id":"{a}"}},"@timestamp":"2020-01-01T00:00:00Z"}}"#),
            format!(r#"{{"@metadata":{{"_id":"{b}"}},"x":1,"\u0040timestamp":0}}"#),
            format!(r#"{{"@metadata":{{"_id":"{c}","k":1}},"@timestamp":1}}"#),
        ]
    );
    assert_eq!(stamped(&format!("{dated}\n{own}\n"), false), [dated, own]);
}

#[test]
fn among_others_without_one_it_is_found_by_looking() {
    let (a, b, c) = (id("0000"), id("0001"), id("0002"));
    let deeper = r#"{"x":{"@timestamp":1}}"#;
    assert_eq!(
        stamped(
            &format!("{{\"@timestamp\":1}}\n{deeper}\n{{\"@metadata\":{{}}}}\n"),
            true
        ),
        [
            format!(r#"{{"@metadata":{{"_id":"{a}"}},"@timestamp":1}}"#),
            format!(r#"{{"@metadata":{{"_id":"{b}",{ACCEPTED_AT}}},"x":{{"@timestamp":1}}}}"#),
            format!(r#"{{"@metadata":{{"_id":"{c}",{ACCEPTED_AT}}}}}"#),
        ]
    );
    let plain = "{\"@timestamp\":1}\n{}\n";
    let only_time = format!(r#"{{"@metadata":{{{ACCEPTED_AT}}}}}"#);
    assert_eq!(stamped(plain, false), ["{\"@timestamp\":1}", &only_time]);
}

#[test]
fn an_empty_event_gets_no_comma() {
    let (a, b, c) = (id("0000"), id("0001"), id("0002"));
    assert_eq!(
        stamped("{}\n{ }\n{\t }\n", true),
        [
            format!(r#"{{"@metadata":{{"_id":"{a}",{ACCEPTED_AT}}}}}"#),
            format!(r#"{{"@metadata":{{"_id":"{b}",{ACCEPTED_AT}}} }}"#),
            format!("{{\"@metadata\":{{\"_id\":\"{c}\",{ACCEPTED_AT}}}\t }}"),
        ]
    );
}

#[test]
fn what_an_event_has_in_its_own_metadata_wins() {
    let stamped_one = |event: &str| stamped(event, true).remove(0);
    let id = id("0000");
    for (event, expected) in [
        (
            r#"{"@metadata":{}}"#,
            format!(r#"{{"@metadata":{{"_id":"{id}",{ACCEPTED_AT}}}}}"#),
        ),
        (
            r#"{"b":2,"@metadata":{"a":1}}"#,
            format!(r#"{{"@metadata":{{"_id":"{id}",{ACCEPTED_AT},"a":1}},"b":2}}"#),
        ),
        (
            r#"{"@metadata":{"a":1,"_id":"x"},"_id":5}"#,
            format!(r#"{{"@metadata":{{{ACCEPTED_AT},"a":1,"_id":"x"}},"_id":5}}"#),
        ),
        (
            r#"{"@metadata":{"\u005fid":7}}"#,
            format!(r#"{{"@metadata":{{{ACCEPTED_AT},"\u005fid":7}}}}"#),
        ),
        (
            r#"{"@metadata":{"accepted_at":"then"}}"#,
            format!(r#"{{"@metadata":{{"_id":"{id}","accepted_at":"then"}}}}"#),
        ),
        (
            r#"{"@metadata":{"accepte\u0064_at":1,"_id":2},"c":3}"#,
            r#"{"@metadata":{"accepte\u0064_at":1,"_id":2},"c":3}"#.to_owned(),
        ),
        (
            r#"{"@metadata":{"a":{"_id":1,"accepted_at":2}}}"#,
            format!(
                r#"{{"@metadata":{{"_id":"{id}",{ACCEPTED_AT},"a":{{"_id":1,"accepted_at":2}}}}}}"#
            ),
        ),
    ] {
        assert_eq!(stamped_one(event), expected);
    }
}

#[test]
fn plain_events_beside_one_with_metadata_are_stamped_as_always() {
    let (first, third) = (id("0000"), id("0002"));
    let lines = stamped(
        "{\"a\":1}\n{\"@metadata\":{\"_id\":1}}\n{\"a\":{\"@metadata\":{}}}\n",
        true,
    );
    assert_eq!(
        lines[0],
        format!(r#"{{"@metadata":{{"_id":"{first}",{ACCEPTED_AT}}},"a":1}}"#)
    );
    assert_eq!(
        lines[2],
        format!(r#"{{"@metadata":{{"_id":"{third}",{ACCEPTED_AT}}},"a":{{"@metadata":{{}}}}}}"#)
    );
}

#[test]
fn the_position_in_an_id_counts_rejected_events() {
    let (header, block) = batch("x\n{\"a\":1}\ny\nz\n{\"a\":4}\n{\"a\":5}\nx\n{\"a\":7}\nx\n");
    let stamper = Stamper::new(&header, true);
    let expected = ["0001", "0004", "0005", "0007"].map(id);
    let ids = [0, 1, 2, 3].map(|accepted| stamper.id(accepted));
    assert_eq!(ids, expected);

    let lines: Vec<&[u8]> = block.split_inclusive(|&byte| byte == b'\n').collect();
    for first in 0..lines.len() {
        let mut out = b"before".to_vec();
        stamper.stamp(&lines[first..].concat(), first as u32, &mut out);
        let out = String::from_utf8(out).expect("UTF-8");
        let out = out.strip_prefix("before").expect("appended");
        for (line, id) in out.lines().zip(&expected[first..]) {
            assert!(line.contains(id), "{line}");
        }
        assert_eq!(out.lines().count(), lines.len() - first);
    }
}

#[test]
fn the_order_of_ids_is_the_order_of_positions_and_of_batches() {
    let (mut header, _) = batch("{}\n");
    let mut ids = Vec::new();
    for batch_id in [
        [0, 0],
        [0, 1],
        [0, 255],
        [1, 0],
        [127, 3],
        [128, 0],
        [255, 255],
    ] {
        header.id = BatchId::new(&batch_id).expect("valid");
        for hash in [0, 1, 31, 32, u64::MAX] {
            header.payload_hash = hash;
            let stamper = Stamper::new(&header, true);
            ids.extend([0, 1, 31, 32, 1023, 1024, 32_768, (1 << 20) - 1].map(|at| stamper.id(at)));
        }
    }
    assert!(ids.is_sorted() && ids.windows(2).all(|two| two[0] != two[1]));
}

#[test]
fn nothing_stamped_is_nothing() {
    assert!(stamped("", true).is_empty());
}

#[test]
fn stamping_reserves_what_it_needs_at_once() {
    let (header, block) = batch(&"{\"a\":1}\n".repeat(100));
    let stamper = Stamper::new(&header, true);
    let mut out = Vec::new();
    stamper.stamp(&block, 0, &mut out);
    assert_eq!(out.capacity(), out.len());
}

#[test]
fn a_foreign_event_gets_the_time_but_no_id_and_keeps_the_one_it_has() {
    let (mut header, block) = batch("{\"a\":1}\n{\"@metadata\":{\"_id\":\"mine\"},\"a\":2}\n");
    header.foreign = true;
    let mut out = Vec::new();
    Stamper::new(&header, true).stamp(&block, 0, &mut out);
    let expected = format!(
        "{{\"@metadata\":{{{ACCEPTED_AT}}},\"a\":1}}\n\
         {{\"@metadata\":{{{ACCEPTED_AT},\"_id\":\"mine\"}},\"a\":2}}\n"
    );
    assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
}
