//! Reads a hash or an array as Ruby's `inspect` prints it, or as JSON has it.
//!
//! The forms differ from release to release: `"a"=>1` and `:a=>1` up to Ruby 3.3,
//! `"a" => 1` and `a: 1` from then on, `"a":1` in JSON. All are read alike, and
//! leniently: what is read here was printed by programs that nobody asks to be exact.
//! But whatever the text, reading ends, takes memory in proportion to it, and does not
//! recurse.

use memchr::memchr2;
use serde_json::{Map, Value};

/// Deepest nesting that is kept; what is deeper is passed over as `null`.
const MAX_DEPTH: usize = 64;
/// Most values that are kept; reading ends there.
const MAX_VALUES: usize = 10_000;

/// What was read.
#[derive(Debug, PartialEq)]
pub(super) struct Read {
    /// The value, or what there is of it.
    pub(super) value: Value,
    /// The position where reading ended.
    pub(super) end: usize,
    /// Whether it ended with the value's last bracket; if not, the text is cut there
    /// or has something that is no value.
    pub(super) whole: bool,
}

/// Reads the hash or array that `text` begins with.
pub(super) fn read(text: &str) -> Option<Read> {
    let mut reader = Reader {
        text,
        at: 0,
        open: Vec::new(),
        values: 0,
    };
    if !reader.text.starts_with(['{', '[']) {
        return None;
    }
    loop {
        if let Some(value) = reader.step() {
            let end = reader.at;
            return Some(Read {
                value,
                end,
                whole: true,
            });
        }
        if reader.at == usize::MAX {
            return Some(reader.cut());
        }
    }
}

/// The position behind the hash or array at `at`: brackets are counted, strings passed
/// over.
pub(super) fn skip(text: &str, mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match text.as_bytes().get(at)? {
            b'"' => at = string(text, at)?.1 - 1,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The string whose opening quote is at `at`, and the position behind its closing one.
pub(super) fn string(text: &str, at: usize) -> Option<(String, usize)> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let mut from = at + 1;
    loop {
        let found = from + memchr2(b'"', b'\\', bytes.get(from..)?)?;
        out.push_str(&text[from..found]);
        if bytes[found] == b'"' {
            return Some((out, found + 1));
        }
        from = escape(text, found, &mut out)?;
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Open>,
    values: usize,
}

enum Open {
    Hash {
        map: Map<String, Value>,
        /// The name whose value comes next.
        key: Option<String>,
        /// Whether the sign between name and value was read.
        parted: bool,
    },
    Array(Vec<Value>),
}

impl Reader<'_> {
    /// Reads a token; gives the value when it is whole. `at` is `usize::MAX` when
    /// there is nothing more to read.
    fn step(&mut self) -> Option<Value> {
        let bytes = self.text.as_bytes();
        let Some(&byte) = bytes.get(self.at) else {
            self.stop();
            return None;
        };
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
            b'{' | b'[' => self.open(byte),
            b'}' | b']' => return self.close(byte),
            b',' if !self.has_key() => self.at += 1,
            b'=' if bytes.get(self.at + 1) == Some(&b'>') && self.part() => self.at += 2,
            b':' if self.part() => self.at += 1,
            b':' => {
                self.at += 1;
                self.scalar(true);
            }
            _ => self.scalar(false),
        }
        None
    }

    fn stop(&mut self) {
        self.at = usize::MAX;
    }

    fn has_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Hash { key: Some(_), .. }))
    }

    /// Whether the sign between name and value is due here; then it counts as read.
    fn part(&mut self) -> bool {
        match self.open.last_mut() {
            Some(Open::Hash {
                key: Some(_),
                parted,
                ..
            }) => !std::mem::replace(parted, true),
            _ => false,
        }
    }

    fn open(&mut self, byte: u8) {
        self.values += 1;
        if self.values > MAX_VALUES || !self.takes_value() {
            return self.stop();
        }
        if self.open.len() == MAX_DEPTH {
            match skip(self.text, self.at) {
                Some(end) => {
                    self.at = end;
                    self.place(Value::Null);
                }
                None => self.stop(),
            }
            return;
        }
        self.at += 1;
        self.open.push(match byte {
            b'{' => Open::Hash {
                map: Map::new(),
                key: None,
                parted: false,
            },
            _ => Open::Array(Vec::new()),
        });
    }

    fn close(&mut self, byte: u8) -> Option<Value> {
        let fits = match self.open.last() {
            Some(Open::Hash { key, .. }) => byte == b'}' && key.is_none(),
            Some(Open::Array(_)) => byte == b']',
            None => false,
        };
        if !fits {
            self.stop();
            return None;
        }
        self.at += 1;
        let value = self.open.pop().map(Open::value)?;
        if self.open.is_empty() {
            return Some(value);
        }
        self.place(value);
        None
    }

    /// Whether a value may stand here: not between a name and its sign.
    fn takes_value(&self) -> bool {
        match self.open.last() {
            Some(Open::Hash { key, parted, .. }) => key.is_some() && *parted,
            _ => true,
        }
    }

    /// Reads a string, symbol, number or word: a name or a value.
    fn scalar(&mut self, symbol: bool) {
        self.values += 1;
        let is_key = matches!(self.open.last(), Some(Open::Hash { key: None, .. }));
        if self.values > MAX_VALUES || !(is_key || self.takes_value()) {
            return self.stop();
        }
        let quoted = self.text.as_bytes().get(self.at) == Some(&b'"');
        let read = match quoted {
            true => string(self.text, self.at),
            false => word(self.text, self.at, is_key),
        };
        let Some((text, end)) = read else {
            return self.stop();
        };
        self.at = end;
        match self.open.last_mut() {
            Some(Open::Hash { key, .. }) if is_key => *key = Some(text),
            _ if quoted || symbol => self.place(Value::String(text)),
            _ => self.place(plain(text)),
        }
    }

    /// Puts a value into the container that is open.
    fn place(&mut self, value: Value) {
        match self.open.last_mut() {
            Some(Open::Hash { map, key, parted }) => {
                *parted = false;
                if let Some(key) = key.take() {
                    map.insert(key, value);
                }
            }
            Some(Open::Array(values)) => values.push(value),
            None => self.stop(),
        }
    }

    /// What was read so far, as if every container ended here.
    fn cut(mut self) -> Read {
        while self.open.len() > 1 {
            if let Some(value) = self.open.pop().map(Open::value) {
                self.place(value);
            }
        }
        let value = self.open.pop().map_or(Value::Null, Open::value);
        Read {
            value,
            end: self.text.len(),
            whole: false,
        }
    }
}

impl Open {
    fn value(self) -> Value {
        match self {
            Self::Hash { map, .. } => Value::Object(map),
            Self::Array(values) => Value::Array(values),
        }
    }
}

/// A word without quotes, and the position behind it: `nil`, `1.5e3`, a time, a name
/// before its colon.
fn word(text: &str, at: usize, is_key: bool) -> Option<(String, usize)> {
    let rest = text.get(at..)?;
    let ends = |c: char| match c {
        ',' | '}' | ']' | '{' | '[' | '"' | '\\' | '=' => true,
        ':' => is_key,
        _ => false,
    };
    let len = rest.find(ends).unwrap_or(rest.len());
    let word = rest[..len].trim_end();
    (!word.is_empty()).then(|| (word.to_owned(), at + len))
}

fn plain(word: String) -> Value {
    match word.as_str() {
        "nil" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match word.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => Value::String(word),
        },
    }
}

/// Undoes the escape whose backslash is at `at`; gives the position behind it.
fn escape(text: &str, at: usize, out: &mut String) -> Option<usize> {
    let escaped = text[at + 1..].chars().next()?;
    let behind = at + 1 + escaped.len_utf8();
    let plain = match escaped {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        'a' => '\u{7}',
        'e' => '\u{1b}',
        'u' => return Some(unicode(text, behind, out)),
        'x' => {
            let (code, end) = hex(text, behind, 2);
            // A byte that is no character in the string's encoding.
            let byte = u8::try_from(code).unwrap_or(u8::MAX);
            out.push(if byte.is_ascii() {
                char::from(byte)
            } else {
                char::REPLACEMENT_CHARACTER
            });
            return Some(end);
        }
        other => other,
    };
    out.push(plain);
    Some(behind)
}

/// `41`, `{41 42}` or `d83d\ude00`, behind `\u`.
fn unicode(text: &str, at: usize, out: &mut String) -> usize {
    if text.as_bytes().get(at) == Some(&b'{') {
        let Some(len) = text[at..].find('}') else {
            return at;
        };
        let codes = text[at + 1..at + len]
            .split(' ')
            .filter(|code| !code.is_empty());
        out.extend(codes.map(|code| character(u32::from_str_radix(code, 16).unwrap_or(u32::MAX))));
        return at + len + 1;
    }
    let (code, end) = hex(text, at, 4);
    if (0xD800..0xDC00).contains(&code) && text[end..].starts_with("\\u") {
        let (low, low_end) = hex(text, end + 2, 4);
        if (0xDC00..0xE000).contains(&low) {
            out.push(character(
                0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00),
            ));
            return low_end;
        }
    }
    out.push(character(code));
    end
}

fn character(code: u32) -> char {
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// At most `most` hexadecimal digits at `at`, and the position behind them.
fn hex(text: &str, at: usize, most: usize) -> (u32, usize) {
    let digits = text.as_bytes()[at..].iter().take(most);
    let len = digits.take_while(|byte| byte.is_ascii_hexdigit()).count();
    let code = u32::from_str_radix(&text[at..at + len], 16);
    (
        code.unwrap_or(u32::from(char::REPLACEMENT_CHARACTER)),
        at + len,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn whole(text: &str) -> Value {
        let read = read(text).expect("a container");
        assert!(read.whole, "{text}: {read:?}");
        assert_eq!(read.end, text.len());
        read.value
    }

    #[test]
    fn every_rubys_form_and_json_read_the_same() {
        let expected = json!({"_id": null, "a b": [1, "x", true, {}], "c": {"d": "e"}});
        for text in [
            r#"{:_id=>nil, "a b"=>[1, "x", true, {}], :c=>{"d"=>"e"}}"#,
            r#"{_id: nil, "a b" => [1, "x", true, {}], c: {"d" => "e"}}"#,
            r#"{:_id=>nil, :"a b"=>[1, :x, true, {}], "c": {d: :e}}"#,
            r#"{"_id":null,"a b":[1,"x",true,{}],"c":{"d":"e"}}"#,
        ] {
            assert_eq!(whole(text), expected, "{text}");
        }
        let bare = r#"{"@timestamp"=>2022-11-22T16:46:32.941457800Z, :f=>0.1e1, "o"=>#<A:0x1 b>}"#;
        let expected = json!({"@timestamp": "2022-11-22T16:46:32.941457800Z", "f": "0.1e1", "o": "#<A:0x1 b>"});
        assert_eq!(whole(bare), expected);
    }

    #[test]
    fn escapes_are_undone() {
        let text = r#"["\"\\\n\e\a\#{1}\#$x\/", "\u0041\u{1F600}\u{41 42}\x00\x41\xE4", "\ud83d\ude00\ud800x"]"#;
        let expected = json!([
            "\"\\\n\u{1b}\u{7}#{1}#$x/",
            "A\u{1F600}AB\0A\u{fffd}",
            "\u{1F600}\u{fffd}x"
        ]);
        assert_eq!(whole(text), expected);
    }

    #[test]
    fn a_text_that_is_cut_gives_what_there_is() {
        let text =
            r#"{"index"=>{"error"=>{"type"=>"a", "reason"=>"b", "caused_by"=>{"type"=>"c"}}}}"#;
        for len in 1..text.len() {
            let read = read(&text[..len]).expect("a container");
            assert!(!read.whole, "{len}");
        }
        let read = read(&text[..60]).expect("a container");
        assert_eq!(
            read.value,
            json!({"index": {"error": {"type": "a", "reason": "b"}}})
        );
    }

    #[test]
    fn neither_depth_nor_number_costs_more_than_it_may() {
        let deep = "[".repeat(1 << 20);
        assert!(!read(&deep).expect("a container").whole);
        let closed = format!("{}{}", "[".repeat(1 << 19), "]".repeat(1 << 19));
        assert!(read(&closed).expect("a container").whole);
        let many = format!("[{}]", "[],".repeat(1 << 18));
        let counted = allocation_counter::measure(|| {
            assert!(!read(&many).expect("a container").whole);
        });
        assert!(counted.bytes_max < 4 << 20, "{counted:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_an_end(text in "[\\[{][\"\\\\\\[\\]{}:=>, anu0-9xé#]{0,60}") {
            let read = read(&text).expect("a container");
            prop_assert!(read.end <= text.len());
        }

        #[test]
        fn json_is_read_as_it_is(keys in prop::collection::vec(".*", 0..4), text in ".*", number: i64) {
            let map: Map<_, _> = keys.into_iter().map(|key| (key, json!([text, number]))).collect();
            let value = Value::Object(map);
            prop_assert_eq!(whole(&value.to_string()), value);
        }
    }
}
