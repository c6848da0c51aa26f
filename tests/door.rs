//! What becomes of a whole batch at the door: the block, the rejects, the
//! limits, and events with an `@metadata` of their own.

use bytes::Bytes;
use stashgate::event::RejectReason::{self, *};
use stashgate::event::{BlockError, Limits, Validated, json_document, list, ndjson};

fn limits() -> Limits {
    Limits::default()
}

fn lines(input: &str) -> Validated {
    ndjson(Bytes::copy_from_slice(input.as_bytes()), &limits()).expect("within the limits")
}

fn elements(events: &[&str]) -> Validated {
    let events: Vec<Bytes> = events
        .iter()
        .map(|event| Bytes::copy_from_slice(event.as_bytes()))
        .collect();
    list(&events, &limits()).expect("within the limits")
}

fn document(body: &str) -> Validated {
    json_document(Bytes::copy_from_slice(body.as_bytes()), &limits()).expect("well formed")
}

fn block(validated: &Validated) -> &str {
    std::str::from_utf8(&validated.block).expect("UTF-8")
}

fn rejects(validated: &Validated) -> Vec<(u32, RejectReason)> {
    let rejects = validated.rejects.iter();
    rejects
        .map(|reject| (reject.index, reject.reason))
        .collect()
}

/// The detail of the one reject.
fn detail(validated: &Validated) -> &str {
    assert_eq!(validated.rejects.len(), 1);
    &validated.rejects[0].detail
}

#[test]
fn a_block_without_faults_is_given_back_as_it_came() {
    let input = Bytes::from("{\"a\":1}\n{\"b\":[1, 2]}\n{}\n");
    let validated = ndjson(input.clone(), &limits()).expect("valid");
    assert_eq!(validated.block.as_ptr(), input.as_ptr());
    assert_eq!((validated.block, validated.events), (input, 3));
    assert!(!validated.own_metadata && validated.rejects.is_empty());
}

#[test]
fn a_last_line_without_its_end_gets_one() {
    assert_eq!(
        block(&lines("{\"a\":1}\n{\"b\":2}")),
        "{\"a\":1}\n{\"b\":2}\n"
    );
    assert_eq!(block(&lines("{\"a\":1}")), "{\"a\":1}\n");
}

#[test]
fn blanks_around_events_and_blank_lines_do_not_travel() {
    let validated = lines("\r\n {\"a\": 1}\r\n\n\t\n{\"b\":2}\n\t{\"c\":3} \n\n");
    assert_eq!(block(&validated), "{\"a\": 1}\n{\"b\":2}\n{\"c\":3}\n");
    assert_eq!(validated.events, 3);
    assert_eq!(block(&lines("{\"a\":\r1}\n")), "{\"a\": 1}\n");
    for nothing in ["", "\n", "\r\n \t\n"] {
        let validated = lines(nothing);
        assert_eq!((block(&validated), validated.events), ("", 0));
        assert!(validated.rejects.is_empty());
    }
}

#[test]
fn a_bad_line_is_rejected_alone_at_its_place() {
    let validated = lines("{\"a\":1}\nno\n{\"b\":2}\n{\"c\":\n\n3}\n{\"d\":4}\n[5]\n{\"e\":5}");
    assert_eq!(
        block(&validated),
        "{\"a\":1}\n{\"b\":2}\n{\"d\":4}\n{\"e\":5}\n"
    );
    let expected = [
        (1, InvalidJson),
        (3, InvalidJson),
        (4, NotAnObject),
        (6, NotAnObject),
    ];
    // `3}` is a number with something behind it: invalid, not "no object".
    let expected = expected.map(|(at, reason)| (at, if at == 4 { InvalidJson } else { reason }));
    assert_eq!(rejects(&validated), expected);
    let events: Vec<&[u8]> = validated.rejects.iter().map(|r| &r.event[..]).collect();
    assert_eq!(events, [&b"no"[..], b"{\"c\":", b"3}", b"[5]"]);
}

#[test]
fn a_rejected_line_is_kept_as_sent_without_its_line_end() {
    let validated = lines(" x \r\n\t{\n");
    let events: Vec<&[u8]> = validated.rejects.iter().map(|r| &r.event[..]).collect();
    assert_eq!(events, [&b" x "[..], b"\t{"]);
    assert!(validated.block.is_empty() && validated.events == 0);
}

#[test]
fn one_event_that_is_not_utf8_does_not_spoil_the_others() {
    let input = Bytes::from_static(b"{\"a\":\"\xc3\xa9\"}\n{\"a\":\"\xc3\"}\n{\"a\":2}\n\xff\n");
    let validated = ndjson(input, &limits()).expect("within the limits");
    assert_eq!(block(&validated), "{\"a\":\"é\"}\n{\"a\":2}\n");
    assert_eq!(rejects(&validated), [(1, InvalidUtf8), (3, InvalidUtf8)]);
    assert_eq!(validated.rejects[0].detail, "not UTF-8 at byte 6");

    let body = Bytes::from_static(b"[{\"a\":\"\xc3\xa9\"},{\"a\":\"\xc3\"}]");
    let validated = json_document(body, &limits()).expect("well formed");
    assert_eq!(block(&validated), "{\"a\":\"é\"}\n");
    assert_eq!(validated.rejects[0].detail, "not UTF-8 at byte 6");
}

#[test]
fn a_detail_names_the_byte_in_the_event() {
    for (line, expected) in [
        ("{\"a\":1 \"b\":2}", "expected ',' or '}' at byte 7"),
        ("  {\"a\":1,}", "expected a name at byte 9"),
        ("{1:2}", "expected a name or '}' at byte 1"),
        ("{\"a\":[1}", "expected ',' or ']' at byte 7"),
        ("{\"a\" 1}", "expected ':' at byte 5"),
        ("{\"a\":01}", "expected ',' or '}' at byte 6"),
        ("{\"a\":-x}", "expected a digit at byte 6"),
        ("{\"a\":tru}", "expected 'true' at byte 5"),
        ("{\"a\":\"\\x\"}", "an unknown escape in a string at byte 7"),
        (
            "{\"a\":\"\\u12x4\"}",
            "expected a hexadecimal digit at byte 10",
        ),
        (
            "{\"a\":\"\t\"}",
            "a raw control character in a string at byte 6",
        ),
        ("{\"a\":1} x", "expected the end of the event at byte 8"),
        ("{\"a\":", "expected a value at byte 5, where it ends"),
        ("{\"a\":\"x", "expected '\"' at byte 7, where it ends"),
        (
            "{\"a\":\"\\",
            "an unknown escape in a string at byte 7, where it ends",
        ),
        (" [1]", "expected an object at byte 1"),
        (
            "{\"a\":1,\"@metadata\":2}",
            "@metadata must be an object at byte 7",
        ),
    ] {
        let first = "{\"first\":\"line\"}\n";
        for input in [format!("{first}{line}\n"), format!("{first}{line}")] {
            let validated = lines(&input);
            let detail = detail(&validated);
            assert_eq!(detail, expected, "{input:?}");
        }
        let detail_in_list = elements(&[line]);
        assert_eq!(detail(&detail_in_list), expected, "{line:?}");
    }
}

#[test]
fn the_line_end_is_no_byte_of_the_event() {
    let cut = "expected a value at byte 5, where it ends";
    assert_eq!(detail(&lines("{\"a\":\r\n{}\n")), cut);
    let unclosed = "a raw control character in a string at byte 6, where it ends";
    assert_eq!(detail(&lines("{\"a\":\"\r\n{}\n")), unclosed);
}

#[test]
fn elements_of_a_list_become_one_line_each() {
    let validated = elements(&[
        "{\"a\":1}",
        "\n{\n  \"b\": \"x\\ny\",\r\n\t\"c\": [\n1,\n2]\n}\n",
        "{ }",
    ]);
    assert_eq!(
        block(&validated),
        "{\"a\":1}\n{   \"b\": \"x\\ny\",  \t\"c\": [ 1, 2] }\n{ }\n"
    );
    assert_eq!(validated.events, 3);
}

#[test]
fn an_element_with_two_objects_is_rejected_whole() {
    let validated = elements(&["{\"a\":1}", "{\"b\":2}\n{\"c\":3}", ""]);
    assert_eq!(block(&validated), "{\"a\":1}\n");
    assert_eq!(rejects(&validated), [(1, InvalidJson), (2, InvalidJson)]);
    assert_eq!(&validated.rejects[0].event[..], b"{\"b\":2}\n{\"c\":3}");
}

#[test]
fn a_document_is_one_event_or_an_array_of_them() {
    let validated = document("\n{\"a\":\n1}\n");
    assert_eq!((block(&validated), validated.events), ("{\"a\": 1}\n", 1));
    let validated = document(" [ {\"a\":1} ,\n{\"b\":\r\n2},5,{},\"x\",[{}],null ] ");
    assert_eq!(block(&validated), "{\"a\":1}\n{\"b\":  2}\n{}\n");
    let expected = [2, 4, 5, 6].map(|index| (index, NotAnObject));
    assert_eq!(rejects(&validated), expected);
    assert_eq!(&validated.rejects[2].event[..], b"[{}]");
    assert_eq!(document("[]").events, 0);
}

#[test]
fn a_document_that_is_not_json_is_refused_with_the_place() {
    for (body, expected) in [
        ("", "expected '{' or '[' at byte 0, where it ends"),
        ("5", "expected '{' or '[' at byte 0"),
        ("[{\"a\":1}", "expected ',' or ']' at byte 8, where it ends"),
        ("[{\"a\":1},]", "expected a value at byte 9"),
        ("[{\"a\":1} {}]", "expected ',' or ']' at byte 9"),
        ("[{\"a\":}]", "expected a value at byte 6"),
        ("{}{}", "expected the end at byte 2"),
        ("[]]", "expected the end at byte 2"),
        ("[],[]", "expected the end at byte 2"),
        ("{}\0", "expected the end at byte 2"),
    ] {
        let error = json_document(Bytes::copy_from_slice(body.as_bytes()), &limits());
        let detail = expected.into();
        assert_eq!(error, Err(BlockError::Malformed { detail }), "{body}");
    }
}

#[test]
fn a_document_goes_on_after_an_element_that_is_too_deep() {
    let deep = format!(
        "{{\"a\":{}\"]\"{}}}",
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let validated = document(&format!("[{{\"b\":1}},{deep},{{\"c\":1}},{deep}]"));
    assert_eq!(block(&validated), "{\"b\":1}\n{\"c\":1}\n");
    assert_eq!(rejects(&validated), [(1, TooDeep), (3, TooDeep)]);
    assert_eq!(validated.rejects[1].event, deep.as_bytes());
}

#[test]
fn the_limits_hold_to_the_byte() {
    let limits = Limits {
        max_event_bytes: 9,
        max_batch_bytes: 29,
        max_batch_events: 3,
    };
    let at_most = Bytes::from("{\"a\":123}\n{\"a\":123}\r\n{\"a\":1}\n"); // 10 + 11 + 8
    assert_eq!(ndjson(at_most, &limits).expect("fits").events, 3);
    let events = ["{\"a\":123}", "{\"a\":1234}", "{\"a\":12}"].map(Bytes::from);
    let expected = [(1, TooLarge)];
    let validated = list(&events, &limits).expect("fits");
    assert_eq!(rejects(&validated), expected);
    assert_eq!(
        validated.rejects[0].detail,
        "longer than max_event_bytes at byte 9"
    );
    let validated = ndjson(Bytes::from(events.join_lines()), &limits).expect("fits");
    assert_eq!(rejects(&validated), expected);
    let array = format!("[{},{}]", "{\"a\":123}", "{\"a\":1234}");
    let validated = json_document(array.into(), &limits).expect("fits");
    assert_eq!(rejects(&validated), expected);
}

trait JoinLines {
    fn join_lines(&self) -> Vec<u8>;
}

impl JoinLines for [Bytes; 3] {
    fn join_lines(&self) -> Vec<u8> {
        self.join(&b"\n"[..])
    }
}

#[test]
fn too_many_bytes_or_events_refuse_the_batch() {
    let limits = Limits {
        max_event_bytes: 100,
        max_batch_bytes: 20,
        max_batch_events: 2,
    };
    let limit = 20;
    let long = Bytes::from("{\"a\":\"0123456789abc\"}");
    assert_eq!(long.len(), 21);
    for result in [
        ndjson(long.clone(), &limits),
        json_document(long.clone(), &limits),
        list(&[long.slice(..10), long.slice(10..)], &limits),
    ] {
        assert_eq!(result, Err(BlockError::TooManyBytes { limit }));
    }
    let limit = 2;
    for result in [
        ndjson(Bytes::from("{}\n{}\n\n{}"), &limits),
        ndjson(Bytes::from("x\ny\nz"), &limits),
        json_document(Bytes::from("[{},{},{}]"), &limits),
        list(
            &[Bytes::from("{}"), Bytes::new(), Bytes::from("{}")],
            &limits,
        ),
    ] {
        assert_eq!(result, Err(BlockError::TooManyEvents { limit }));
    }
    let result = list(&[long.clone(), long.clone(), long], &limits);
    assert_eq!(result, Err(BlockError::TooManyEvents { limit }));
    assert_eq!(
        ndjson(Bytes::from("{}\n{}\n\n"), &limits).map(|v| v.events),
        Ok(2)
    );
}

#[test]
fn the_hash_is_of_what_was_sent() {
    assert_eq!(lines("{}\n").hash, lines("{}\n").hash);
    assert_ne!(lines("{}\n").hash, lines("{}").hash);
    assert_ne!(lines("{}\nx").hash, lines("{}\ny").hash);
    assert_ne!(elements(&["ab", "c"]).hash, elements(&["a", "bc"]).hash);
    assert_ne!(elements(&["{}", ""]).hash, elements(&["{}"]).hash);
    assert_ne!(document("[{}]").hash, document("[{} ]").hash);
}

#[test]
fn an_event_with_its_own_metadata_begins_with_it() {
    for (sent, expected) in [
        (r#"{"@metadata":{}}"#, r#"{"@metadata":{}}"#),
        (
            r#"{"@metadata":{"a":1},"b":2}"#,
            r#"{"@metadata":{"a":1},"b":2}"#,
        ),
        (
            r#"{"b":2,"@metadata":{"a":1}}"#,
            r#"{"@metadata":{"a":1},"b":2}"#,
        ),
        (
            r#" { "b" : [2, 3] , "@metadata" : { "a" : "x y" } , "c":{"@metadata":5} } "#,
            r#"{"@metadata":{"a" : "x y"},"b" : [2, 3],"c":{"@metadata":5}}"#,
        ),
        (
            r#"{"b":"\"}","\u0040metadat\u0061":{"a":"}"},"c":1.50}"#,
            r#"{"@metadata":{"a":"}"},"b":"\"}","c":1.50}"#,
        ),
        (
            r#"{"@metadata":{"dead_letter_queue":{"x":[{}]}}}"#,
            r#"{"@metadata":{}}"#,
        ),
        (
            r#"{"@metadata":{"a":1,"dead_letter_queue":{"x":[{}]},"b":{"dead_letter_queue":2}},"dead_letter_queue":3}"#,
            r#"{"@metadata":{"a":1,"b":{"dead_letter_queue":2}},"dead_letter_queue":3}"#,
        ),
        (
            r#"{"@metadata":{"dead\u005fletter_queue":1,"a":1,"dead_letter_queue":null}}"#,
            r#"{"@metadata":{"a":1}}"#,
        ),
        (
            r#"{"@metadata":{"a":1,"a":2},"b":1,"b":2}"#,
            r#"{"@metadata":{"a":1,"a":2},"b":1,"b":2}"#,
        ),
    ] {
        let expected = format!("{expected}\n{{\"x\":1}}\n");
        for validated in [
            lines(&format!("{sent}\n{{\"x\":1}}\n")),
            elements(&[sent, "{\"x\":1}"]),
            document(&format!("[{sent},{{\"x\":1}}]")),
        ] {
            assert_eq!(block(&validated), expected);
            assert!(validated.own_metadata && validated.events == 2);
        }
    }
}

#[test]
fn line_breaks_inside_a_rewritten_event_become_blanks() {
    let validated = elements(&["{\n\"a\":[\n1],\n\"@metadata\":\n{\n\"b\":\r\n{\n}\n}\n}"]);
    assert_eq!(
        block(&validated),
        "{\"@metadata\":{\"b\":  { }},\"a\":[ 1]}\n"
    );
}

#[test]
fn metadata_that_is_not_one_object_is_rejected() {
    for (sent, expected) in [
        (
            r#"{"@metadata":1}"#,
            "@metadata must be an object at byte 1",
        ),
        (
            r#"{"@metadata":[{}]}"#,
            "@metadata must be an object at byte 1",
        ),
        (
            r#"{"@metadata":null}"#,
            "@metadata must be an object at byte 1",
        ),
        (
            r#"{"@metadata":"{}"}"#,
            "@metadata must be an object at byte 1",
        ),
        (
            r#"{"\u0040metadata":true}"#,
            "@metadata must be an object at byte 1",
        ),
        (
            r#"{"@metadata":{},"a":1,"@metadata":{}}"#,
            "a second @metadata at byte 22",
        ),
        (
            r#"{"@metadata":{},"@m\u0065tadata":{}}"#,
            "a second @metadata at byte 16",
        ),
    ] {
        let validated = lines(&format!("{{\"a\":1}}\n{sent}\n{{\"b\":1}}\n"));
        assert_eq!(rejects(&validated), [(1, InvalidMetadata)], "{sent}");
        assert_eq!(detail(&validated), expected);
        assert_eq!(block(&validated), "{\"a\":1}\n{\"b\":1}\n");
        assert!(!validated.own_metadata);
    }
}

#[test]
fn metadata_below_the_top_is_not_touched() {
    for event in [
        r#"{"a":{"@metadata":1}}"#,
        r#"{"a":[{"@metadata":{"dead_letter_queue":1}}]}"#,
        r#"{"a":"@metadata","b":["@metadata"]}"#,
        r#"{"@metadata ":1,"@Metadata":2,"\\u0040metadata":3}"#,
    ] {
        let input = format!("{event}\n");
        let validated = lines(&input);
        assert_eq!(block(&validated), input);
        assert!(!validated.own_metadata);
    }
}
