//! What `docker/` holds, as far as it runs without Docker: the gateway and Redis as the
//! compose file starts them, and what its other files name.

#[path = "support/beats.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod beats;
#[path = "support/command.rs"]
mod command;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;
#[path = "support/stack.rs"]
mod stack;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use beats::Beats;
use command::{run, stashgate};
use http::{events, get, post};
use stack::{Stack, docker, queries};

const METRICS: &str = include_str!("../docs/metrics.md");
const ALERTS: &str = include_str!("../docker/prometheus/alerts.yml");

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_and_redis_of_the_compose_file_deliver_and_ask_for_the_token() {
    let logstash = Beats::start().await;
    let stack = Stack::start(logstash.address()).await;
    for (setting, value) in [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("maxmemory", "1073741824"),
        ("maxmemory-policy", "noeviction"),
    ] {
        let said = stack.redis.ask(&["config", "get", setting]);
        assert_eq!(said, format!("{setting}\n{value}\n"));
    }
    post(stack.setup.http, &events(0..1_000));
    logstash.sink().wait_for(0..1_000).await;

    let admin = stack.setup.admin;
    assert_eq!(get(admin, "/metrics").status, 401);
    assert_eq!(stack.get("/metrics").status, 200);
    let url = format!("http://{admin}");
    let healthy = run(&mut stashgate(&["health", "--url", &url]));
    assert_eq!((healthy.code, healthy.out.as_str()), (Some(0), "healthy\n"));
    // Nothing is said at start of what an answer is worth but that it is good.
    let log = stack.setup.log();
    assert!(!log.contains("WARN"), "{log}");
    assert_eq!(stack.gateway.terminate().await, Some(0));
    let gone = run(&mut stashgate(&["health", "--url", &url]));
    assert_eq!(gone.code, Some(5), "{}", gone.err);
}

/// The metrics that `docs/metrics.md` lists.
fn documented() -> BTreeSet<&'static str> {
    let rows = METRICS.lines().filter_map(|row| row.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once("` |"))
        .map(|(name, _)| name)
        .collect()
}

/// The metrics of ours that a query names, without a histogram's suffix.
fn named(query: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = query.split(|c| !is_word(c));
    let ours = words.filter(|word| word.starts_with("stashgate_") || word.starts_with("process_"));
    ours.map(|word| word.strip_suffix("_bucket").unwrap_or(word))
        .collect()
}

#[test]
fn dashboard_and_alerts_ask_only_for_metrics_that_exist() {
    let documented = documented();
    let alerts = ALERTS
        .lines()
        .filter_map(|l| l.trim().strip_prefix("expr: "));
    let queries = queries().into_iter().chain(alerts.map(str::to_owned));
    let mut asked = 0;
    for query in queries {
        for name in named(&query) {
            assert!(documented.contains(name), "{name} in {query}");
            asked += 1;
        }
    }
    assert!(asked > 30, "only {asked} metrics are asked for");
}

/// The labels that `docs/metrics.md` lists, and those that Prometheus gives.
fn labels() -> BTreeSet<&'static str> {
    let rows = METRICS.lines().filter(|row| row.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(3));
    let labels = cells.flat_map(|cell| cell.split(',').map(|l| l.trim().trim_matches('`')));
    labels.chain(["le", "instance", "job"]).collect()
}

#[test]
fn the_dashboard_groups_and_names_only_by_labels_that_exist() {
    let known = labels();
    let text = std::fs::read_to_string(docker("grafana/dashboards/stashgate.json"));
    let text = text.expect("the dashboard");
    let inside = |begin: &'static str, end: char| {
        let parts = text.split(begin).skip(1);
        parts.filter_map(move |part| part.split(end).next())
    };
    let grouped = inside("by (", ')').flat_map(|labels| labels.split(", "));
    let named = inside("{{", '}');
    let mut asked = 0;
    for label in grouped.chain(named) {
        assert!(known.contains(label), "{label}");
        asked += 1;
    }
    assert!(asked > 30, "only {asked} labels are named");
}

#[test]
fn what_is_worth_an_alert_has_one() {
    let (_, rows) = METRICS.split_once("## Worth an alert").expect("the table");
    let rows = rows.lines().filter_map(|row| row.strip_prefix("| `"));
    let mut count = 0;
    for row in rows {
        let (when, _) = row.split_once(" |").expect("a cell");
        for name in named(when) {
            let watched = |line: &str| line.trim().starts_with("expr: ") && line.contains(name);
            assert!(ALERTS.lines().any(watched), "no alert for {name}");
        }
        count += 1;
    }
    assert!(count > 10, "the table is there");
}

/// What it says is held against promtool in `tests/peers_prometheus.rs`.
#[test]
fn each_alert_is_played_to_promtool() {
    let played = include_str!("peers/prometheus/alerts.yml");
    let names = ALERTS.lines().filter_map(|l| l.split_once("- alert: "));
    let mut count = 0;
    for (_, name) in names {
        let raised = format!("alertname: {name}\n");
        assert!(played.contains(&raised), "{name} is not");
        count += 1;
    }
    assert!(count > 10, "the alerts are there");
}

#[test]
fn what_is_let_into_the_image_can_be_built() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignore = std::fs::read_to_string(docker("Dockerfile.dockerignore")).expect("read");
    // The same folder each time, so that cargo does not keep the work of each.
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let target = kept.parent().expect("it is in the target folder");
    let context = kept.join("image");
    let _ = std::fs::remove_dir_all(&context);
    std::fs::create_dir_all(&context).expect("a folder");
    for name in ignore.lines().filter_map(|line| line.strip_prefix('!')) {
        let copied = Command::new("cp")
            .arg("-r")
            .arg(root.join(name))
            .arg(&context)
            .status();
        assert!(copied.expect("cp").success(), "{name}");
    }
    // As the Dockerfile builds it, but no further than the checks; what is compiled for
    // this package's own tests is used again.
    let checked = Command::new(env!("CARGO"))
        .args([
            "check",
            "--quiet",
            "--locked",
            "--offline",
            "--bin=stashgate",
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(&context)
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}
