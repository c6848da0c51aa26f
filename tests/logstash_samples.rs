//! The sample pipelines in `docker/logstash`: their form, and the settings without
//! which events are lost, doubled or stuck. No Logstash runs here; what is checked
//! is that the files parse by Logstash's grammar and say what they must.

#[path = "support/pipeline.rs"]
mod pipeline;

use std::collections::BTreeMap;
use std::fs;

use pipeline::{Node, Plugin, nodes, plugins};
use serde_json::Value;

fn sample(name: &str) -> String {
    let path = format!("{}/docker/logstash/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("the sample is there")
}

/// The plugins of one section of a pipeline.
fn section(pipeline: &str, name: &str) -> Vec<Plugin> {
    let nodes = nodes(&sample(&format!("pipeline/{pipeline}.conf")));
    let mut sections = nodes.into_iter().filter_map(|node| match node {
        Node::Block(found, inside) if found == name => Some(inside),
        _ => None,
    });
    plugins(&sections.next().expect("the section is there"))
}

/// The settings of the only plugin of a section.
fn only(pipeline: &str, name: &str) -> BTreeMap<String, String> {
    let mut found = section(pipeline, name);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0).2
}

#[test]
fn each_input_is_set_so_that_stashgate_can_rely_on_it() {
    let inputs = section("main", "input");
    let input = |name: &str| {
        let found = inputs.iter().find(|(_, found, _)| found == name);
        found.unwrap_or_else(|| panic!("no input {name}")).2.clone()
    };
    assert_eq!(input("beats")["enrich"], "none");
    let timeout: u64 = input("beats")["client_inactivity_timeout"]
        .parse()
        .expect("seconds");
    assert!(timeout > 45, "idle connections are ended by us, cleanly");
    let field = "[@metadata][input][http][host]";
    assert_eq!(input("http")["remote_host_target_field"], field);
    assert_eq!(input("tcp")["codec"], "json_lines");
    assert_eq!(input("tcp")["dns_reverse_lookup_enabled"], "false");
    assert_eq!(inputs.len(), 3);
}

#[test]
fn an_id_is_used_only_where_there_is_one() {
    let outputs = section("main", "output");
    for (around, _, settings) in &outputs {
        let guarded = around.iter().any(|c| c.ends_with("[@metadata][_id]"));
        let id = settings.get("document_id").map(String::as_str);
        assert_eq!(id, guarded.then_some("%{[@metadata][_id]}"), "{around:?}");
    }
    assert_eq!(outputs.len(), 4);
}

#[test]
fn every_index_is_of_the_day_of_the_month() {
    for (_, _, settings) in section("main", "output") {
        let index = &settings["index"];
        assert!(index.ends_with("-%{+YYYY.MM.dd}"), "{index}");
    }
}

#[test]
fn what_is_no_json_goes_elsewhere() {
    let outputs = section("main", "output");
    let (around, _, settings) = &outputs[0];
    assert!(
        around[0].contains("if\"_jsonparsefailure\"in[tags]"),
        "{around:?}"
    );
    assert!(settings["index"].starts_with("not-json-"));
}

#[test]
fn the_time_of_acceptance_fills_in_for_a_missing_timestamp() {
    let (around, name, settings) = section("main", "filter").remove(0);
    assert_eq!(
        (around[0].as_str(), name.as_str()),
        ("if[@metadata][accepted_at]", "date")
    );
    assert_eq!(settings["match"], "[@metadata][accepted_at] ISO8601");
}

#[test]
fn the_queue_of_logstash_outlives_it() {
    let settings = sample("logstash.yml");
    assert!(settings.lines().any(|line| line == "queue.type: persisted"));
    assert!(sample("pipelines.yml").contains("/pipeline/main.conf"));
}

#[test]
fn each_index_has_its_template_or_leaves_templates_alone() {
    for (_, _, settings) in section("main", "output") {
        let Some(file) = settings.get("template") else {
            assert_eq!(settings["manage_template"], "false", "{settings:?}");
            continue;
        };
        let name = file.strip_prefix("/usr/share/logstash/").expect("mounted");
        let template: Value = serde_json::from_str(&sample(name)).expect("JSON");
        let day = settings["index"].replace("%{+YYYY.MM.dd}", "*");
        assert_eq!(template["index_patterns"], serde_json::json!([day]));
        assert_eq!(settings["template_api"], "composable");
    }
}

#[test]
fn what_elasticsearch_refused_waits_for_stashgate() {
    let settings: BTreeMap<String, String> = sample("logstash.yml")
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let dlq = |name: &str| settings[&format!("dead_letter_queue.{name}")].as_str();
    assert_eq!(dlq("enable"), "true");
    assert_eq!(dlq("flush_interval"), "5000");
    assert_eq!(dlq("storage_policy"), "drop_newer");
    assert_eq!(dlq("retain.age"), "30d");
    let input = only("dlq", "input");
    assert_eq!(input["path"], settings["path.dead_letter_queue"]);
    assert_eq!(input["pipeline_id"], "main");
    assert_eq!(input["clean_consumed"], "true");
    let pipelines = sample("pipelines.yml");
    assert!(pipelines.contains("- pipeline.id: dlq\n"));
    assert!(pipelines.contains("/pipeline/dlq.conf"));
    // What the input has read is gone from the dead letter queue.
    assert!(!pipelines.contains("queue.type"), "the one of logstash.yml");
}

#[test]
fn a_refused_event_brings_along_what_the_http_output_drops() {
    let copied: Vec<String> = section("dlq", "filter")
        .into_iter()
        .map(|(_, _, settings)| settings["copy"].clone())
        .collect();
    assert_eq!(
        copied,
        [
            "[@metadata][dead_letter_queue] [_gateway_dlq]",
            "[@metadata][_id] [_gateway_dlq][id] [@metadata][attempt] [_gateway_dlq][attempt]",
        ]
    );
}

#[test]
fn no_refused_event_is_given_up() {
    let output = only("dlq", "output");
    assert!(output["url"].ends_with("/v1/dead-letters?queue=logstash"));
    assert_eq!(output["http_method"], "post");
    assert_eq!(output["format"], "json_batch");
    assert_eq!(output["retry_non_idempotent"], "true");
    for code in ["401", "403", "404", "413", "429", "500", "503"] {
        let retried = &output["retryable_codes"];
        assert!(retried.split(' ').any(|c| c == code), "{code}");
    }
}

/// The Redis variant of dlq.conf is Logstash's language too, once the signs before it
/// are taken away.
#[test]
fn the_variant_by_redis_can_be_uncommented() {
    let text = sample("pipeline/dlq.conf");
    let (_, variant) = text.split_once("  # redis {").expect("the variant");
    let lines = variant
        .lines()
        .skip(1)
        .map_while(|line| line.strip_prefix("  #"));
    let block: String = lines.map(|line| format!("{line}\n")).collect();
    let (_, name, settings) = plugins(&nodes(&format!("redis {{{block}"))).remove(0);
    assert_eq!(name, "redis");
    assert_eq!(settings["data_type"], "list");
    assert!(settings.contains_key("key"));
}

/// The filters on the page about mappings.
#[test]
fn the_filters_of_the_recipes_are_logstashs_language() {
    let page = format!("{}/docs/mapping.md", env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(page).expect("the page is there");
    let filters: Vec<Plugin> = page
        .split("```logstash\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .flat_map(|filter| plugins(&nodes(filter)))
        .collect();
    assert_eq!(filters.len(), 3);
    for (_, name, settings) in filters {
        assert_eq!(name, "ruby");
        assert!(settings["code"].contains("[event][duration]"));
    }
}
