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

/// The entries of a table: what is between line breaks or two blanks.
fn table(text: &str) -> Vec<&[u8]> {
    let entries = text.lines().flat_map(|line| line.split("  "));
    let entries = entries.map(|entry| entry.trim().as_bytes());
    entries.filter(|entry| !entry.is_empty()).collect()
}

#[test]
fn numbers_of_the_grammar_are_taken() {
    values(
        None,
        &table(
            r#"
            0  -0  1  -1  9  10  1234567890  -1234567890123456789012345  0.0  -0.0  0.1  1.0
            3.14159265358979323846264338327950288  1e0  1E2  1e+2  1E+2  1e-2  0e0  -0e-0
            1.5e300  1e400  -1e99999  0.000000000000000000001  1e00  1e-05
            18446744073709551616
            "#,
        ),
    );
}

#[test]
fn numbers_outside_the_grammar_are_not_json() {
    values(
        Some(InvalidJson),
        &table(
            r#"
            01  -01  00  1.  -1.  .5  -.5  1e  1E  1e+  1e-  -  --1  +1  1.e1  1.2.3  1e1.5
            1e1e1  0x1F  1_000  1,000,  1 2  NaN  nan  Infinity  -Infinity  -inf  0b1  1f
            1d  1L  - 1  1e 5  1. 5
            "#,
        ),
    );
    values(
        Some(InvalidJson),
        &["١".as_bytes(), "−1".as_bytes(), b"1\xc2\xa0"],
    );
}

#[test]
fn strings_of_the_grammar_are_taken() {
    values(
        None,
        &table(
            r#"
            ""  " "  "a"  "\""  "\\"  "\/"  "\b\f\n\r\t"  "\u0000"  "\u0041"  "\uabcd\uABCD"
            "\ud83d\ude00"  "\\\\\\"  "\\\"\\"  "\\u12"  "/"  "'"  "{}[],:"  "// no comment"
            "0123456789012345678901234567890123456789012345678901234567890123456789"
            "#,
        ),
    );
    values(
        None,
        &[
            b"\"\x7f\"",
            "\"\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}\"".as_bytes(),
            "\"\u{2028}\u{2029}\u{feff}\u{fffe}\"".as_bytes(),
            "\"žluťoučký 😀 漢字\"".as_bytes(),
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
        &table(
            r#"
            "  "abc  "\"  "\a"  "\v"  "\0"  "\x41"  "\'"  "\U0041"  "\u"  "\u1"  "\u12"
            "\u123"  "\u123g"  "\u 123"  "\u+123"  "\u-123"  "\ud83d\u"  "\u12\u1234"  'a'
            a  "a" "b"  "a"b
            "#,
        ),
    );
    values(Some(InvalidJson), &[b"\"\\\xc3\xa9\""]);
}

#[test]
fn raw_control_characters_in_strings_are_not_json() {
    for control in (0..0x20).map(char::from) {
        for before in [0, 1, 7, 8, 63, 64, 65, 200] {
            let before = "x".repeat(before);
            let event = format!("{{\"a\":\"{before}{control}x\"}}");
            let event = Bytes::from(event);
            let lines = ndjson(event.clone(), &limits()).expect("within the limits");
            // A line break makes two lines of it, both of them cut.
            let cut = if control == '\n' { 2 } else { 1 };
            assert_eq!((lines.events, lines.rejects.len()), (0, cut));
            assert!(lines.rejects.iter().all(|r| r.reason == InvalidJson));
            let element = list(std::slice::from_ref(&event), &limits());
            assert_eq!(verdict(element, 1), Some(InvalidJson), "{event:?}");
            let document = json_document(event.clone(), &limits());
            assert_eq!(verdict(document, 1), Some(InvalidJson), "{event:?}");
        }
    }
}

#[test]
fn literals_are_whole_and_in_lower_case() {
    values(None, &[b"true", b"false", b"null"]);
    values(
        Some(InvalidJson),
        &table(
            r#"
            t  tru  truE  True  TRUE  truee  true1  f  fals  False  n  nul  nulll  Null  None
            undefined  nan  true false
            "#,
        ),
    );
}

#[test]
fn containers_must_be_closed_in_their_order() {
    values(
        None,
        &table(
            r#"
            {}  []  [[]]  [{}]  {"b":{}}  [[],[]]  [{},{}]  [[[[[[[[]]]]]]]]
            {"b":[{"c":[{}]}]}  [ ]  { }
            "#,
        ),
    );
    values(None, &[b"[\t1\t,\t2\t]"]);
    values(
        Some(InvalidJson),
        &table(
            r#"
            {  [  }  ]  [}  {]  [[]  []]  {{}  {}}  [{]}  {[}]  {"b":[}]  {"b":1]  [1}
            [{"b":1]]  {"b":[1}}  [,]  [1,]  [,1]  [1,,2]  [1 2]  [1:2]  {,}  {"b"}  {"b":}
            {:1}  {"b":1,}  {,"b":1}  {"b":1,,"c":2}  {"b" 1}  {"b":1 "c":2}  {"b"::1}
            {b:1}  {'b':1}  {1:1}  {null:1}  {[]:1}  {{}:1}  {"b":1:2}  {"b",1}
            {"b":1;"c":2}  (1)  <1>
            "#,
        ),
    );
}

#[test]
fn comments_and_other_dialects_are_not_json() {
    values(
        Some(InvalidJson),
        &table(
            r#"
            1/**/  /**/1  1//x  #1  \u0031  `a`  @  1;
            "#,
        ),
    );
    values(Some(InvalidJson), &[b"\0", b"1\0", b"\xef\xbb\xbf1"]);
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
