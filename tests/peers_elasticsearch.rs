//! The real Elasticsearch of the compose file takes the templates of docker/logstash,
//! answers its health check, and refuses what is on record. Skipped, with a message,
//! where Java, Maven or the network is missing.

#[path = "support/elasticsearch.rs"]
mod elasticsearch;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/mappings.rs"]
mod mappings;
#[path = "support/opensearch.rs"]
mod opensearch;
#[path = "support/peer.rs"]
mod peer;

use elasticsearch::{Elasticsearch, health, version};
use serde_json::Value;

#[tokio::test]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn the_elasticsearch_of_the_compose_file_is_healthy_and_takes_the_templates() {
    let Some(elasticsearch) = Elasticsearch::start().await else {
        return;
    };
    let engine = elasticsearch.engine();
    let answer = engine.call("GET", health(), &Value::Null).await;
    assert_eq!(answer["timed_out"], false, "{answer}");
    // Without the templates, first.
    let file = format!("elasticsearch-{}", version());
    mappings::refuses_as_on_record(engine, &file).await;
    mappings::are_as_the_page_says(engine).await;
    let id = "x".repeat(513);
    let alone = format!("{{\"index\":{{\"_index\":\"a\",\"_id\":\"{id}\"}}}}\n{{}}\n");
    assert_eq!(engine.bulk(alone).await.0, 400, "the whole request");
}
