//! What a real OpenSearch refuses comes back, is repaired, is sent again, and is there
//! once. Skipped, with a message, where Java, Maven or the network is missing.

#[path = "support/command.rs"]
mod command;
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
mod redis_support;
#[path = "support/ruby.rs"]
mod ruby;
#[path = "support/site.rs"]
mod site;

use std::process::Stdio;
use std::time::{Duration, Instant};

use command::stashgate;
use redis_support::RedisServer;
use serde_json::{Value, json};
use site::{Site, plain};
use tokio::time::sleep;

/// The index has a number there.
const REPAIR: &str = ".user.id |= (ltrimstr(\"user-\") | tonumber)";

/// Each `conflict`th event has no number there.
fn event(n: u64, conflict: u64) -> Value {
    let mut event = plain(n);
    event["user"]["id"] = match n % conflict {
        0 => json!(format!("user-{n}")),
        _ => json!(n),
    };
    event
}

impl Site {
    /// How many letters wait for somebody, as the groups tell.
    async fn letters(&self) -> u64 {
        let groups = self.ask(&["dead-letters", "groups"]).await;
        groups
            .iter()
            .filter_map(|group| group["events"].as_u64())
            .sum()
    }

    /// Waits until as many letters are filed.
    async fn files(&self, letters: u64) {
        let until = Instant::now() + Duration::from_secs(120);
        while self.letters().await != letters {
            assert!(Instant::now() < until, "{letters} are never filed");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn refused_events_are_repaired_and_indexed_once(more: &str, events: u64) {
    let Some(site) = Site::new(more).await else {
        return;
    };
    let bad = events / 100;
    let _gateway = site.start().await;
    site.send(events, |n| event(n, 100)).await;
    site.comes_to((events - bad) as usize, bad as usize).await;
    site.indexer.post(site.setup.http).await;
    site.files(bad).await;

    // Logstash was killed before it wrote down how far it was: nothing changes.
    site.indexer.post_again(site.setup.http).await;
    let groups = site.ask(&["dead-letters", "groups"]).await;
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!(groups[0]["queue"], "logstash");
    assert_eq!(groups[0]["reason"], "mapping_conflict");
    assert_eq!(groups[0]["field"], "user.id");
    assert_eq!(groups[0]["events"], bad);

    let field = ["--field", "user.id"];
    let dead_letters = |words: &[&'static str]| [&["dead-letters"], words, &field].concat();
    let tried = site.ask(&dead_letters(&["repair", REPAIR])).await;
    assert_eq!(
        (&tried[0]["applied"], &tried[0]["done"]),
        (&json!(false), &json!(bad))
    );
    let repaired = site.ask(&dead_letters(&["repair", REPAIR, "--yes"])).await;
    assert_eq!(
        (&repaired[0]["applied"], &repaired[0]["done"]),
        (&json!(true), &json!(bad))
    );
    let returned = site.ask(&dead_letters(&["return"])).await;
    assert_eq!(returned[0]["done"], bad, "{returned:?}");
    site.comes_to(events as usize, 0).await;
    assert_eq!(site.letters().await, 0);

    // Late copies of what was repaired do not bring it back.
    site.indexer.post_again(site.setup.http).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(site.letters().await, 0);
    site.is_quiet().await;
    assert_eq!(site.indexer.ids() as u64, events);
    site.has_exactly(events).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn a_thousand_of_a_hundred_thousand_are_repaired_and_all_are_indexed_once() {
    refused_events_are_repaired_and_indexed_once("", 100_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn so_they_are_when_letters_and_events_wait_in_redis() {
    let server = RedisServer::start();
    let more = format!(
        "[spool]\nkind = \"redis\"\n[spool.journal]\nmin_free_bytes = 0\n\
         [spool.redis]\nurl = \"{}\"\n",
        server.url()
    );
    refused_events_are_repaired_and_indexed_once(&more, 20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn a_gateway_killed_in_the_middle_of_a_return_loses_and_doubles_nothing() {
    const EVENTS: u64 = 100_000;
    const BAD: u64 = 20_000;
    let Some(site) = Site::new("").await else {
        return;
    };
    let gateway = site.start().await;
    site.send(EVENTS, |n| event(n, EVENTS / BAD)).await;
    site.comes_to((EVENTS - BAD) as usize, BAD as usize).await;
    site.indexer.post(site.setup.http).await;
    site.files(BAD).await;
    let field = ["--field", "user.id"];
    let repaired = site
        .ask(&[&["dead-letters", "repair", REPAIR, "--yes"][..], &field].concat())
        .await;
    assert_eq!(repaired[0]["done"], BAD);

    let url = format!("http://{}", site.setup.admin);
    let mut returning = stashgate(&["dead-letters", "return", "--url", &url]);
    let returning = returning.args(field).stderr(Stdio::piped()).spawn();
    let returning = returning.expect("it starts");
    let before = (EVENTS - BAD) as usize;
    site.progress("some are back", || site.indexer.ids() > before)
        .await;
    gateway.kill();
    let killed_at = site.indexer.ids();
    assert!(killed_at < EVENTS as usize, "in the middle: {killed_at}");
    let _gateway = site.start().await;
    let ended = tokio::task::spawn_blocking(move || returning.wait_with_output());
    let ended = ended.await.expect("waited").expect("it ends");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(said.contains("trying again"), "in the middle: {said}");
    assert!(ended.status.success(), "{said}");
    site.comes_to(EVENTS as usize, 0).await;
    site.is_quiet().await;
    assert_eq!(site.letters().await, 0);
    site.has_exactly(EVENTS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn an_event_that_is_refused_for_ever_is_parked() {
    let Some(site) = Site::new("").await else {
        return;
    };
    let _gateway = site.start().await;
    site.send(1, |n| event(n, 1)).await;
    for attempt in 1..=3 {
        site.comes_to(0, 1).await;
        site.indexer.post(site.setup.http).await;
        site.files(1).await;
        // Logstash may have sent the earlier ones late.
        site.indexer.post_again(site.setup.http).await;
        sleep(Duration::from_secs(1)).await;
        let listed = site.ask(&["dead-letters", "list"]).await;
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0]["attempt"], attempt);
        assert_eq!(listed[0]["parked"], attempt == 3);
        let returned = site
            .ask(&["dead-letters", "return", "--field", "user.id"])
            .await;
        assert_eq!(returned[0]["done"], u64::from(attempt < 3), "{returned:?}");
    }
    site.is_quiet().await;
    assert_eq!((site.letters().await, site.indexer.refused()), (1, 0));
}

/// The expressions on the page about mappings, with the shipped templates.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Java, Maven and the network: make peers"]
async fn the_recipes_of_the_page_bring_each_event_in() {
    let page = format!("{}/docs/mapping.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(page).expect("the page is there");
    let blocks = page.split("```jq\n").skip(1);
    let recipes: Vec<&str> = blocks
        .filter_map(|rest| rest.split("\n```").next())
        .collect();
    assert_eq!(recipes.len(), 3);
    let Some(site) = Site::new("").await else {
        return;
    };
    let engine = site.engine;
    let counting = "/_index_template/numbers";
    engine.call("DELETE", counting, &Value::Null).await;
    let _gateway = site.start().await;
    for (done, recipe) in recipes.into_iter().enumerate() {
        site.send(1, |_| {
            json!({"@timestamp": "2026-11-20T10:00:00Z", "message": "hello",
                "event": {"duration": "fast"}})
        })
        .await;
        site.comes_to(done, 1).await;
        site.indexer.post(site.setup.http).await;
        site.files(1).await;
        let field = ["--field", "event.duration"];
        let repair = [&["dead-letters", "repair", recipe, "--yes"][..], &field].concat();
        assert_eq!(site.ask(&repair).await[0]["done"], 1, "{recipe}");
        let back = [&["dead-letters", "return"][..], &field].concat();
        assert_eq!(site.ask(&back).await[0]["done"], 1, "{recipe}");
        site.comes_to(done + 1, 0).await;
    }
    assert_eq!(engine.count("logstash-2026.11.20").await, 2);
    assert_eq!(engine.count("conflicts-2026.11.20").await, 1);
    let found = |query: &'static str| async move {
        let path = format!("/logstash-*/_search?q={query}");
        engine.call("GET", &path, &Value::Null).await["hits"].clone()
    };
    let renamed = found("labels.duration:fast").await;
    assert_eq!(renamed["total"]["value"], 1, "{renamed}");
    let kept = found("message:hello").await["hits"].clone();
    let kept = kept.as_array().expect("hits").iter();
    let originals: Vec<_> = kept
        .filter_map(|hit| hit["_source"]["event"]["original"].as_str())
        .collect();
    assert_eq!(originals.len(), 1);
    assert!(
        originals[0].contains(r#""duration":"fast""#),
        "{originals:?}"
    );
}
