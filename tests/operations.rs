//! The recipes of docs/operations.md, each typed as it stands there; what a person does
//! in between is done here. Redis is real, Logstash and Elasticsearch are stand-ins.

#[path = "support/beats.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod beats;
#[path = "support/elastic.rs"]
mod elastic;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;
#[path = "support/pages.rs"]
mod pages;
#[path = "support/recipe.rs"]
mod recipe;
mod redis_support;

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use beats::{Fault, Script};
use gateway::{PATIENCE, eventually};
use http::{ask, events, get, post};
use pages::{Typed, section};
use recipe::Site;
use redis_support::{RedisServer, ServerKind};
use serde_json::{Value, json};

/// A recipe; it is typed to its end.
struct Recipe {
    left: std::vec::IntoIter<Typed>,
}

impl Recipe {
    fn new(commands: Vec<Typed>) -> Self {
        Self {
            left: commands.into_iter(),
        }
    }

    /// Types what comes up to a command that begins so, and that one; what this one says.
    async fn up_to(&mut self, site: &mut Site, begin: &str) -> String {
        for command in self.left.by_ref() {
            let said = site.types(&command).await;
            if command.text.starts_with(begin) {
                return said;
            }
        }
        panic!("the recipe has no {begin}");
    }

    /// Types the rest.
    async fn rest(self, site: &mut Site) {
        site.type_all(&self.left.collect::<Vec<_>>()).await;
    }
}

fn status(site: &Site) -> Value {
    let body = get(site.setup.admin, "/api/v1/status").body;
    serde_json::from_str(&body).expect("JSON")
}

fn queue(site: &Site) -> Value {
    status(site)["queues"][0].clone()
}

/// All of them arrived, none of them under two ids, and the books are even.
async fn all_arrived(site: &Site, numbers: Range<u64>) {
    site.logstash.sink().wait_for(numbers).await;
    assert_eq!(site.logstash.sink().faults(), 0);
    let is_settled = || {
        let queue = queue(site);
        queue["waiting_events"] == 0 && queue["leased_events"] == 0
    };
    eventually("all is confirmed", is_settled).await;
    assert_eq!(queue(site)["unaccounted_events"], 0);
}

fn came_twice(site: &Site) -> u64 {
    let sink = site.logstash.sink();
    sink.order().len() as u64 - sink.distinct()
}

/// Waits until the status says this.
async fn says(site: &mut Site, status: &Typed, words: &str) {
    let until = Instant::now() + PATIENCE;
    loop {
        let said = site.types(status).await;
        if said.contains(words) {
            return;
        }
        assert!(Instant::now() < until, "not {words}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_says_what_is_wrong_in_the_words_of_the_page() {
    let mut site = Site::start("").await;
    let [status] = &section("docs/operations.md", "What is wrong?")[..] else {
        panic!("one command tells");
    };
    says(&mut site, status, "unaccounted: 0").await;
    site.logstash.stop(Duration::from_millis(50)).await;
    post(site.setup.http, &events(0..10));
    says(&mut site, status, "is unreachable").await;
    site.logstash.script(Script::Block);
    site.logstash.start_again().await;
    says(&mut site, status, "is blocked").await;
    post(site.setup.http, &format!("{}no JSON\n", events(10..11)));
    says(&mut site, status, "dead letters  1 ").await;
    site.logstash.script(Script::Ack);
    all_arrived(&site, 0..11).await;
    let hold = Typed {
        text: "stashgate hold logstash".to_owned(),
        ..status.clone()
    };
    site.types(&hold).await;
    says(&mut site, status, "is held").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logstash_is_upgraded_and_nothing_is_sent_twice() {
    let mut site = Site::start("").await;
    let mut recipe = Recipe::new(section("docs/operations.md", "Upgrade Logstash"));
    post(site.setup.http, &events(0..500));
    recipe.up_to(&mut site, "systemctl stop").await;
    post(site.setup.http, &events(500..1_000));
    let before = site.logstash.sink().distinct();
    recipe.rest(&mut site).await;
    all_arrived(&site, 0..1_000).await;
    assert!(before <= 500, "{before} came before the resume");
    assert_eq!(came_twice(&site), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_is_upgraded_while_events_wait_at_the_gateway() {
    let mut site = Site::start("").await;
    let mut recipe = Recipe::new(section("docs/operations.md", "Upgrade Elasticsearch"));
    recipe.up_to(&mut site, "while").await;
    post(site.setup.http, &events(0..500));
    assert_eq!(queue(&site)["waiting_events"], 500);
    recipe.rest(&mut site).await;
    all_arrived(&site, 0..500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mapping_refused_is_repaired_and_returned_under_its_ids() {
    let mut site = Site::start("").await;
    site.refuse(0..3, "took", json!("7")).await;
    let mut recipe = Recipe::new(section("docs/operations.md", "A mapping conflict"));
    let groups = recipe
        .up_to(&mut site, "stashgate dead-letters groups")
        .await;
    assert!(groups.contains("took"), "{groups}");
    recipe.rest(&mut site).await;
    eventually("they come again", || came_twice(&site) == 3).await;
    all_arrived(&site, 0..3).await;
    assert_eq!(status(&site)["dead_letters"]["held"], 0);
}

/// A thousand events of today and three that were refused, repaired and returned, all of
/// them indexed; what the recipe of a lost day is typed upon.
async fn a_day() -> (Site, Recipe) {
    let mut site = Site::start("").await;
    post(site.setup.http, &events(0..1_000));
    site.refuse(1_000..1_003, "took", json!("7")).await;
    let repair = Recipe::new(section("docs/operations.md", "A mapping conflict"));
    repair.rest(&mut site).await;
    eventually("they come again", || came_twice(&site) == 3).await;
    all_arrived(&site, 0..1_003).await;
    let recipe = Recipe::new(section("docs/operations.md", "Elasticsearch lost a day"));
    (site, recipe)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_day_is_replayed_over_what_is_left_of_it_and_into_an_empty_index() {
    let (mut site, mut recipe) = a_day().await;
    recipe.up_to(&mut site, "stashgate replay status").await;
    // The refused ones in both of their forms.
    eventually("all came again", || came_twice(&site) == 3 + 1_006).await;
    assert_eq!(site.elastic.documents(), 1_003);
    recipe.up_to(&mut site, "curl -sS -X DELETE").await;
    assert_eq!(site.elastic.documents(), 0);
    let returned = "stashgate replay --from";
    let said = recipe.up_to(&mut site, returned).await;
    assert!(
        said.contains("picked by the expression: 3 events"),
        "{said}"
    );
    recipe.rest(&mut site).await;
    eventually("the day is there again", || {
        site.elastic.documents() == 1_003
    })
    .await;
    all_arrived(&site, 0..1_003).await;
}

/// `POST /v1/events`; the status of the answer.
fn answer_to(site: &Site, lines: &str) -> u16 {
    let http = site.setup.http;
    let head = format!("POST /v1/events HTTP/1.1\r\nHost: {http}");
    let head = format!("{head}\r\nContent-Type: application/x-ndjson");
    ask(http, &head, lines).status
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_folder_moves_from_a_full_disk_to_a_bigger_one() {
    const ROOM: &str = "min_free_bytes = \"1MiB\"";
    const FULL: &str = "min_free_bytes = \"1PiB\"";
    let mut site = Site::start(&format!("[spool.journal]\n{ROOM}")).await;
    site.logstash.stop(Duration::from_millis(50)).await;
    post(site.setup.http, &events(0..500));
    // No disk has so much room.
    site.stop_gateway().await;
    site.set(ROOM, FULL);
    site.start_gateway().await;
    assert_eq!(answer_to(&site, &events(500..501)), 429);
    let mut recipe = Recipe::new(section("docs/operations.md", "The disk is full"));
    let said = recipe.up_to(&mut site, "stashgate status").await;
    assert!(said.contains("FULL        the disk"), "{said}");
    let big = site.path("big");
    fs::create_dir(&big).expect("made");
    site.here.push(("/mnt/big", big.display().to_string()));
    recipe.up_to(&mut site, "stashgate journal check").await;
    let old = site.setup.data_dir().display().to_string();
    let new = big.join("stashgate").display().to_string();
    site.set(
        &format!("data_dir = \"{old}\""),
        &format!("data_dir = \"{new}\""),
    );
    site.set(FULL, ROOM);
    recipe.rest(&mut site).await;
    assert!(!Path::new(&old).exists());
    site.logstash.start_again().await;
    post(site.setup.http, &events(500..600));
    all_arrived(&site, 0..600).await;
}

/// The settings of a spool in `redis`.
fn in_redis(redis: &RedisServer) -> String {
    format!(
        "[spool]\nkind = \"redis\"\n[spool.journal]\nmin_free_bytes = 0\n\
         [spool.redis]\nurl = \"{}\"\ncompression = \"none\"\n",
        redis.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_redis_gets_more_memory_and_takes_batches_again() {
    const EVENTS: u64 = 100;
    let redis = RedisServer::start_as(ServerKind {
        maxmemory: 16 << 20,
        ..ServerKind::default()
    });
    let mut site = Site::start(&in_redis(&redis)).await;
    site.here.push(("redis.example.com:6379", redis.address()));
    site.logstash.script(Script::Block);
    let text = "x".repeat(5_000);
    let mut sent = 0;
    let mut send = |site: &Site| {
        let line = |n| format!("{{\"n\":{n},\"text\":\"{text}\"}}\n");
        post(
            site.setup.http,
            &(sent..sent + EVENTS).map(line).collect::<String>(),
        );
        sent += EVENTS;
        sent
    };
    let spilled = |site: &Site| queue(site)["spill"]["waiting_events"].as_u64().unwrap_or(0);
    while spilled(&site) == 0 {
        send(&site);
    }
    let recipe = Recipe::new(section("docs/operations.md", "Redis is full"));
    recipe.rest(&mut site).await;
    assert_eq!(
        redis.ask::<Vec<String>>(&["CONFIG", "GET", "maxmemory"])[1],
        "1073741824"
    );
    // Until the gateway has looked, some more are spilled.
    eventually("Redis takes a batch again", || {
        let before = spilled(&site);
        send(&site);
        spilled(&site) == before
    })
    .await;
    let sent = send(&site);
    site.logstash.script(Script::Ack);
    all_arrived(&site, 0..sent).await;
}

/// What the agent does with an event.
fn agent_put(redis: &RedisServer, event: &str, dated: &str) {
    redis.ask::<u64>(&["RPUSH", "logstash", event]);
    redis.ask::<u64>(&["RPUSH", dated, event]);
    redis.ask::<u64>(&["EXPIRE", dated, "604800"]);
}

/// The name of a day's dated list; the agent does not pad numbers.
fn dated_list(day: jiff::Timestamp) -> String {
    day.strftime("logstash-%Y/%-m/%-d").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lists_of_the_old_agent_are_drained_and_its_day_is_replayed() {
    let redis = RedisServer::start();
    let now = jiff::Timestamp::now();
    let yesterday = now - Duration::from_secs(86_400);
    for n in 0..200 {
        agent_put(&redis, &format!("{{\"n\":{n}}}"), &dated_list(yesterday));
    }
    // Those it delivered; the next ones wait.
    redis.ask::<u64>(&["DEL", "logstash"]);
    for n in 200..260 {
        agent_put(&redis, &format!("{{\"n\":{n}}}"), &dated_list(now));
    }
    let mut site = Site::new(&in_redis(&redis)).await;
    let day = |form: &str| yesterday.strftime(form).to_string();
    site.here.push(("redis.example.com:6379", redis.address()));
    site.here.push(("2026-11-20", day("%Y-%m-%d")));
    site.here.push(("2026.11.20", day("%Y.%m.%d")));
    let mut recipe = Recipe::new(section("docs/operations.md", "Moving from the old agent"));
    recipe.up_to(&mut site, "systemctl start").await;
    // As the services sent to the agent, and by its other form of body.
    let head = format!("POST /put HTTP/1.1\r\nHost: {}", site.setup.http);
    let form = format!("{head}\r\nContent-Type: application/x-www-form-urlencoded");
    assert_eq!(ask(site.setup.http, &form, "text=form").status, 200);
    let json = format!("{head}\r\nContent-Type: application/json");
    assert_eq!(
        ask(site.setup.http, &json, "{\"n\":260}").body,
        "{\"result\":\"ok\"}"
    );
    recipe.up_to(&mut site, "while").await;
    site.logstash.sink().wait_for(200..261).await;
    assert_eq!(came_twice(&site), 0);
    recipe.rest(&mut site).await;
    // The whole of that day, and nothing of another.
    eventually("the day is there again", || site.elastic.documents() == 200).await;
    site.logstash.sink().assert_has(0..200);
    assert_eq!(came_twice(&site), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_gateway_holds_nothing_but_its_archive() {
    let mut site = Site::start("").await;
    let mut recipe = Recipe::new(section("docs/operations.md", "Retire a gateway"));
    // It has to wait for a while.
    let late = Fault::LateAck(Duration::from_secs(2));
    site.logstash.faults([late, late]);
    post(site.setup.http, &events(0..500));
    post(site.setup.http, "no JSON\n");
    recipe.up_to(&mut site, "while").await;
    all_arrived(&site, 0..500).await;
    eventually("the letter is filed", || site.lists(1)).await;
    recipe.rest(&mut site).await;
    let letters = fs::read_to_string(site.path("letters.ndjson")).expect("written");
    assert!(letters.contains("no JSON"), "{letters}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_gateway_runs_on_the_folder_of_an_older_release() {
    let mut site = Site::start("").await;
    let recipe = Recipe::new(section("docs/operations.md", "Upgrade the gateway"));
    // The folder as the release before left it, with 9 events that wait.
    site.stop_gateway().await;
    let data = site.setup.data_dir();
    fs::remove_dir_all(&data).expect("removed");
    let copied = Command::new("cp")
        .args(["-r", "tests/data/old-release"])
        .arg(&data)
        .status();
    assert!(copied.expect("cp").success());
    site.start_gateway().await;
    // Its program is not there any more; the new one is here.
    fs::rename(site.path("bin/stashgate"), site.path("stashgate")).expect("moved");
    let bin = site.path("bin").display().to_string();
    site.here.push(("/usr/local/bin", bin));
    recipe.rest(&mut site).await;
    all_arrived(&site, 0..9).await;
    eventually("the letter that it kept", || site.letters() == 1).await;
}
