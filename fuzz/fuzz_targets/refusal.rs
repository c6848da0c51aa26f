//! Any bytes as an element of what Logstash's dead letter queue sends, and any text as the
//! reason in one: whatever it is it becomes a letter, and whatever was said is kept.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, IgnoredAny};
use serde_json::json;
use stashgate::batch::{QueueName, UnixMillis};
use stashgate::dead_letter::refusal::{MEMBER, letter};
use stashgate::dead_letter::{Reason, Unindexable};

fuzz_target!(|data: &[u8]| {
    let (queue, other) = (
        QueueName::default(),
        Reason::Unindexable(Unindexable::Other),
    );
    let read = |element: &[u8]| letter(element, &queue, |_| None, UnixMillis(1));
    let kept = read(data);
    if !is_json(data) {
        assert_eq!(kept.event, data);
    }
    assert!(kept.reason != other || !kept.detail.is_empty());
    let reason = String::from_utf8_lossy(data);
    let element = json!({"a": 1, MEMBER: {"reason": reason}}).to_string();
    let letter = read(element.as_bytes());
    assert_eq!(letter.event, "{\"a\":1}");
    assert!((1..=u32::MAX).contains(&letter.attempt));
    if letter.reason == other {
        assert!(letter.detail.contains(&*reason));
    }
});

/// However deep: an input is short.
fn is_json(text: &[u8]) -> bool {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    deserializer.disable_recursion_limit();
    IgnoredAny::deserialize(&mut deserializer).is_ok() && deserializer.end().is_ok()
}
