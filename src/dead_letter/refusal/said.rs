//! Finds the server's answer in what Logstash wrote down about an event.
//!
//! Its elasticsearch output writes (`handle_dlq_response` in the plugin's
//! `plugin_mixins/elasticsearch/common.rb`, `handle_dlq_status` before 11.10):
//!
//! ```text
//! MESSAGE status: 400, action: [ACTION], response: {"index"=>{..., "error"=>{...}}}
//! ```
//!
//! `ACTION` has the event's own words, in old versions with nothing escaped, so that a
//! client can write `, response: {` there; and within the response they stand again, as
//! the preview of the field's value. So only a response that ends with the text counts,
//! and what stands in a string can never be one: the quotes that follow do not match.

use memchr::memmem;
use serde_json::Value;

use super::inspect::{Read, read, skip};

const RESPONSE: &str = ", response: ";
const ACTION: &str = ", action: ";
/// Most bytes read in search of the response, in lengths of the text.
const MAX_WORK: usize = 16;
/// Most causes of a cause.
const MAX_CAUSES: usize = 10;

/// What a server said of an event that it did not take.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    /// The error, then its cause, and so on; never empty.
    pub(super) causes: Vec<Cause>,
    /// The index that the event was for.
    pub(super) index: Option<String>,
}

/// An error; what it does not say is empty.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Cause {
    /// Its class: `mapper_parsing_exception`.
    pub(super) kind: String,
    /// In words.
    pub(super) reason: String,
}

/// The answer in `text`, which is what Logstash wrote, or the answer itself as JSON or
/// as Ruby prints it.
pub(super) fn find(text: &str) -> Option<Said> {
    let text = text.trim();
    if text.starts_with('{') {
        return error_in(&read(text)?.value);
    }
    let behind_action = behind_action(text).and_then(|rest| Some((rest, read(rest)?)));
    if let Some((rest, response)) = &behind_action
        && is_all(response, rest)
    {
        return error_in(&response.value);
    }
    match last_response(text) {
        Some(response) => error_in(&response),
        // The text is cut: what there is of the response.
        None => error_in(&behind_action?.1.value),
    }
}

fn is_all(response: &Read, rest: &str) -> bool {
    response.whole && response.end == rest.len()
}

/// What stands behind the action and `, response: `.
fn behind_action(text: &str) -> Option<&str> {
    let action = memmem::find(text.as_bytes(), ACTION.as_bytes())? + ACTION.len();
    text.get(skip(text, action)?..)?.strip_prefix(RESPONSE)
}

/// The response that ends with the text, looked for from the end.
fn last_response(text: &str) -> Option<Value> {
    let mut work = MAX_WORK * text.len();
    for at in memmem::rfind_iter(text.as_bytes(), RESPONSE.as_bytes()) {
        let rest = &text[at + RESPONSE.len()..];
        work = work.checked_sub(rest.len())?;
        if let Some(response) = read(rest).filter(|response| is_all(response, rest)) {
            return Some(response.value);
        }
    }
    None
}

/// The error in an answer: `{"index":{"error":{...}}}`, or a part of that.
fn error_in(answer: &Value) -> Option<Said> {
    let answer = answer.as_object()?;
    let items = answer.values().filter_map(Value::as_object);
    let item = std::iter::once(answer)
        .chain(items)
        .find(|item| item.contains_key("error"));
    let (error, item) = match item {
        Some(item) => (item.get("error")?, Some(item)),
        None if answer.contains_key("type") => (&Value::Null, Some(answer)),
        None => return None,
    };
    let mut causes = Vec::new();
    let mut next = match error {
        Value::Null => item,
        Value::String(reason) => {
            causes.push(Cause {
                reason: reason.clone(),
                ..Cause::default()
            });
            None
        }
        error => error.as_object(),
    };
    let index = next.and_then(|error| error.get("index"));
    let index = index
        .or_else(|| item?.get("_index"))
        .and_then(Value::as_str);
    while let Some(error) = next
        && causes.len() < MAX_CAUSES
    {
        let text = |name| error.get(name).and_then(Value::as_str).unwrap_or_default();
        causes.push(Cause {
            kind: text("type").to_owned(),
            reason: text("reason").to_owned(),
        });
        next = error.get("caused_by").and_then(Value::as_object);
    }
    let said = Said {
        causes,
        index: index.map(str::to_owned),
    };
    (!said.causes.is_empty()).then_some(said)
}

impl Said {
    /// All of it in one line.
    pub(super) fn words(&self) -> String {
        let causes = self.causes.iter();
        let words =
            causes.map(
                |Cause { kind, reason }| match (kind.is_empty(), reason.is_empty()) {
                    (true, _) => reason.clone(),
                    (_, true) => kind.clone(),
                    _ => format!("{kind}: {reason}"),
                },
            );
        words.collect::<Vec<_>>().join("; caused by ")
    }
}
