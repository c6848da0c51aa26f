//! A real OpenSearch: it refuses what is on record, and what the gateway forwards to
//! it by way of a Logstash arrives. Skipped, with a message, where Java, Maven or the
//! network is missing.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/indexer.rs"]
mod indexer;
#[path = "support/mappings.rs"]
mod mappings;
#[path = "support/opensearch.rs"]
mod opensearch;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/ruby.rs"]
mod ruby;

use gateway::{Setup, eventually};
use indexer::Indexer;
use mappings::DAY;
use opensearch::{OpenSearch, each_below};
use serde_json::json;

/// The samples that the parser of reasons is tested with are no invention.
#[tokio::test]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn opensearch_refuses_as_it_is_on_record() {
    let Some(opensearch) = OpenSearch::start().await else {
        return;
    };
    let file = format!("opensearch-{}", opensearch.version);
    mappings::refuses_as_on_record(opensearch.engine(), &file).await;
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
    let held = || {
        let status = http::get(setup.admin, "/api/v1/status").body;
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        status["dead_letters"]["held"].clone()
    };
    eventually("the others are letters", || held() == 2).await;
}

/// What the page about mappings says of the explicit template.
#[tokio::test]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn the_template_takes_what_has_no_name_and_refuses_what_has_another_type() {
    let Some(opensearch) = OpenSearch::start().await else {
        return;
    };
    mappings::are_as_the_page_says(opensearch.engine()).await;
}
