//! Refusals of Elasticsearch or OpenSearch, as Logstash's dead letter queue tells of them.
//!
//! A pipeline with the input `dead_letter_queue` sends each event with a member
//! [`MEMBER`], a copy of `[@metadata][dead_letter_queue]` with some more:
//!
//! ```json
//! {"user":{"id":"anna"},"_gateway_dlq":{"plugin_type":"elasticsearch","plugin_id":"es",
//!  "entry_time":"2026-11-20T10:00:00.123Z","reason":"Could not index event to ...",
//!  "id":"0190b5a0","attempt":2,"queue":"logstash"}}
//! ```
//!
//! - [`letter`] takes that off the event again, whose other members stay byte for byte as
//!   they came.
//! - `said` finds the server's answer in `reason`, `inspect` reads it, `wording` makes a
//!   class, a field and a sentence of it.
//!
//! Nothing is lost for want of understanding: what is unknown is kept as `other` with all
//! that was said, and an element that is no such event, or no JSON, is kept as it came:
//! sent again it would be no better.

mod inspect;
mod said;
mod wording;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::{DeadLetter, Reason, Source, Unindexable};
use crate::batch::{QueueName, UnixMillis};
use crate::event::{self, MAX_ID_BYTES};

/// The member by which an event tells why it was refused.
pub const MEMBER: &str = "_gateway_dlq";

/// Most characters of a detail that was understood.
const MAX_DETAIL: usize = 1000;

/// Makes a letter of one element of what Logstash sent. `queue_named` gives the queue of a
/// name, if there is one; `queue` is that of an event that does not name one. `now` is the
/// time of an event that does not tell when it was refused.
pub fn letter(
    element: &[u8],
    queue: &QueueName,
    queue_named: impl Fn(&str) -> Option<QueueName>,
    now: UnixMillis,
) -> DeadLetter {
    let as_it_came = |detail: String| DeadLetter {
        queue: queue.clone(),
        id: None,
        reason: Reason::Unindexable(Unindexable::Other),
        field: None,
        detail,
        source: Source::Logstash,
        attempt: 1,
        at: now,
        event: Bytes::copy_from_slice(element),
    };
    let detached = match event::detach(element, MEMBER) {
        Ok(detached) => detached,
        Err((_, detail)) => return as_it_came(format!("not read, kept as it came: {detail}")),
    };
    let Some(mark) = detached.value else {
        return as_it_came(format!(
            "the event came without {MEMBER}, which tells why it was refused"
        ));
    };
    if mark.first() != Some(&b'{') {
        return as_it_came(format!("{MEMBER} is not an object"));
    }
    let told = Told { mark };
    let verdict = told.verdict(&detached.rest);
    DeadLetter {
        queue: told
            .resolved("queue")
            .and_then(|name| queue_named(&name))
            .unwrap_or_else(|| queue.clone()),
        id: told.id(),
        reason: Reason::Unindexable(verdict.reason),
        field: verdict.field,
        detail: verdict.what,
        source: Source::Logstash,
        attempt: told.attempt(),
        at: told.at().unwrap_or(now),
        event: detached.rest.into(),
    }
}

/// What an event tells in [`MEMBER`].
struct Told<'a> {
    /// A JSON object that was checked.
    mark: &'a [u8],
}

impl Told<'_> {
    /// The member as text: a string's characters, anything else as it is written.
    /// Nothing if it is not there, `null` or empty.
    fn text(&self, name: &str) -> Option<String> {
        let value = event::member(self.mark, name)?;
        let value = std::str::from_utf8(value).ok()?;
        let text = match value.starts_with('"') {
            true => inspect::string(value, 0)?.0,
            false => value.to_owned(),
        };
        let nothing = text.is_empty() || value == "null";
        (!nothing).then_some(text)
    }

    /// The same, but nothing if it is a reference that Logstash could not resolve and
    /// left as it was: `%{[@metadata][_id]}`.
    fn resolved(&self, name: &str) -> Option<String> {
        self.text(name).filter(|text| !text.starts_with("%{"))
    }

    fn id(&self) -> Option<String> {
        self.resolved("id").filter(|id| id.len() <= MAX_ID_BYTES)
    }

    /// From 1; a number, or its digits in a string.
    fn attempt(&self) -> u32 {
        let attempt = self.text("attempt").and_then(|text| text.parse().ok());
        // What is no number, or less, is 1; what is more than there can be, the most.
        attempt.unwrap_or(1.0_f64).max(1.0) as u32
    }

    fn at(&self) -> Option<UnixMillis> {
        let at: jiff::Timestamp = self.text("entry_time")?.parse().ok()?;
        u64::try_from(at.as_millisecond()).ok().map(UnixMillis)
    }

    /// Class, field and detail.
    fn verdict(&self, event: &[u8]) -> wording::Verdict {
        let other = |what| wording::Verdict {
            reason: Unindexable::Other,
            field: None,
            what,
        };
        let Some(reason) = self.text("reason") else {
            let mark = String::from_utf8_lossy(self.mark);
            return other(format!("{MEMBER} has no reason: {mark}"));
        };
        let Some(said) = said::find(&reason) else {
            return other(reason);
        };
        let verdict = wording::judge(&said, event);
        let words = said.words();
        let what = match (verdict.reason, verdict.what.as_str()) {
            (Unindexable::Other, _) => reason,
            (_, "") => words,
            (_, what) => shortened(&format!("{what}: {words}")),
        };
        wording::Verdict { what, ..verdict }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_DETAIL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
