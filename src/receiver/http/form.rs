//! Form bodies as the first agent took them: `a=1&b[c]=2&d[]=3` becomes one JSON
//! object whose leaves are strings. While it is read a form takes many times its
//! length in memory, so it may have [`MAX_BYTES`] only.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::event::BlockError;
use crate::receiver::reply::Refusal;

/// Deepest nesting of brackets; deeper ones stay part of the name.
const MAX_DEPTH: usize = 16;
/// Longest form.
const MAX_BYTES: usize = 256 << 10;

/// The JSON object that a form body stands for.
pub(super) fn to_json(body: &[u8]) -> Result<Bytes, Refusal> {
    if body.len() > MAX_BYTES {
        return Err(Refusal::FormTooLong(MAX_BYTES));
    }
    let config = serde_qs::Config::new()
        .max_depth(MAX_DEPTH)
        .use_form_encoding(true);
    let malformed = |detail| Refusal::Block(BlockError::Malformed { detail });
    let form: Map<String, Value> = config
        .deserialize_bytes(body)
        .map_err(|error| malformed(format!("it is no form: {error}")))?;
    if form.is_empty() {
        return Err(malformed("the form has no fields".to_owned()));
    }
    let json = serde_json::to_vec(&form).map_err(|error| malformed(error.to_string()))?;
    Ok(Bytes::from(json))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(form: &str) -> String {
        let json = to_json(form.as_bytes()).expect("a form");
        String::from_utf8(json.to_vec()).expect("UTF-8")
    }

    #[test]
    fn brackets_nest_written_plainly_or_escaped() {
        let nested = r#"{"a":{"b":"c","d":{"e":"f"}},"x":"1 2"}"#;
        assert_eq!(json("a[b]=c&a[d][e]=f&x=1+2"), nested);
        assert_eq!(json("a%5Bb%5D=c&a%5Bd%5D%5Be%5D=f&x=1%202"), nested);
    }

    #[test]
    fn lists_become_arrays() {
        assert_eq!(json("a[]=1&a[]=2"), r#"{"a":["1","2"]}"#);
        assert_eq!(json("a[0]=1&a[1]=2"), r#"{"a":["1","2"]}"#);
    }

    #[test]
    fn deep_brackets_do_not_exhaust_the_stack() {
        let deep = format!("a{}=1", "[b]".repeat(200_000));
        // Refused or taken as a flat name; either is fine, a crash is not.
        let _ = to_json(deep.as_bytes());
    }

    /// The form of the greatest length that takes the most memory for it.
    fn costly() -> String {
        let fields = (0..).map(|n| format!("{n:x}{}=&", "[a]".repeat(MAX_DEPTH - 1)));
        let mut form = String::new();
        for field in fields {
            if form.len() + field.len() > MAX_BYTES {
                return form;
            }
            form += &field;
        }
        form
    }

    #[test]
    fn no_form_takes_more_memory_than_some_batches() {
        for form in ["a=1&".repeat(MAX_BYTES / 4), costly()] {
            let counted = allocation_counter::measure(|| {
                assert!(to_json(form.as_bytes()).is_ok());
            });
            eprintln!("{counted:?}");
            assert!(counted.bytes_max < 64 << 20, "{counted:?}");
        }
        let long = "a=1&".repeat(MAX_BYTES / 4) + "b";
        let counted = allocation_counter::measure(|| {
            let refused = to_json(long.as_bytes());
            assert_eq!(refused, Err(Refusal::FormTooLong(MAX_BYTES)));
        });
        assert_eq!(counted.bytes_total, 0);
    }

    #[test]
    fn an_empty_form_is_no_event() {
        assert!(to_json(b"").is_err());
    }
}
