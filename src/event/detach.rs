//! Takes what others put into an event off it again, and looks into an event
//! without reading all of it.

use super::members::{Member, members};
use super::reject::RejectReason;
use super::scan::Scanner;

/// An object without its members of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detached<'a> {
    /// The object without them; everything else is as it came, byte for byte.
    pub rest: Vec<u8>,
    /// The value of the last of them, as it is written.
    pub value: Option<&'a [u8]>,
}

/// Checks that `object` is one JSON object, and takes the members called `name`
/// (ASCII) off it. The error tells why it is none, in words.
pub fn detach<'a>(object: &'a [u8], name: &str) -> Result<Detached<'a>, (RejectReason, String)> {
    check(object)?;
    let mut rest = Vec::with_capacity(object.len());
    let mut value = None;
    // Behind the member before, whether that was kept or not.
    let mut from = 0;
    let mut kept = 0;
    for (position, member) in members(object).enumerate() {
        if position == 0 {
            rest.extend_from_slice(&object[..member.at]);
            from = member.at;
        }
        if member.is(name) {
            value = Some(member.value);
        } else {
            // The comma stands between two members: none is needed before the first.
            let begin = if kept == 0 { member.at } else { from };
            rest.extend_from_slice(&object[begin..end(&member)]);
            kept += 1;
        }
        from = end(&member);
    }
    rest.extend_from_slice(&object[from..]);
    Ok(Detached { rest, value })
}

fn end(member: &Member<'_>) -> usize {
    member.at + member.text.len()
}

fn check(object: &[u8]) -> Result<(), (RejectReason, String)> {
    let mut scanner = Scanner::<false>::new(object);
    scanner.token();
    let scanned = scanner.value().and_then(|()| match scanner.token() {
        None => Ok(()),
        Some(_) => Err(scanner.fault("expected the end")),
    });
    scanned.map_err(|fault| (fault.reason, fault.detail(object.len())))?;
    if let Err(error) = simdutf8::compat::from_utf8(object) {
        let detail = format!("not UTF-8 at byte {}", error.valid_up_to());
        return Err((RejectReason::InvalidUtf8, detail));
    }
    match scanner.seen().object {
        true => Ok(()),
        false => Err((RejectReason::NotAnObject, "expected an object".to_owned())),
    }
}

/// The value, as it is written, of the last member `name` (ASCII) of an object that
/// was checked.
pub fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let named = members(object).filter(|member| member.is(name));
    named.last().map(|member| member.value)
}

/// What kind of value `event`, which was checked, has at `path`, in words: names
/// with dots between them, each a level or part of a name. Of an array its first
/// element counts, as every element is a value of the field to Elasticsearch.
pub fn kind_at(event: &[u8], path: &str) -> Option<&'static str> {
    let mut value = event;
    let mut path = path;
    loop {
        value = first_element(value);
        if path.is_empty() {
            return kind(value);
        }
        if value.first() != Some(&b'{') {
            return None;
        }
        let steps = members(value).filter_map(|member| Some((step(&member, path)?, member)));
        let (len, member) = steps.max_by_key(|(len, _)| *len)?;
        value = member.value;
        path = &path[len..];
    }
}

/// How much of `path` the member's name is, with the dot behind it.
fn step(member: &Member<'_>, path: &str) -> Option<usize> {
    if member.is(path) {
        return Some(path.len());
    }
    let mut dots = path.match_indices('.').map(|(dot, _)| dot);
    let dot = dots.find(|dot| member.is(&path[..*dot]))?;
    Some(dot + 1)
}

fn first_element(mut value: &[u8]) -> &[u8] {
    while let [b'[', rest @ ..] = value {
        let rest = rest.trim_ascii_start();
        if rest.first() == Some(&b']') {
            break;
        }
        value = rest;
    }
    value
}

fn kind(value: &[u8]) -> Option<&'static str> {
    match value.first()? {
        b'"' => Some("a string"),
        b'{' => Some("an object"),
        b'[' => Some("an empty array"),
        b't' | b'f' => Some("a boolean"),
        b'n' => Some("null"),
        _ => Some("a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn off(object: &str) -> (String, Option<&str>) {
        let detached = detach(object.as_bytes(), "x").expect("an object");
        let value = detached
            .value
            .map(|v| std::str::from_utf8(v).expect("text"));
        (String::from_utf8(detached.rest).expect("text"), value)
    }

    #[test]
    fn a_member_goes_and_the_others_stay_as_they_are() {
        for (object, rest, value) in [
            (r#"{"x":1}"#, "{}", Some("1")),
            (r#"{ "x" : [1] }"#, "{  }", Some("[1]")),
            (r#"{"x":1,"a":2}"#, r#"{"a":2}"#, Some("1")),
            (r#"{"a":2,"x":1}"#, r#"{"a":2}"#, Some("1")),
            (
                r#"{"a": 1e0 ,"x":{"a":"}"}, "b":"\u0041"}"#,
                r#"{"a": 1e0, "b":"\u0041"}"#,
                Some(r#"{"a":"}"}"#),
            ),
            (r#"{"x":1,"\u0078":2,"a":3,"x":3}"#, r#"{"a":3}"#, Some("3")),
            (r#"{"a":{"x":1}}"#, r#"{"a":{"x":1}}"#, None),
            ("{}", "{}", None),
            (" { } ", " { } ", None),
        ] {
            assert_eq!(off(object), (rest.to_owned(), value), "{object}");
        }
    }

    #[test]
    fn what_is_no_object_is_told() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for (bytes, reason) in [
            (&b"[]"[..], RejectReason::NotAnObject),
            (b"1", RejectReason::NotAnObject),
            (b"{\"a\":\"\xff\"}", RejectReason::InvalidUtf8),
            (b"{\"a\" 1}", RejectReason::InvalidJson),
            (b"{}{}", RejectReason::InvalidJson),
            (b"", RejectReason::InvalidJson),
            (deep.as_bytes(), RejectReason::TooDeep),
        ] {
            let (told, detail) = detach(bytes, "x").expect_err("no object");
            assert_eq!(told, reason);
            assert!(!detail.is_empty());
        }
    }

    #[test]
    fn the_kind_of_a_value_is_found_along_levels_and_names_with_dots() {
        let event = br#"{"a":{"b":"s","c.d":1,"e":[[{"f":true}]]},"a.b":null,"g":[],"h":{}}"#;
        for (path, kind) in [
            ("a", Some("an object")),
            ("a.b", Some("null")),
            ("a.c.d", Some("a number")),
            ("a.e.f", Some("a boolean")),
            ("g", Some("an empty array")),
            ("h", Some("an object")),
            ("a.b.c", None),
            ("a.x", None),
            ("", Some("an object")),
            (".", None),
        ] {
            assert_eq!(kind_at(event, path), kind, "{path}");
        }
    }
}
