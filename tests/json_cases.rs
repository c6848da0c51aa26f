//! The corner cases of JSON, each at all three doors: what is an event, what is
//! not, and why not.

use bytes::Bytes;
use stashgate::event::RejectReason::{self, *};
use stashgate::event::{BlockError, Limits, Validated, json_document, list, ndjson};

fn limits() -> Limits {
    Limits::default()
}

/// What each door says of one event; `None` = accepted. The event must be one
/// line for `ndjson` to see it whole.
fn verdicts(event: &[u8]) -> [Option<RejectReason>; 3] {
    let event = Bytes::copy_from_slice(event);
    let mut line = event.to_vec();
    line.push(b'\n');
    let mut array = b"[{\"before\":1},".to_vec();
    array.extend_from_slice(&event);
    array.extend_from_slice(b",{\"after\":[]}]");
    [
        verdict(ndjson(line.into(), &limits()), 1),
        verdict(list(&[event], &limits()), 1),
        verdict(json_document(array.into(), &limits()), 3),
    ]
}

/// The reason of the one reject, if there is one; a malformed document is
/// invalid JSON.
fn verdict(result: Result<Validated, BlockError>, sent: u32) -> Option<RejectReason> {
    match result {
        Ok(validated) => {
            let rejects = validated.rejects;
            assert_eq!(validated.events + rejects.len() as u32, sent);
            assert!(rejects.len() <= 1, "{rejects:?}");
            rejects.first().map(|reject| reject.reason)
        }
        Err(BlockError::Malformed { .. }) => Some(InvalidJson),
        Err(error) => panic!("{error}"),
    }
}

fn accepted(events: &[&[u8]]) {
    for event in events {
        assert_eq!(verdicts(event), [None; 3], "{}", event.escape_ascii());
    }
}

fn rejected(reason: RejectReason, events: &[&[u8]]) {
    for event in events {
        let expected = [Some(reason); 3];
        assert_eq!(verdicts(event), expected, "{}", event.escape_ascii());
    }
}

/// Each as the value of a member, of an array, and with blanks around.
fn values(reason: Option<RejectReason>, values: &[&[u8]]) {
    for value in values {
        let value = value.to_vec();
        for (before, after) in [
            (&b"{\"a\":"[..], &b"}"[..]),
            (b"{\"a\":[", b"]}"),
            (b"{\"a\":[1, ", b" ,\"b\"]}"),
            (b"{ \"a\" : ", b" , \"b\" : { } }"),
        ] {
            let event = [before, &value, after].concat();
            assert_eq!(verdicts(&event), [reason; 3], "{}", event.escape_ascii());
        }
    }
}

#[test]
fn numbers_of_the_grammar_are_taken() {
    values(
        None,
        &[
            b"0",
            b"-0",
            b"1",
            b"-1",
            b"9",
            b"10",
            b"1234567890",
            b"-1234567890123456789012345",
            b"0.0",
            b"-0.0",
            b"0.1",
            b"1.0",
            b"3.14159265358979323846264338327950288",
            b"1e0",
            b"1E2",
            b"1e+2",
            b"1E+2",
            b"1e-2",
            b"0e0",
            b"-0e-0",
            b"1.5e300",
            b"1e400",
            b"-1e99999",
            b"0.000000000000000000001",
            b"1e00",
            b"1e-05",
            b"18446744073709551616",
        ],
    );
}

#[test]
fn numbers_outside_the_grammar_are_not_json() {
    values(
        Some(InvalidJson),
        &[
            b"01",
            b"-01",
            b"00",
            b"1.",
            b"-1.",
            b".5",
            b"-.5",
            b"1e",
            b"1E",
            b"1e+",
            b"1e-",
            b"-",
            b"--1",
            b"+1",
            b"1.e1",
            b"1.2.3",
            b"1e1.5",
            b"1e1e1",
            b"0x1F",
            b"1_000",
            b"1,000,",
            b"1 2",
            b"NaN",
            b"nan",
            b"Infinity",
            b"-Infinity",
            b"-inf",
            b"0b1",
            b"1f",
            b"1d",
            b"1L",
            b"- 1",
            b"1e 5",
            b"1. 5",
            "١".as_bytes(),
            "−1".as_bytes(),
            b"1\xc2\xa0",
        ],
    );
}

#[test]
fn strings_of_the_grammar_are_taken() {
    values(
        None,
        &[
            br#""""#,
            br#"" ""#,
            br#""a""#,
            br#""\"""#,
            br#""\\""#,
            br#""\/""#,
            br#""\b\f\n\r\t""#,
            br#""\u0000""#,
            br#""\u0041""#,
            br#""\uabcd\uABCD""#,
            br#""\ud83d\ude00""#,
            br#""\\\\\\""#,
            br#""\\\"\\""#,
            br#""\\u12""#,
            br#""/""#,
            br#""'""#,
            br#""{}[],:""#,
            br#""// no comment""#,
            b"\"\x7f\"",
            "\"\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}\"".as_bytes(),
            "\"\u{2028}\u{2029}\u{feff}\u{fffe}\"".as_bytes(),
            "\"žluťoučký 😀 漢字\"".as_bytes(),
            br#""0123456789012345678901234567890123456789012345678901234567890123456789""#,
        ],
    );
}

/// RFC 8259 allows them (section 8.2), and Logstash's Jackson reads them.
/// serde_json reads them into no `String`.
#[test]
fn lone_surrogates_are_taken() {
    values(
        None,
        &[
            br#""\ud800""#,
            br#""\uDFFF""#,
            br#""\ude00\ud83d""#,
            br#""\ud83dx""#,
            br#""\ud83d\n""#,
            br#""\ud83d\u0041""#,
        ],
    );
}

#[test]
fn strings_outside_the_grammar_are_not_json() {
    values(
        Some(InvalidJson),
        &[
            br#"""#,
            br#""abc"#,
            br#""\""#,
            br#""\a""#,
            br#""\v""#,
            br#""\0""#,
            br#""\x41""#,
            br#""\'""#,
            br#""\U0041""#,
            br#""\u""#,
            br#""\u1""#,
            br#""\u12""#,
            br#""\u123""#,
            br#""\u123g""#,
            br#""\u 123""#,
            br#""\u+123""#,
            br#""\u-123""#,
            br#""\ud83d\u""#,
            br#""\u12\u1234""#,
            b"\"\\\xc3\xa9\"",
            br#"'a'"#,
            br#"a"#,
            br#""a" "b""#,
            br#""a"b"#,
        ],
    );
}

#[test]
fn raw_control_characters_in_strings_are_not_json() {
    for control in 0..0x20 {
        for at in [0, 1, 7, 8, 63, 64, 65, 200] {
            let mut value = vec![b'x'; at + 1];
            (value[0], value[at]) = (b'"', if at == 0 { b'"' } else { control });
            value.insert(1, control);
            value.push(b'"');
            let event = [b"{\"a\":", &value[..], b"}"].concat();
            if control == b'\n' {
                // Two lines for `ndjson`, both of them cut.
                let [_, list, document] = [0, 1, 2].map(|door| match door {
                    0 => Some(InvalidJson),
                    1 => verdict(self::list(&[event.clone().into()], &limits()), 1),
                    _ => verdict(json_document(event.clone().into(), &limits()), 1),
                });
                assert_eq!([list, document], [Some(InvalidJson); 2]);
            } else {
                assert_eq!(
                    verdicts(&event),
                    [Some(InvalidJson); 3],
                    "{control} at {at}"
                );
            }
        }
    }
}

#[test]
fn literals_are_whole_and_in_lower_case() {
    values(None, &[b"true", b"false", b"null"]);
    values(
        Some(InvalidJson),
        &[
            b"t",
            b"tru",
            b"truE",
            b"True",
            b"TRUE",
            b"truee",
            b"true1",
            b"f",
            b"fals",
            b"False",
            b"n",
            b"nul",
            b"nulll",
            b"Null",
            b"None",
            b"undefined",
            b"nan",
            b"true false",
        ],
    );
}

#[test]
fn containers_must_be_closed_in_their_order() {
    values(
        None,
        &[
            b"{}",
            b"[]",
            b"[[]]",
            b"[{}]",
            b"{\"b\":{}}",
            b"[[],[]]",
            b"[{},{}]",
            b"[[[[[[[[]]]]]]]]",
            b"{\"b\":[{\"c\":[{}]}]}",
            b"[ ]",
            b"{ }",
            b"[\t1\t,\t2\t]",
        ],
    );
    values(
        Some(InvalidJson),
        &[
            b"{",
            b"[",
            b"}",
            b"]",
            b"[}",
            b"{]",
            b"[[]",
            b"[]]",
            b"{{}",
            b"{}}",
            b"[{]}",
            b"{[}]",
            b"{\"b\":[}]",
            b"{\"b\":1]",
            b"[1}",
            b"[{\"b\":1]]",
            b"{\"b\":[1}}",
            b"[,]",
            b"[1,]",
            b"[,1]",
            b"[1,,2]",
            b"[1 2]",
            b"[1:2]",
            b"{,}",
            b"{\"b\"}",
            b"{\"b\":}",
            b"{:1}",
            b"{\"b\":1,}",
            b"{,\"b\":1}",
            b"{\"b\":1,,\"c\":2}",
            b"{\"b\" 1}",
            b"{\"b\":1 \"c\":2}",
            b"{\"b\"::1}",
            b"{b:1}",
            b"{'b':1}",
            b"{1:1}",
            b"{null:1}",
            b"{[]:1}",
            b"{{}:1}",
            b"{\"b\":1:2}",
            b"{\"b\",1}",
            b"{\"b\":1;\"c\":2}",
            b"(1)",
            b"<1>",
        ],
    );
}

#[test]
fn comments_and_other_dialects_are_not_json() {
    values(
        Some(InvalidJson),
        &[
            b"1/**/",
            b"/**/1",
            b"1//x",
            b"#1",
            b"\\u0031",
            b"`a`",
            b"@",
            b"1;",
            b"\0",
            b"1\0",
            b"\xef\xbb\xbf1",
        ],
    );
}

#[test]
fn names_may_be_empty_or_double() {
    accepted(&[
        br#"{}"#,
        br#"{"":1}"#,
        br#"{"":{"":""}}"#,
        br#"{"a":1,"a":2}"#,
        br#"{"\u0000":1}"#,
        br#"{"\ud800":1}"#,
        br#"{"a b\tc":1,"@":2,"@timestamp":"x","\\":3,"@metadata2":4}"#,
    ]);
}

#[test]
fn only_four_characters_are_white_space() {
    accepted(&[
        b"{ \"a\"\t:\t1 , \"b\":[ 1 ,\t2 ] }",
        b" {\"a\":1}",
        b"\t{\"a\":1}\t",
        b"{\"a\":1} \r",
        b"{\r\"a\"\r:\r1\r}",
    ]);
    for blank in [
        &b"\x0b"[..],
        b"\x0c",
        b"\0",
        b"\x1c",
        b"\x7f",
        "\u{85}".as_bytes(),
        "\u{a0}".as_bytes(),
        "\u{2003}".as_bytes(),
        "\u{2028}".as_bytes(),
        "\u{3000}".as_bytes(),
        "\u{feff}".as_bytes(),
    ] {
        for event in [
            [blank, b"{\"a\":1}"].concat(),
            [b"{\"a\":1}", blank].concat(),
            [b"{", blank, b"\"a\":1}"].concat(),
            [b"{\"a\":", blank, b"1}"].concat(),
        ] {
            rejected(InvalidJson, &[&event]);
        }
    }
}

#[test]
fn what_follows_an_event_is_an_error() {
    rejected(
        InvalidJson,
        &[
            b"{}{}",
            b"{} {}",
            b"{}x",
            b"{}}",
            b"{}]",
            b"{}\0",
            b"{};",
            b"{} //",
            b"{}\"a\"",
            b"{} 1",
            b"{}[]",
            b"{} null",
            b"{\"a\":1}{\"b\":2}",
        ],
    );
}

#[test]
fn a_comma_after_an_event_is_an_error_where_no_array_is() {
    for event in [&b"{},"[..], b"{},{}", b",{}"] {
        let [line, element, _] = verdicts_of_two(event);
        assert_eq!([line, element], [Some(InvalidJson); 2]);
    }
}

fn verdicts_of_two(event: &[u8]) -> [Option<RejectReason>; 3] {
    let event = Bytes::copy_from_slice(event);
    [
        verdict(ndjson(event.clone(), &limits()), 1),
        verdict(list(std::slice::from_ref(&event), &limits()), 1),
        verdict(json_document(event, &limits()), 1),
    ]
}

#[test]
fn json_that_is_no_object_is_no_event() {
    rejected(
        NotAnObject,
        &[
            b"1",
            b"-0.5e1",
            b"\"a\"",
            b"true",
            b"false",
            b"null",
            b"[]",
            b"[{}]",
            b"[{\"a\":1},{}]",
            b"\"{}\"",
            b" [1] ",
            b"[\"@metadata\"]",
        ],
    );
}

#[test]
fn an_element_with_nothing_in_it_is_not_json() {
    for empty in [&b""[..], b" ", b"\n", b"\r\n\t "] {
        let result = list(&[Bytes::copy_from_slice(empty)], &limits());
        assert_eq!(verdict(result, 1), Some(InvalidJson));
        let result = json_document(Bytes::copy_from_slice(empty), &limits());
        assert_eq!(verdict(result, 1), Some(InvalidJson));
    }
}

#[test]
fn bytes_that_are_not_utf8_are_found_wherever_they_are() {
    for bad in [
        &b"\x80"[..],
        b"\xbf",
        b"\xff",
        b"\xfe",
        b"\xc0\x80",
        b"\xc0\xaf",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xe0\x9f\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf0\x8f\xbf\xbf",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\xbd\xed\xb8\x80",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"\xe2\x28\xa1",
    ] {
        for (before, after) in [
            (&b"{\"a\":\""[..], &b"\"}"[..]),
            (b"{\"", b"\":1}"),
            (
                b"{\"a\":\"0123456789012345678901234567890123456789",
                b"x\"}",
            ),
        ] {
            rejected(InvalidUtf8, &[&[before, bad, after].concat()]);
        }
    }
}

fn nested(opening: &str, inside: &str, closing: &str, depth: usize) -> String {
    [&opening.repeat(depth), inside, &closing.repeat(depth)].concat()
}

#[test]
fn events_of_128_levels_are_taken_and_of_129_not() {
    for (opening, inside, closing) in [("[", "", "]"), ("{\"a\":", "1", "}"), ("[", "{}", "]")] {
        for total in [1_usize, 63, 64, 65, 126, 127, 128, 129, 130, 500] {
            let levels = total - 1 - usize::from(inside == "{}" && total > 1);
            let event = format!("{{\"a\":{}}}", nested(opening, inside, closing, levels));
            let event = if total == 1 { "{}".into() } else { event };
            let expected = (total > 128).then_some(TooDeep);
            assert_eq!(
                verdicts(event.as_bytes()),
                [expected; 3],
                "{total} {opening}"
            );
        }
    }
}

#[test]
fn a_bomb_of_brackets_is_too_deep_whether_it_is_closed_or_not() {
    let closed = format!("{{\"a\":{}}}", nested("[", "", "]", 200_000));
    rejected(TooDeep, &[closed.as_bytes()]);
    let objects = nested("{\"a\":", "1", "}", 100_000);
    rejected(TooDeep, &[objects.as_bytes()]);
    let mixed = format!("{{\"a\":{}}}", nested("[{\"b]\":", "\"}\"", "}]", 50_000));
    rejected(TooDeep, &[mixed.as_bytes()]);
    for open in ["[", "{\"a\":", "[{\"a\":"] {
        let bomb = Bytes::from(open.repeat(100_000));
        let line = ndjson(bomb.clone(), &limits());
        assert_eq!(verdict(line, 1), Some(TooDeep));
        let element = list(std::slice::from_ref(&bomb), &limits());
        assert_eq!(verdict(element, 1), Some(TooDeep));
        // Nobody can say where the next element begins.
        let array = Bytes::from([b"[", &bomb[..]].concat());
        let document = json_document(array, &limits());
        assert!(
            matches!(document, Err(BlockError::Malformed { .. })),
            "{open}"
        );
    }
}

#[test]
fn numbers_and_names_are_as_long_as_jackson_bears() {
    let number = |digits: usize| format!("{{\"a\":{}}}", "7".repeat(digits));
    accepted(&[number(10_000).as_bytes()]);
    rejected(TokenTooLong, &[number(10_001).as_bytes()]);
    // Sign, point and exponent are no digits.
    let number = |digits: usize| format!("{{\"a\":[-1.{}e+1]}}", "7".repeat(digits - 2));
    accepted(&[number(10_000).as_bytes()]);
    rejected(TokenTooLong, &[number(10_001).as_bytes()]);

    let name = |len: usize| format!("{{\"x\":{{\"{}\":1}}}}", "n".repeat(len));
    accepted(&[name(50_000).as_bytes()]);
    rejected(TokenTooLong, &[name(50_001).as_bytes()]);
    let value = format!("{{\"a\":\"{}\"}}", "v".repeat(500_000));
    accepted(&[value.as_bytes()]);
}

#[test]
fn a_byte_order_mark_begins_no_event() {
    rejected(InvalidJson, &["\u{feff}{}".as_bytes()]);
    let document = json_document(Bytes::from("\u{feff}{}"), &limits());
    assert_eq!(verdict(document, 1), Some(InvalidJson));
}
