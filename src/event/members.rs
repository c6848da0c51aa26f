//! Walks the members of an object that passed the door. Given other bytes it
//! finds other members, or none, but neither fails nor reads beyond the end.

use memchr::memchr2;

/// A member of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    /// The name as written, without its quotes.
    name: &'a [u8],
    /// The value.
    pub(super) value: &'a [u8],
    /// The whole member, from the name's quote to the end of the value.
    pub(super) text: &'a [u8],
    /// Where the member begins in the object.
    pub(super) at: usize,
}

impl Member<'_> {
    /// Whether the name means `name` (ASCII).
    pub(super) fn is(&self, name: &str) -> bool {
        name_is(self.name, name)
    }
}

/// The members of an object.
#[derive(Debug, Clone)]
pub(super) struct Members<'a> {
    object: &'a [u8],
    at: usize,
}

/// The members of the object that begins with the first byte of `object`; what
/// follows its closing brace is not looked at.
pub(super) fn members(object: &[u8]) -> Members<'_> {
    Members { object, at: 1 }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let at = skip(self.object, self.at, b',');
        if self.object.get(at) != Some(&b'"') {
            return None;
        }
        let name_end = end_of_string(self.object, at)?;
        let value = skip(self.object, name_end, b':');
        self.at = end_of_value(self.object, value)?;
        Some(Member {
            name: &self.object[at + 1..name_end - 1],
            value: &self.object[value..self.at],
            text: &self.object[at..self.at],
            at,
        })
    }
}

/// The first position from `at` on that holds neither white space nor `sign`.
fn skip(bytes: &[u8], at: usize, sign: u8) -> usize {
    let rest = bytes.iter().skip(at);
    let skipped = |byte: &&u8| matches!(**byte, b' ' | b'\t' | b'\r' | b'\n') || **byte == sign;
    at + rest.take_while(skipped).count()
}

/// The position behind the string whose opening quote is at `at`.
fn end_of_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut from = at + 1;
    loop {
        let found = from + memchr2(b'"', b'\\', bytes.get(from..)?)?;
        if bytes[found] == b'"' {
            return Some(found + 1);
        }
        from = found + 2;
    }
}

/// The position behind the value at `at`, however deep it is; `None` when the
/// bytes end first. Brackets are counted, not matched.
pub(super) fn end_of_value(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => at = end_of_string(bytes, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ => at = end_of_plain(bytes, at),
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// The position behind a number or literal, or what stands between values.
fn end_of_plain(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.iter().skip(at + 1);
    let plain = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'.' | b'-' | b'+' | b'E');
    at + 1 + rest.take_while(plain).count()
}

/// Whether a name as written (escapes and all) means `name`, which is ASCII.
pub(super) fn name_is(written: &[u8], name: &str) -> bool {
    let mut rest = written;
    for &expected in name.as_bytes() {
        match first_byte(rest) {
            Some((byte, after)) if byte == expected => rest = after,
            _ => return false,
        }
    }
    rest.is_empty()
}

/// The first byte that a string as written means, and what follows it; `None`
/// for an escape of something that is not one byte.
fn first_byte(written: &[u8]) -> Option<(u8, &[u8])> {
    match written {
        [b'\\', b'u', a, b, c, d, rest @ ..] => {
            let hex = [*a, *b, *c, *d];
            let code = u16::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?;
            Some((u8::try_from(code).ok()?, rest))
        }
        [b'\\', escaped, rest @ ..] => {
            let byte = match escaped {
                b'b' => 0x08,
                b'f' => 0x0C,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                other => *other,
            };
            Some((byte, rest))
        }
        [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(object: &[u8]) -> Vec<String> {
        members(object)
            .map(|member| String::from_utf8_lossy(member.text).into_owned())
            .collect()
    }

    #[test]
    fn members_are_found_with_blanks_anywhere() {
        let object = b"{ \"a\" : 1 ,\n\"b\\\"\":{\"x\":[\"}\",{}]} , \"c\":null\t,\"\": \"\" }";
        assert_eq!(
            texts(object),
            [
                r#""a" : 1"#,
                r#""b\"":{"x":["}",{}]}"#,
                r#""c":null"#,
                r#""": """#
            ]
        );
        assert!(texts(b"{}").is_empty() && texts(b"{ \t}").is_empty());
    }

    #[test]
    fn the_walk_ends_with_the_object() {
        assert_eq!(texts(br#"{"a":{"b":1}},"c":2}"#), [r#""a":{"b":1}"#]);
    }

    #[test]
    fn names_are_compared_decoded() {
        for same in [
            "@metadata",
            r"\u0040metadata",
            r"@m\u0065tadata",
            r"@metadat\u0061",
            r"\u0040\u006D\u0065\u0074\u0061\u0064\u0061\u0074\u0061",
        ] {
            assert!(name_is(same.as_bytes(), "@metadata"), "{same}");
        }
        for other in [
            "",
            "@metadat",
            "@metadataa",
            "@Metadata",
            r"\\u0040metadata",
            r"\u0140metadata",
            r"@metadata\u0000",
            r"@metadat\u00",
            r"\",
        ] {
            assert!(!name_is(other.as_bytes(), "@metadata"), "{other}");
        }
        assert!(name_is(br"a\/b\n", "a/b\n"));
    }

    #[test]
    fn bytes_that_are_no_object_have_no_members() {
        for bytes in [
            "",
            "{",
            "{\"",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":[",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "{\"a\":}",
            "\"",
            "{,,,",
            "{\"a\":]]]",
        ] {
            assert_eq!(members(bytes.as_bytes()).count(), 0, "{bytes}");
        }
    }
}
