//! A real OpenSearch: it refuses what is on record, and what the gateway forwards to
//! it by way of a Logstash arrives. Skipped, with a message, where Java, Maven or the
//! network is missing.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/indexer.rs"]
mod indexer;
#[path = "support/opensearch.rs"]
mod opensearch;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/ruby.rs"]
mod ruby;

use gateway::{Setup, eventually};
use indexer::Indexer;
use opensearch::{OpenSearch, each_below};
use serde_json::{Value, json};

/// The index of the day on which the events were.
const DAY: &str = "logstash-2026.11.20";

fn recorded(version: &str) -> Vec<Value> {
    let folder = format!("{}/tests/fixtures/refusals", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(format!("{folder}/opensearch-{version}.json"));
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
#[tokio::test]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn opensearch_refuses_as_it_is_on_record() {
    let Some(opensearch) = OpenSearch::start().await else {
        return;
    };
    let engine = opensearch.engine();
    let plain: Vec<Value> = recorded(opensearch.version)
        .into_iter()
        .filter(is_plain)
        .collect();
    assert!(plain.len() > 20, "{}", plain.len());
    for refusal in plain {
        let path = format!("/{DAY}");
        engine.call("DELETE", &path, &Value::Null).await;
        engine.call("PUT", &path, &refusal["index"]).await;
        let told = &refusal["item"]["index"];
        let action = json!({"index": {"_index": DAY, "_id": told["_id"]}});
        let (status, answer) = engine
            .bulk(format!("{action}\n{}\n", refusal["event"]))
            .await;
        assert_eq!(status, 200, "{answer}");
        let said = &answer["items"][0]["index"];
        assert_eq!(said["status"], told["status"], "{}", refusal["case"]);
        // Their causes tell columns, which depend on the blanks in a request.
        for member in ["type", "reason"] {
            let (said, told) = (&said["error"][member], &told["error"][member]);
            assert_eq!(said, told, "{}", refusal["case"]);
        }
    }
}

/// The stand-in for Logstash is one: each event that the gateway forwards is a
/// document or a refusal with its reason.
#[tokio::test]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn forwarded_events_are_documents_or_refusals() {
    let Some(opensearch) = OpenSearch::start().await else {
        return;
    };
    let engine = opensearch.engine();
    let number = json!({"type": "long"});
    let mappings = json!({"n": number, "user": {"properties": {"id": number}}});
    engine.create(DAY, mappings).await;
    let indexer = Indexer::start(engine).await;
    let setup = Setup::new(indexer.address, "");
    setup.output("protocol = \"lumberjack\"");
    let _gateway = setup.start_and_wait().await;
    let events = |user: &str| -> String {
        let event = |n| json!({"@timestamp": "2026-11-20T10:00:00Z", "n": n, "user": {"id": user}});
        (0..1_000).map(|n| format!("{}\n", event(n))).collect()
    };
    http::post(setup.http, &events("17"));
    http::post(setup.http, &events("anna"));
    eventually("all are answered", || {
        indexer.ids() == 1_000 && indexer.refused() == 1_000
    })
    .await;
    assert_eq!(engine.count("logstash-*").await, 1_000);
    assert_eq!(engine.numbers("logstash-*").await, each_below(1_000));
}

/// A whole request with an id of more than 512 bytes is refused, and Logstash sends it
/// for ever: such an event must not get there.
#[tokio::test]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn an_id_that_is_too_long_holds_nothing_up() {
    let Some(opensearch) = OpenSearch::start().await else {
        return;
    };
    let engine = opensearch.engine();
    let indexer = Indexer::start(engine).await;
    let setup = Setup::new(indexer.address, "");
    setup.output("protocol = \"lumberjack\"");
    let _gateway = setup.start_and_wait().await;
    let event = |length: usize| {
        let id = "x".repeat(length);
        json!({"@timestamp": "2026-11-20T10:00:00Z", "@metadata": {"_id": id}})
    };
    let alone = format!(
        "{{\"index\":{{\"_index\":\"{DAY}\",\"_id\":\"{}\"}}}}\n{{}}\n",
        "x".repeat(513)
    );
    assert_eq!(engine.bulk(alone).await.0, 400, "the whole request");
    let lines: String = [511, 512, 513, 600]
        .map(|n| format!("{}\n", event(n)))
        .concat();
    http::post(setup.http, &lines);
    eventually("the two that fit are indexed", || indexer.ids() == 2).await;
    assert_eq!(engine.count(DAY).await, 2);
    assert_eq!(setup.status().await["dead_letters"]["held"], 2);
}

/// What the page about mappings says of the explicit template.
#[tokio::test]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn the_template_takes_what_has_no_name_and_refuses_what_has_another_type() {
    let Some(opensearch) = OpenSearch::start().await else {
        return;
    };
    let engine = opensearch.engine();
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
