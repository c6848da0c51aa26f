//! A real Prometheus scrapes a real gateway with the files of `docker/prometheus`, and
//! answers every query of the Grafana dashboard. Skipped, with a message, where
//! Prometheus is not installed.

#[path = "support/beats.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod beats;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/stack.rs"]
mod stack;

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use beats::{Beats, Fault, Script};
use gateway::{eventually, free};
use http::{ask, get};
use peer::Peer;
use serde_json::Value;
use stack::{ADMIN_TOKEN, Stack, docker, queries, replace};

/// Long enough for several scrapes in each phase.
const PATIENCE: Duration = Duration::from_secs(90);

/// A Prometheus with the settings of `docker/prometheus`; another address, other paths,
/// and it looks more often.
struct Prometheus {
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl Prometheus {
    fn new(gateway: SocketAddr) -> Self {
        let prometheus = Self {
            folder: tempfile::tempdir().expect("a folder"),
            address: free(),
        };
        std::fs::write(prometheus.path("token"), ADMIN_TOKEN).expect("written");
        std::fs::copy(docker("prometheus/alerts.yml"), prometheus.path("alerts")).expect("copied");
        let shown = |name: &str| prometheus.path(name).display().to_string();
        let config = replace(
            include_str!("../docker/prometheus/prometheus.yml"),
            &[
                ("scrape_interval: 15s", "scrape_interval: 1s"),
                ("evaluation_interval: 15s", "evaluation_interval: 1s"),
                ("/etc/prometheus/alerts.yml", &shown("alerts")),
                ("/run/secrets/admin_token", &shown("token")),
                ("gateway:7170", &gateway.to_string()),
            ],
        );
        std::fs::write(prometheus.path("config.yml"), config).expect("written");
        prometheus
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn start(&self) -> Peer {
        let [config, data] = ["config.yml", "data"].map(|name| self.path(name));
        let peer = Peer::start(
            Command::new("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", data.display()))
                .arg(format!("--web.listen-address={}", self.address)),
        );
        eventually("Prometheus is ready", || {
            TcpStream::connect(self.address).is_ok() && get(self.address, "/-/ready").status == 200
        })
        .await;
        peer
    }

    /// `GET path`: what it answers under `data`.
    fn api(&self, path: &str) -> Value {
        let answer = get(self.address, path);
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        assert_eq!(body["status"], "success", "{path}: {}", answer.body);
        body["data"].clone()
    }

    /// How many series `query` has now.
    fn series(&self, query: &str) -> usize {
        let found = self.api(&format!("/api/v1/query?query={}", escaped(query)));
        found["result"].as_array().expect("a list").len()
    }

    fn rules(&self) -> Vec<Value> {
        let found = self.api("/api/v1/rules");
        let groups = found["groups"].as_array().expect("groups");
        let rules = groups.iter().map(|group| group["rules"].as_array());
        rules.flatten().flatten().cloned().collect()
    }
}

fn escaped(query: &str) -> String {
    query.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What Debian's package brings; says so if it is not there.
fn is_installed() -> bool {
    let found = ["prometheus", "promtool"]
        .iter()
        .all(|program| Command::new(program).arg("--version").output().is_ok());
    if !found {
        eprintln!("skipped: there is no prometheus and promtool");
    }
    found
}

fn promtool(words: &[&str], file: PathBuf) {
    let output = Command::new("promtool").args(words).arg(file).output();
    let output = output.expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
}

/// Some of everything that is counted: good events, bad ones, and refused batches.
fn traffic(http: SocketAddr) {
    let head = |queue| {
        format!(
            "POST /v1/events?queue={queue} HTTP/1.1\r\nHost: {http}\r\n\
             Content-Type: application/x-ndjson"
        )
    };
    let text = "x".repeat(200);
    let mut lines: String = (0..200)
        .map(|n| format!("{{\"n\":{n},\"text\":\"{text}\"}}\n"))
        .collect();
    lines.push_str("no JSON\n");
    assert_eq!(ask(http, &head("logstash"), &lines).status, 200);
    assert_eq!(ask(http, &head("nowhere"), &lines).status, 404);
}

/// Sends on until `done` or nothing is left in `open`; a query that has data leaves it.
async fn watch(
    prometheus: &Prometheus,
    stack: &Stack,
    open: &mut BTreeSet<String>,
    done: impl Fn(&BTreeSet<String>) -> bool,
) {
    let until = Instant::now() + PATIENCE;
    while !done(open) && Instant::now() < until {
        traffic(stack.setup.http);
        open.retain(|query| prometheus.series(query) == 0);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus: make peers"]
async fn every_query_of_the_dashboard_has_data_and_every_alert_can_be_evaluated() {
    if !is_installed() {
        return;
    }
    let logstash = Beats::start().await;
    let stack = Stack::start(logstash.address()).await;
    let prometheus = Prometheus::new(stack.setup.admin);
    promtool(&["check", "config"], prometheus.path("config.yml"));
    let peer = prometheus.start().await;

    let mut open: BTreeSet<String> = queries().into_iter().collect();
    assert!(open.len() > 25, "the dashboard is there");
    // Deliveries that end in doubt; then an outage, in which the queue fills; then it
    // drains.
    let reset = Fault::Reset {
        processed: 1,
        acked: 0,
    };
    logstash.faults([reset; 40]);
    let is_of_an_outage = |query: &str| query.contains("time_to_");
    let only_the_outage = |open: &BTreeSet<String>| open.iter().all(|q| is_of_an_outage(q));
    watch(&prometheus, &stack, &mut open, only_the_outage).await;
    logstash.script(Script::Block);
    let no_filling = |open: &BTreeSet<String>| !open.iter().any(|q| q.contains("time_to_full"));
    watch(&prometheus, &stack, &mut open, no_filling).await;
    logstash.script(Script::Ack);
    watch(&prometheus, &stack, &mut open, BTreeSet::is_empty).await;
    assert_eq!(open, BTreeSet::new(), "queries without data");

    let rules = prometheus.rules();
    assert!(rules.len() > 10, "the alerts are loaded");
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    drop(stack);
    let is_down = |rule: &Value| rule["name"] == "StashgateDown" && rule["state"] != "inactive";
    eventually("the alert of a gateway that is down", || {
        prometheus.rules().iter().any(is_down)
    })
    .await;
    drop(peer);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs prometheus: make peers"]
async fn promtool_has_nothing_to_say_about_the_metrics() {
    if !is_installed() {
        return;
    }
    let logstash = Beats::start().await;
    let stack = Stack::start(logstash.address()).await;
    traffic(stack.setup.http);
    let scrape = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(scrape.path(), stack.get("/metrics").body).expect("written");
    let output = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(scrape.path()).expect("open"))
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "");
}

/// `tests/peers/prometheus/alerts.yml` plays to the alerts what they are for.
#[test]
#[ignore = "needs prometheus: make peers"]
fn each_alert_is_raised_by_what_it_is_for_and_by_nothing_else() {
    if !is_installed() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    promtool(
        &["test", "rules"],
        folder.join("tests/peers/prometheus/alerts.yml"),
    );
}
