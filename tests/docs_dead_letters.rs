//! What the pages tell to type about dead letters, typed: upon letters of events that
//! Elasticsearch refused, as Logstash's pipeline `dlq` posts them.

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

use std::fs;

use gateway::eventually;
use pages::{blocks, section};
use recipe::Site;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// One more queue that the pages speak of, to the same Logstash.
async fn site() -> Site {
    let mut site = Site::new("").await;
    site.add_queue("archive");
    site.start_gateway().await;
    site
}

/// The events came again, under their ids.
async fn came_again(site: &Site, events: u64) {
    let sink = site.logstash.sink();
    let twice = || sink.order().len() as u64 - sink.distinct();
    eventually("they come again", || twice() == events).await;
    assert_eq!(sink.faults(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_repairs_and_returns_letters() {
    let mut site = site().await;
    site.refuse(0..5, "user.id", json!(7)).await;
    let commands = section("README.md", "What cannot be processed");
    let said = site.type_all(&commands).await;
    assert!(said[0].contains("user.id"), "{said:?}");
    came_again(&site, 5).await;
    assert_eq!(site.letters(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_dead_letters_works_as_written() {
    const PAGE: &str = "docs/dead-letters.md";
    let mut site = site().await;
    site.refuse(0..5, "user.id", json!(7)).await;
    let id = site.logstash.sink().id(0);
    site.here.push(("0192f3c1a2b3c4d5", id.clone()));

    let said = site
        .type_all(&section("docs/dead-letters.md", "Look"))
        .await;
    assert!(said[0].contains("mapping_conflict"), "{said:?}");
    assert!(said[1..].iter().all(|said| said.contains(&id)), "{said:?}");
    let said = site
        .type_all(&section("docs/dead-letters.md", "Repair"))
        .await;
    assert!(said[0].contains("5 letters would change"), "{said:?}");

    site.type_all(&section("docs/dead-letters.md", "Out and in again"))
        .await;
    let better = fs::read_to_string(site.path("better.ndjson")).expect("written");
    assert_eq!(better.lines().count(), 5, "{better}");
    assert_eq!(site.letters(), 5);

    let said = site
        .type_all(&section("docs/dead-letters.md", "Over HTTP"))
        .await;
    assert!(
        said.iter().all(|said| !said.contains("\"error\":")),
        "{PAGE}: {said:?}"
    );
    came_again(&site, 5).await;

    site.refuse(5..8, "user.id", json!(7)).await;
    site.type_all(&section("docs/dead-letters.md", "Return"))
        .await;
    came_again(&site, 8).await;

    let mut tcp = TcpStream::connect(site.setup.tcp).await.expect("connects");
    tcp.write_all(b"no JSON\n").await.expect("written");
    eventually("it is filed", || site.lists(1)).await;
    site.type_all(&section("docs/dead-letters.md", "Discard"))
        .await;
    assert_eq!(site.letters(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_recipes_of_the_page_on_mappings_work_as_written() {
    let mut site = site().await;
    let page = blocks("docs/mapping.md");
    let repairs = page.iter().filter(|block| block.language == "jq");
    let repairs: Vec<String> = repairs.map(|block| block.lines.join("\n")).collect();
    assert_eq!(repairs.len(), 3);
    for (nth, repair) in (0..).zip(repairs) {
        site.refuse(nth * 5..nth * 5 + 5, "event.duration", json!("fast"))
            .await;
        let here = site.here.len();
        site.here.push(("EXPRESSION", repair));
        site.type_all(&section(
            "docs/mapping.md",
            "Mappings, and three ways out of a conflict",
        ))
        .await;
        site.type_all(&section("docs/mapping.md", "Three recipes"))
            .await;
        site.here.truncate(here);
        eventually("they left", || site.letters() == 0).await;
    }
    site.refuse(50..55, "event.duration", json!("fast")).await;
    site.type_all(&section("docs/mapping.md", "Store it elsewhere"))
        .await;
    let kept = fs::read_to_string(site.path("refused.ndjson")).expect("written");
    assert_eq!(kept.lines().count(), 5, "{kept}");
}
