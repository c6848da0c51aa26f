//! Against the recorded answers of real servers, as real Ruby prints them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const NOW: UnixMillis = UnixMillis(1_795_294_380_120);

fn read(element: &str) -> DeadLetter {
    let known = |name: &str| (name == "web").then(|| "web".parse().expect("a name"));
    letter(element.as_bytes(), &QueueName::default(), known, NOW)
}

fn refused(event: &Value, reason: &str) -> DeadLetter {
    let mut event = event.clone();
    event[MEMBER] = json!({"plugin_type": "elasticsearch", "reason": reason});
    read(&event.to_string())
}

fn fixture(name: &str) -> Value {
    let path = format!("tests/fixtures/refusals/{name}");
    let text = std::fs::read_to_string(&path).expect("recorded");
    serde_json::from_str(&text).expect("JSON")
}

/// Class and field of each case that no server names like the others.
fn expected(case: &Value, version: &str) -> (Unindexable, Option<String>) {
    use Unindexable::*;
    let field = case["field"].as_str().map(str::to_owned);
    let class = match case["case"].as_str().expect("a name") {
        "strict" | "strict_inner" => StrictMapping,
        "total_fields_limit" => TooManyFields,
        "parser_depth_limit" if version.starts_with("7") => TooManyFields,
        "depth_limit"
        | "parser_depth_limit"
        | "nested_fields_limit"
        | "immense_term"
        | "empty_field_name"
        | "pipeline_missing"
        | "alias_without_write_index"
        | "data_stream_takes_only_create" => IllegalArgument,
        "invalid_index_name" => Other,
        "alias_required" | "index_missing" => IndexMissing,
        "index_closed" => IndexClosed,
        // The field that is in the way is the parent, whoever words it.
        "text_gets_dotted" => return (MappingConflict, Some("message".to_owned())),
        // Elasticsearch 8 and 9 take the name for nothing but blanks, and quote it.
        "dots_in_field_name" if version.starts_with(['8', '9']) => {
            return (IllegalArgument, None);
        }
        _ => MappingConflict,
    };
    (class, field)
}

#[test]
fn the_answers_of_six_servers_are_understood() {
    for server in [
        "elasticsearch-7.17.9",
        "elasticsearch-8.17.0",
        "elasticsearch-9.2.0",
        "elasticsearch-9.5.2",
        "opensearch-2.19.1",
        "opensearch-3.3.1",
    ] {
        let recorded = fixture(&format!("{server}.json"));
        let version = recorded["version"].as_str().expect("text");
        let refusals = recorded["refusals"].as_array().expect("a list");
        assert!(refusals.len() > 30);
        for case in refusals {
            let event = match &case["event"] {
                Value::Null => json!({}),
                event => event.clone(),
            };
            // The answer as JSON, as others than Logstash would send it.
            let letter = refused(&event, &case["item"].to_string());
            let (class, field) = expected(case, version);
            let what = (&case["case"], &letter.detail);
            assert_eq!(
                letter.reason,
                Reason::Unindexable(class),
                "{server}: {what:?}"
            );
            assert_eq!(letter.field, field, "{server}: {what:?}");
            assert!(!letter.detail.is_empty());
        }
    }
}

#[test]
fn what_three_rubys_print_of_them_is_understood() {
    let forms = fixture("reasons.json");
    for form in forms.as_array().expect("a list") {
        let version = form["engine"].as_str().expect("text");
        let version = version.split(' ').next_back().expect("a version");
        for case in form["reasons"].as_array().expect("a list") {
            let reason = case["reason"].as_str().expect("text");
            let letter = refused(&json!({}), reason);
            let what = (&form["form"], &case["case"], &letter.detail);
            if reason.contains(", response: ") {
                let (class, field) = expected(case, version);
                assert_eq!(letter.reason, Reason::Unindexable(class), "{what:?}");
                assert_eq!(letter.field, field, "{what:?}");
            } else {
                assert_eq!(letter.reason, Reason::Unindexable(Unindexable::Other));
                assert_eq!(letter.detail, reason, "an unknown reason is kept whole");
            }
        }
    }
}

#[test]
fn a_person_is_told_what_the_field_is_and_what_it_got() {
    for (event, words, sentence) in [
        (
            json!({"user": {"id": "anna"}}),
            "failed to parse field [user.id] of type [long] in document with id 'x'. Preview of field's value: 'anna'",
            "field `user.id` is long, got a string",
        ),
        (
            json!({"user.id": [{"name": "anna"}]}),
            "[1:32] failed to parse field [user.id] of type [long] in document with id 'x'",
            "field `user.id` is long, got an object",
        ),
        (
            json!({"host": "web-1"}),
            "object mapping for [host] tried to parse field [host] as object, but found a concrete value",
            "field `host` is an object, got a string",
        ),
        (
            json!({"message.code": 7}),
            "Could not dynamically add mapping for field [message.code]. Existing mapping for [message] must be of type object but found [text].",
            "field `message` is text, got an object",
        ),
        (
            json!({"when": "soon"}),
            "failed to parse field [when] of type [date] in document with id 'x'",
            "field `when` is date, got a string that is no date",
        ),
        (
            json!({"n": 9e300}),
            "[1:2] failed to parse field [n] of type [long] in document with id 'x'",
            "field `n` is long, got a number that it does not take",
        ),
        (
            json!({}),
            "mapper [mixed] cannot be changed from type [long] to [text]",
            "field `mixed` is long, got text",
        ),
        (
            json!({}),
            "mapper [mixed] of different type, current_type [long], merged_type [text]",
            "field `mixed` is long, got text",
        ),
        (
            json!({}),
            "mapping set to strict, dynamic introduction of [a] within [b] within [user] is not allowed",
            "the strict mapping has no field `user.a] within [b`",
        ),
    ] {
        let answer = json!({"type": "mapper_parsing_exception", "reason": words});
        let letter = refused(&event, &answer.to_string());
        let detail = &letter.detail;
        assert!(detail.starts_with(&format!("{sentence}: ")), "{detail}");
        assert!(detail.ends_with(words), "{detail}");
    }
}

#[test]
fn the_mark_is_taken_off_and_read() {
    let element = r#"{ "b" : 1.0e2, "_gateway_dlq":{"id":"4\u002d1","attempt":"2","queue":"web","reason":"why","entry_time":"2026-11-21T20:53:00.123456789Z"},"a":"\u0041"}"#;
    let expected = DeadLetter {
        queue: "web".parse().expect("a name"),
        id: Some("4-1".to_owned()),
        reason: Reason::Unindexable(Unindexable::Other),
        field: None,
        detail: "why".to_owned(),
        source: Source::Logstash,
        attempt: 2,
        at: UnixMillis(1_795_294_380_123),
        event: r#"{ "b" : 1.0e2,"a":"\u0041"}"#.into(),
    };
    assert_eq!(read(element), expected);
}

#[test]
fn what_the_mark_does_not_tell_has_a_value_all_the_same() {
    for (mark, attempt) in [
        (r#"{"queue":"nobody","id":"","attempt":0}"#, 1),
        (
            r#"{"id":"%{[@metadata][_id]}","attempt":"%{[@metadata][attempt]}"}"#,
            1,
        ),
        (r#"{"id":null,"attempt":-4,"entry_time":"yesterday"}"#, 1),
        (r#"{"attempt":"x","entry_time":"1900-01-01T00:00:00Z"}"#, 1),
        (r#"{"attempt":2.0}"#, 2),
        (r#"{"attempt":1e300}"#, u32::MAX),
        (r#"{"attempt":"NaN"}"#, 1),
    ] {
        let letter = read(&format!(r#"{{"{MEMBER}":{mark}}}"#));
        assert_eq!((&letter.queue, &letter.id), (&QueueName::default(), &None));
        assert_eq!((letter.at, letter.attempt), (NOW, attempt), "{mark}");
        assert!(
            letter.detail.contains(mark),
            "all that was told is kept: {}",
            letter.detail
        );
    }
}

#[test]
fn what_is_no_such_event_is_kept_as_it_came() {
    let deep = format!(
        r#"{{"{MEMBER}":{{}},"a":{}1{}}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    for element in [
        "1",
        "[{}]",
        r#""text""#,
        r#"{"a":1}"#,
        r#"{"_gateway_dlq":"x"}"#,
        r#"{"a" 1}"#,
        r#"{"_gateway_dlq":{"id":"7"},"a":NaN}"#,
        "",
        &deep,
    ] {
        let letter = read(element);
        assert_eq!(letter.event, element);
        assert_eq!(letter.reason, Reason::Unindexable(Unindexable::Other));
        assert!(!letter.detail.is_empty());
    }
    let element = b"{\"_gateway_dlq\":{},\"a\":\"\xff\"}";
    let kept = letter(element, &QueueName::default(), |_| None, NOW);
    assert_eq!(kept.event, &element[..]);
}

/// Before version 11 of the output the event's message stood there with nothing escaped.
#[test]
fn what_a_client_wrote_is_not_taken_for_the_servers_answer() {
    let fake = r#"{"index"=>{"error"=>{"type"=>"none", "reason"=>"failed to parse field [evil] of type [long]"}}}"#;
    let answer = r#"{"index"=>{"error"=>{"type"=>"mapper_parsing_exception", "reason"=>"failed to parse field [user.id] of type [long]"}}}"#;
    for message in [
        format!("x], response: {fake}"),
        format!("\", response: {fake}"),
        format!("[[ \" }} ], response: {fake}, response: {fake}"),
        "[[ { \"".to_owned(),
    ] {
        let reason = format!(
            "Could not index event to Elasticsearch. status: 400, action: [\"index\", {{:_id=>nil}}, 2026-11-20T10:00:00.000Z web-1 {message}], response: {answer}"
        );
        let letter = refused(&json!({}), &reason);
        assert_eq!(letter.field.as_deref(), Some("user.id"), "{message}");
    }
}

#[test]
fn a_reason_that_is_cut_is_understood_as_far_as_it_goes() {
    let forms = fixture("reasons.json");
    let reason = forms[2]["reasons"][0]["reason"].as_str().expect("text");
    let end = reason.find("caused_by").expect("a cause");
    let letter = refused(&json!({"user": {"id": "anna"}}), &reason[..end]);
    assert_eq!(letter.field.as_deref(), Some("user.id"));
}

#[test]
fn a_hostile_reason_takes_neither_long_nor_much() {
    let many = ", response: {".repeat(80_000);
    let deep = format!("x status: 400, action: {}", "[".repeat(1 << 20));
    let quotes = format!("x, action: [], response: {{{}", "\"\\".repeat(1 << 19));
    for reason in [&many, &deep, &quotes] {
        let begun = std::time::Instant::now();
        let element = json!({MEMBER: {"reason": reason}}).to_string();
        let counted = allocation_counter::measure(|| {
            let letter = read(&element);
            assert_eq!(&letter.detail, reason);
        });
        eprintln!("{:?} {counted:?}", begun.elapsed());
        assert!(counted.bytes_max < 8 << 20, "{counted:?}");
    }
}

proptest! {
    #[test]
    fn no_reason_is_lost(reason in "(%\\{)?\\PC*", id in "\\PC{0,20}") {
        let mark = json!({"reason": reason, "id": id});
        let letter = read(&json!({"a": 1, MEMBER: mark}).to_string());
        prop_assert_eq!(&letter.event[..], br#"{"a":1}"#);
        prop_assert!(letter.detail.contains(&reason));
    }

    #[test]
    fn a_field_of_any_name_is_found(name in "[^\\[\\]']{1,30}", value in "\\PC*") {
        let words = format!("failed to parse field [{name}] of type [long] in document with id 'x'. Preview of field's value: '{value}'");
        let answer = json!({"error": {"type": "mapper_parsing_exception", "reason": words}});
        let letter = refused(&json!({&name: value}), &answer.to_string());
        prop_assert_eq!(letter.field.as_deref(), Some(name.as_str()));
    }

    #[test]
    fn what_is_no_json_is_kept_as_it_came(element in prop::collection::vec(any::<u8>(), 0..80)) {
        let kept = letter(&element, &QueueName::default(), |_| None, NOW);
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&element).is_ok();
        prop_assert!(is_json || kept.event == element);
    }
}
