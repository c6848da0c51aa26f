//! The tests print what Logstash would write into its dead letter queue; here that is
//! held against what real JRuby printed of the same answers.

#[path = "support/ruby.rs"]
mod ruby;

use ruby::Ruby;
use serde_json::{Value, json};

fn fixture(name: &str) -> Value {
    let folder = env!("CARGO_MANIFEST_DIR");
    let text = std::fs::read_to_string(format!("{folder}/tests/fixtures/refusals/{name}.json"))
        .expect("the file is there");
    serde_json::from_str(&text).expect("JSON")
}

/// The forms whose third element is the event as a hash: those of plugin 11 and 12.
#[test]
fn a_reason_reads_as_jruby_printed_it() {
    let mut compared = 0;
    for form in fixture("reasons").as_array().expect("forms") {
        let ruby = match form["ruby"].as_str().expect("a version") {
            "3.1.4" => Ruby::Before34,
            "3.4.2" => Ruby::From34,
            _ => continue,
        };
        let engine = form["engine"].as_str().expect("a name").replace(' ', "-");
        let refusals = fixture(&engine);
        for reason in form["reasons"].as_array().expect("reasons") {
            let refusals = refusals["refusals"].as_array().expect("refusals");
            let found = refusals.iter().find(|r| r["case"] == reason["case"]);
            // Two reasons are of events that were never sent.
            let Some(Value::Object(refusal)) = found else {
                continue;
            };
            let mut event = refusal["event"].as_object().expect("an event").clone();
            event.insert("@timestamp".into(), json!("2026-11-20T10:00:00.000Z"));
            event.insert("@version".into(), json!("1"));
            let item = &refusal["item"];
            let printed = ruby.reason(&item["index"]["_id"], &event, item);
            assert_eq!(printed, reason["reason"], "{engine}: {}", reason["case"]);
            compared += 1;
        }
    }
    assert_eq!(compared, 30);
}

/// As JRuby 9.4.12 and 10.0.2 print it.
#[test]
fn every_kind_of_value_reads_as_jruby_prints_it() {
    let value = json!({
        "s": "q\"uote \\ # #{x} #$a #@b \u{1b}[31m\0\u{1}\n\t\r\u{7}\u{8}\u{b}\u{c}\u{7f} é € 😀 \u{2028} end",
        "n": null, "t": true, "f": false, "i": 12_345_678_901_234_567_890_u64, "r": 1.5,
        "big": 1e20, "small": 1e-7, "a": [], "h": {}, "l": [1, [2, {"k": "v"}]],
    });
    let text = r##""q\"uote \\ # \#{x} \#$a \#@b \e[31m\u0000\u0001\n\t\r\a\b\v\f\u007F é € 😀 \u2028 end""##;
    assert_eq!(
        Ruby::Before34.inspect(&value),
        format!(
            "{{\"s\"=>{text}, \"n\"=>nil, \"t\"=>true, \"f\"=>false, \
             \"i\"=>12345678901234567890, \"r\"=>1.5, \"big\"=>1.0e+20, \"small\"=>1.0e-07, \
             \"a\"=>[], \"h\"=>{{}}, \"l\"=>[1, [2, {{\"k\"=>\"v\"}}]]}}"
        )
    );
    let newer = Ruby::From34.inspect(&json!({"a": [1, {"b": null}]}));
    assert_eq!(newer, r#"{"a" => [1, {"b" => nil}]}"#);
}
