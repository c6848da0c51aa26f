//! Any bytes as an element of what Logstash's dead letter queue sends, and any text as the
//! reason in one: a letter or no JSON, and whatever was said is kept.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use stashgate::batch::{QueueName, UnixMillis};
use stashgate::dead_letter::refusal::{MEMBER, letter};
use stashgate::dead_letter::{Reason, Unindexable};

fuzz_target!(|data: &[u8]| {
    let queue = QueueName::default();
    let read = |element: &[u8]| letter(element, &queue, |_| None, UnixMillis(1));
    if read(data).is_err() {
        assert!(serde_json::from_slice::<Value>(data).is_err());
    }
    let reason = String::from_utf8_lossy(data);
    let element = json!({"a": 1, MEMBER: {"reason": reason}}).to_string();
    let letter = read(element.as_bytes()).expect("JSON");
    assert_eq!(letter.event, "{\"a\":1}");
    assert!((1..=u32::MAX).contains(&letter.attempt));
    if letter.reason == Reason::Unindexable(Unindexable::Other) {
        assert!(letter.detail.contains(&*reason));
    }
});
