//! What is checked with a real search engine, whichever it is: the templates of
//! docker/logstash, and that it refuses what is on record.

#![allow(dead_code)]

use serde_json::{Value, json};

use super::opensearch::Engine;

/// The index of the day on which the events were.
pub(crate) const DAY: &str = "logstash-2026.11.20";

fn recorded(file: &str) -> Vec<Value> {
    let folder = format!("{}/tests/fixtures/refusals", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(format!("{folder}/{file}.json"));
    let file: Value = serde_json::from_str(&text.expect("the file is there")).expect("JSON");
    file["refusals"].as_array().expect("refusals").clone()
}

/// Not the cases whose request is another one, whose index is more than mappings, or
/// whose number is none that a test in Rust could send.
fn is_plain(refusal: &Value) -> bool {
    refusal["index"].is_object()
        && refusal["event"].is_object()
        && refusal["before"].is_null()
        && refusal["item"]["index"]["_index"] == DAY
        && refusal["case"] != "pipeline_missing"
        && refusal["case"] != "long_out_of_range"
}

/// The samples that the parser of reasons is tested with are no invention.
pub(crate) async fn refuses_as_on_record(engine: Engine, file: &str) {
    let plain: Vec<Value> = recorded(file).into_iter().filter(is_plain).collect();
    assert!(plain.len() > 20, "{}", plain.len());
    let path = format!("/{DAY}");
    for refusal in plain {
        engine.call("PUT", &path, &refusal["index"]).await;
        let told = &refusal["item"]["index"];
        let action = json!({"index": {"_index": DAY, "_id": told["_id"]}});
        let (status, answer) = engine
            .bulk(format!("{action}\n{}\n", refusal["event"]))
            .await;
        assert_eq!(status, 200, "{answer}");
        let said = &answer["items"][0]["index"];
        assert_eq!(said["status"], told["status"], "{}", refusal["case"]);
        let (said, told) = (&said["error"], &told["error"]);
        assert_eq!(said["type"], told["type"], "{}", refusal["case"]);
        assert_eq!(wording(said), wording(told), "{}", refusal["case"]);
        engine.call("DELETE", &path, &Value::Null).await;
    }
}

/// Without the line and column, `[1:17] `, which depend on the blanks in a request; so do
/// those that the causes tell.
fn wording(error: &Value) -> &str {
    let reason = error["reason"].as_str().expect("a reason");
    let (place, rest) = reason.split_once("] ").unwrap_or_default();
    let is_place = |c: char| c.is_ascii_digit() || c == '[' || c == ':';
    match !place.is_empty() && place.chars().all(is_place) {
        true => rest,
        false => reason,
    }
}

/// What docs/mapping.md says of the explicit template.
pub(crate) async fn are_as_the_page_says(engine: Engine) {
    engine.templates().await;
    let index = |index: &'static str, mut event: Value| async move {
        event["@timestamp"] = json!("2026-11-20T10:00:00Z");
        let action = json!({"index": {"_index": format!("{index}-2026.11.20")}});
        let (_, answer) = engine.bulk(format!("{action}\n{event}\n")).await;
        answer["items"][0]["index"].clone()
    };
    for event in [
        json!({"unnamed": 1}),
        json!({"unnamed": "one"}),
        json!({"unnamed": {"deep": [1, "one"]}}),
        json!({"labels": {"any": 1}}),
        json!({"labels": {"any": "one"}}),
        json!({"labels": {"any": 1.5, "other": true}}),
        json!({"labels": {"any": false, "other": "2026-11-20"}}),
        json!({"labels": {"other": "no date"}}),
        json!({"user": {"id": 17}}),
        json!({"user": {"id": "anna"}}),
    ] {
        let answer = index("logstash", event.clone()).await;
        assert_eq!(answer["status"], 201, "{event}: {answer}");
    }
    for event in [
        json!({"event": {"duration": "fast"}}),
        json!({"host": "web-1"}),
        json!({"user": {"id": {"number": 17}}}),
        json!({"labels": {"any": {"deep": 1}}}),
    ] {
        let answer = index("logstash", event.clone()).await;
        assert_eq!(answer["status"], 400, "{event}: {answer}");
        let answer = index("conflicts", event.clone()).await;
        assert_eq!(answer["status"], 201, "{event}: {answer}");
    }
    let answer = engine
        .call("GET", "/logstash-*/_mapping/field/unnamed*", &Value::Null)
        .await;
    let mapped = &answer["logstash-2026.11.20"]["mappings"];
    assert_eq!(mapped, &json!({}), "no field came by itself");
}
