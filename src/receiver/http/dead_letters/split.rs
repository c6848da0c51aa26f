//! Splits a body into its elements while it arrives.
//!
//! A body is documents one after the other, with or without white space between: an
//! array, whose values are the elements, or an object, which is one. Only brackets and
//! strings are looked at here; whether an element is JSON is for its reader to tell.

use bytes::{Buf, BytesMut};
use memchr::memchr2;

/// Longest element, in bytes. Logstash's own queue of dead letters has segments of 10 MiB,
/// and the reason of a refusal holds the event once more.
pub(super) const MAX_ELEMENT: usize = 32 << 20;
/// A buffer that was used so far is given back.
const KEPT_CAPACITY: usize = 64 << 10;

/// The body cannot be split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SplitError {
    /// An element has more than [`MAX_ELEMENT`].
    TooLong,
    /// It is not JSON.
    Malformed {
        /// What was expected.
        what: &'static str,
        /// Byte position in the body, decompressed.
        at: u64,
    },
}

/// The elements of a body.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// What was not given out yet; begins with the element that is being read.
    buffer: BytesMut,
    /// How much of the buffer belongs to that for certain.
    scanned: usize,
    /// Bytes that were given out of it or passed over, and may still be in memory.
    used: usize,
    /// Bytes before the buffer.
    before: u64,
    place: Place,
    /// What is being read, if it is an element.
    element: Option<Element>,
}

/// Where in the body it goes on, when no element is being read.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Where a document may begin, or the body end.
    #[default]
    Document,
    /// Behind the bracket of an array.
    First,
    /// Behind a comma.
    Next,
    /// Behind an element of an array.
    Behind,
}

#[derive(Debug, Clone, Copy)]
enum Element {
    /// An object or array, or (at depth 0) a string.
    Nested { depth: usize, string: bool },
    /// A number or word.
    Plain,
}

impl Splitter {
    /// Adds what arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// How many bytes are in memory.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Gives memory back that is not needed before more of the body is there.
    pub(super) fn shrink(&mut self) {
        if self.used > KEPT_CAPACITY {
            self.buffer = BytesMut::from(&self.buffer[..]);
            self.used = 0;
        }
    }

    /// The next element; `None` until more of the body is there.
    pub(super) fn next(&mut self) -> Result<Option<BytesMut>, SplitError> {
        while self.element.is_none() {
            if !self.begin()? {
                return Ok(None);
            }
        }
        let Some(end) = self.end() else {
            return match self.buffer.len() > MAX_ELEMENT {
                true => Err(SplitError::TooLong),
                false => Ok(None),
            };
        };
        if end > MAX_ELEMENT {
            return Err(SplitError::TooLong);
        }
        let element = self.buffer.split_to(end);
        self.before += end as u64;
        self.used += end;
        (self.element, self.scanned) = (None, 0);
        Ok(Some(element))
    }

    /// The body is over.
    pub(super) fn finish(&self) -> Result<(), SplitError> {
        if self.element.is_none() && self.place == Place::Document {
            return Ok(());
        }
        Err(SplitError::Malformed {
            what: "expected more: the body ends within a document",
            at: self.before + self.buffer.len() as u64,
        })
    }

    /// Reads what stands between elements up to the first byte of one; `false` if the
    /// buffer ends before.
    fn begin(&mut self) -> Result<bool, SplitError> {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let blanks = self.buffer.iter().take_while(|byte| is_blank(byte)).count();
        self.skip(blanks);
        let Some(&byte) = self.buffer.first() else {
            return Ok(false);
        };
        let (place, element) = match (self.place, byte) {
            (Place::Document, b'[') => (Place::First, None),
            (Place::Document, b'{') => (Place::Document, element(byte)),
            (Place::Document, _) => return Err(self.malformed("expected '[' or '{'")),
            (Place::First | Place::Behind, b']') => (Place::Document, None),
            (Place::Behind, b',') => (Place::Next, None),
            (Place::Behind, _) => return Err(self.malformed("expected ',' or ']'")),
            (Place::First | Place::Next, _) => match element(byte) {
                None => return Err(self.malformed("expected a value")),
                element => (Place::Behind, element),
            },
        };
        if element.is_none() {
            self.skip(1);
        }
        (self.place, self.element) = (place, element);
        Ok(true)
    }

    fn skip(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.before += bytes as u64;
        self.used += bytes;
    }

    fn malformed(&self, what: &'static str) -> SplitError {
        SplitError::Malformed {
            what,
            at: self.before,
        }
    }

    /// Where the element ends; `None` if the buffer ends before.
    fn end(&mut self) -> Option<usize> {
        match self.element.as_mut()? {
            Element::Plain => {
                let rest = &self.buffer[self.scanned..];
                let ends =
                    |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
                let found = rest.iter().position(ends);
                let end = self.scanned + found.unwrap_or(rest.len());
                self.scanned = end;
                found.map(|_| end)
            }
            Element::Nested { depth, string } => {
                end_of_nested(&self.buffer, &mut self.scanned, depth, string)
            }
        }
    }
}

fn element(first: u8) -> Option<Element> {
    match first {
        b'{' | b'[' | b'"' => Some(Element::Nested {
            depth: 0,
            string: false,
        }),
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => Some(Element::Plain),
        _ => None,
    }
}

/// Goes on at `at` within a value that has `depth` open brackets, and perhaps a string.
fn end_of_nested(
    bytes: &[u8],
    at: &mut usize,
    depth: &mut usize,
    string: &mut bool,
) -> Option<usize> {
    while let Some(&byte) = bytes.get(*at) {
        if *string {
            let Some(found) = memchr2(b'"', b'\\', &bytes[*at..]) else {
                *at = bytes.len();
                return None;
            };
            *at += found;
            if bytes[*at] == b'\\' {
                // What is escaped may not be there yet.
                bytes.get(*at + 1)?;
                *at += 2;
                continue;
            }
            *string = false;
        } else {
            match byte {
                b'"' => *string = true,
                b'{' | b'[' => *depth += 1,
                // The first byte opened, so there is one to close.
                b'}' | b']' => *depth -= 1,
                _ => {}
            }
        }
        *at += 1;
        if *depth == 0 && !*string {
            return Some(*at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// The elements of a body that arrives in pieces of `piece` bytes.
    fn split(body: &[u8], piece: usize) -> Result<Vec<String>, SplitError> {
        let mut splitter = Splitter::default();
        let mut elements = Vec::new();
        for piece in body.chunks(piece) {
            splitter.push(piece);
            while let Some(element) = splitter.next()? {
                elements.push(String::from_utf8_lossy(&element).into_owned());
            }
        }
        splitter.finish().map(|()| elements)
    }

    #[test]
    fn arrays_objects_and_lines_are_split_however_they_arrive() {
        for (body, elements) in [
            ("", vec![]),
            (" \n", vec![]),
            ("[]", vec![]),
            ("[ ] {} [ ]\n", vec!["{}"]),
            (
                r#"[{"a":"]\"}\\"},{"b":[{}]}]"#,
                vec![r#"{"a":"]\"}\\"}"#, r#"{"b":[{}]}"#],
            ),
            (
                "{\"a\":1}\n{\"b\":2}\r\n\n{}",
                vec![r#"{"a":1}"#, r#"{"b":2}"#, "{}"],
            ),
            ("{\n \"a\": {\n } }", vec!["{\n \"a\": {\n } }"]),
            (
                r#"[1, -2.5e3 ,"x,]" ,null,[[]], {}]"#,
                vec!["1", "-2.5e3", "\"x,]\"", "null", "[[]]", "{}"],
            ),
            ("[{}][{}]", vec!["{}", "{}"]),
        ] {
            for piece in [1, 2, 3, 1000] {
                assert_eq!(
                    split(body.as_bytes(), piece).as_deref(),
                    Ok(&elements.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>()[..]),
                    "{body}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_document_is_told_with_its_place() {
        for (body, at) in [
            ("x", 0),
            ("1", 0),
            ("  [1 2]", 5),
            ("[,]", 1),
            ("[1,]", 3),
            ("[1}", 2),
            ("{}]", 2),
            ("[{}", 3),
            ("{\"a\":\"}", 7),
            ("[\"\\", 3),
            ("[tru", 4),
        ] {
            for piece in [1, 1000] {
                match split(body.as_bytes(), piece) {
                    Err(SplitError::Malformed { at: told, .. }) => assert_eq!(told, at, "{body}"),
                    other => panic!("{body}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn an_element_of_the_greatest_length_is_taken_and_a_longer_one_is_not() {
        let most = format!("\"{}\"", "x".repeat(MAX_ELEMENT - 2));
        let body = format!("[{most}]");
        assert_eq!(
            split(body.as_bytes(), 1 << 16).map(|e| e[0].len()),
            Ok(MAX_ELEMENT)
        );
        let body = format!("[{most}1]").replacen('x', "xx", 1);
        assert_eq!(split(body.as_bytes(), 1 << 16), Err(SplitError::TooLong));
        let endless = vec![b'['; MAX_ELEMENT + 2];
        assert_eq!(split(&endless, 1 << 16), Err(SplitError::TooLong));
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[\"\\\\\\]}{,é\n ]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a\"\\\\}]{0,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_array_of_any_json_is_split_into_its_values(
            values in prop::collection::vec(json(), 0..5), piece in 1..9_usize, pretty: bool,
        ) {
            let array = Value::from(values.clone());
            let body = match pretty {
                true => serde_json::to_string_pretty(&array),
                false => serde_json::to_string(&array),
            };
            let elements = split(body.expect("writes").as_bytes(), piece).expect("an array");
            let read: Vec<Value> = elements
                .iter()
                .map(|element| serde_json::from_str(element).expect("JSON"))
                .collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn pieces_change_nothing(body in "[\\[\\]{}\",:\\\\ 1a\n]{0,40}", piece in 1..7_usize) {
            prop_assert_eq!(split(body.as_bytes(), piece), split(body.as_bytes(), usize::MAX));
        }
    }
}
