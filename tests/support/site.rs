//! A gateway, a stand-in for Logstash and a real OpenSearch in a row. Its includer has
//! `command`, `gateway`, `http`, `indexer`, `opensearch`, `peer` and `ruby` beside it.

#![allow(dead_code)]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::command::{run, stashgate};
use super::gateway::{Gateway, PATIENCE, Setup, eventually};
use super::http;
use super::indexer::Indexer;
use super::opensearch::{Engine, OpenSearch, each_below};

/// The index of the day on which the events were.
pub(crate) const DAY: &str = "logstash-2026.11.20";

/// Events of a request.
const REQUEST: u64 = 5_000;

pub(crate) struct Site {
    pub(crate) setup: Setup,
    pub(crate) indexer: Indexer,
    pub(crate) engine: Engine,
    _opensearch: OpenSearch,
}

impl Site {
    /// `more` is added to the gateway's configuration. `None`, with a message:
    /// OpenSearch cannot be had here.
    pub(crate) async fn new(more: &str) -> Option<Self> {
        let opensearch = OpenSearch::start().await?;
        let engine = opensearch.engine();
        engine.templates().await;
        // Before the shipped one, for what is counted here.
        let number = json!({"type": "long"});
        let properties = json!({
            "@timestamp": {"type": "date"},
            "n": number,
            "user": {"properties": {"id": number}},
        });
        let template = json!({
            "index_patterns": ["logstash-*"],
            "priority": 300,
            "template": {"mappings": {"dynamic": false, "properties": properties}},
        });
        let answer = engine
            .call("PUT", "/_index_template/numbers", &template)
            .await;
        assert_eq!(answer["acknowledged"], true, "{answer}");
        let indexer = Indexer::start(engine).await;
        let setup = Setup::new(indexer.address, more);
        setup.output("protocol = \"lumberjack\"");
        Some(Self {
            setup,
            indexer,
            engine,
            _opensearch: opensearch,
        })
    }

    /// Starts the gateway and waits until it is ready.
    pub(crate) async fn start(&self) -> Gateway {
        let gateway = self.setup.start_and_wait().await;
        let admin = self.setup.admin;
        eventually("ready", || http::get(admin, "/readyz").status == 200).await;
        gateway
    }

    /// Sends the events of these numbers.
    pub(crate) async fn send(&self, events: u64, event: fn(u64) -> Value) {
        let http = self.setup.http;
        for first in (0..events).step_by(REQUEST as usize) {
            let numbers = first..events.min(first + REQUEST);
            let lines: String = numbers.map(|n| format!("{}\n", event(n))).collect();
            let sent = tokio::task::spawn_blocking(move || http::post(http, &lines));
            sent.await.expect("taken");
        }
    }

    /// Waits until so many different events are indexed and so many refused.
    pub(crate) async fn comes_to(&self, indexed: usize, refused: usize) {
        let seen = || (self.indexer.ids(), self.indexer.refused());
        self.progress("all are answered", || seen() == (indexed, refused))
            .await;
    }

    /// Waits until `holds`, for as long as events are answered meanwhile.
    pub(crate) async fn progress(&self, what: &str, holds: impl Fn() -> bool) {
        let sum = || (self.indexer.indexed(), self.indexer.refused());
        let (mut last, mut until) = (sum(), Instant::now() + PATIENCE);
        while !holds() {
            if sum() != last {
                (last, until) = (sum(), Instant::now() + PATIENCE);
            }
            assert!(
                Instant::now() < until,
                "never happened: {what}: {} ids, {} refused\n{}",
                self.indexer.ids(),
                self.indexer.refused(),
                self.setup.log()
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// `stashgate ARGUMENTS --json` for this gateway: its lines.
    pub(crate) async fn ask(&self, arguments: &[&str]) -> Vec<Value> {
        let url = format!("http://{}", self.setup.admin);
        let mut command = stashgate(arguments);
        command.args(["--json", "--url", &url]);
        let ended = tokio::task::spawn_blocking(move || run(&mut command));
        let ended = ended.await.expect("run");
        assert_eq!(
            ended.code,
            Some(0),
            "{arguments:?}: {}{}",
            ended.out,
            ended.err
        );
        let lines = ended.out.lines();
        let read = lines.map(|line| serde_json::from_str(line).expect("JSON"));
        read.collect()
    }

    /// Waits until nothing is on its way any more, and looks into the queue's books.
    pub(crate) async fn is_quiet(&self) -> Value {
        let until = Instant::now() + 2 * PATIENCE;
        loop {
            let status = self.setup.status().await;
            let queue = &status["queues"][0];
            let book = |name: &str| queue["ledger"][name].as_u64().expect("a number");
            let came: u64 = ["accepted", "returned", "replayed"].map(book).iter().sum();
            if came == book("confirmed") {
                assert_eq!(queue["unaccounted_events"], 0, "{status}");
                return queue["ledger"].clone();
            }
            assert!(Instant::now() < until, "{status}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The day's index has exactly the events of these numbers, once each.
    pub(crate) async fn has_exactly(&self, events: u64) {
        assert_eq!(self.engine.count(DAY).await, events);
        assert_eq!(self.engine.numbers(DAY).await, each_below(events));
        assert_eq!(self.engine.count("*").await, events, "in no other index");
    }
}

/// An event of that day.
pub(crate) fn plain(n: u64) -> Value {
    let time = format!("2026-11-20T{:02}:{:02}:00Z", n % 24, n / 24 % 60);
    json!({"@timestamp": time, "message": format!("event {n}"), "n": n})
}
