//! Two gateways over one Redis whose people work on the same letters at the same time.

#[path = "support/command.rs"]
mod command;
#[path = "support/desk.rs"]
mod desk;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/letters.rs"]
mod letters;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;
mod redis_spool_support;
mod redis_support;
#[path = "support/returning.rs"]
mod returning;
mod workbench_support;

use std::collections::{BTreeMap, BTreeSet};

use gateway::{Setup, eventually};
use logstash::Logstash;
use redis_support::RedisServer;
use returning::{Returning, returned};
use serde_json::Value;
use stashgate::dead_letter::workbench::{Question, Report};
use workbench_support::*;

const LETTERS: u32 = 2000;

/// All letters, `limit` at a time.
fn by(limit: usize) -> Question {
    Question {
        limit: Some(limit),
        ..all()
    }
}

async fn repair_all(bench: &Bench, mut question: Question) -> Report {
    let mut sum = Report::default();
    loop {
        let report = bench.work.repair(&question).await.expect("repaired");
        add(&mut sum, &report);
        question.after = report.next;
        if question.after.is_none() {
            return sum;
        }
    }
}

/// All that waits, though another one put it there: `bench` sees that a little later.
async fn all_sent(bench: &Bench) -> Vec<Value> {
    let mut events = Vec::new();
    while bench.server().ask::<u64>(&["LLEN", "logstash"]) > 0 {
        events.extend(bench.sent(&queue()).await);
    }
    events
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// The books as this one sees them now.
async fn booked(bench: &Bench) -> u64 {
    bench.store.groups().await.expect("looked");
    bench.books().returned
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_gateways_that_return_the_same_letters_lose_none_and_book_each_once() {
    let one = Bench::with_letters(Kind::Redis, LETTERS).await;
    let other = one.beside().await;
    let (first, second) = (by(70), by(90));
    let (first, second) = tokio::join!(one.return_all(&first), other.return_all(&second));
    assert_eq!(first.done + second.done, u64::from(LETTERS));
    let mut sent = BTreeMap::<_, u32>::new();
    for event in all_sent(&one).await {
        *sent.entry(text(&event["@metadata"]["_id"])).or_default() += 1;
    }
    assert_eq!(sent.len() as u32, LETTERS);
    assert!(sent.values().all(|times| *times <= 2), "{sent:?}");
    for bench in [&one, &other] {
        assert_eq!(bench.held().await, []);
        assert_eq!(booked(bench).await, u64::from(LETTERS));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_gateway_repairs_while_another_returns_it_arrives_repaired() {
    let one = Bench::with_letters(Kind::Redis, LETTERS).await;
    let other = one.beside().await;
    let repair = Question {
        expression: Some(".user.id |= ltrimstr(\"u\")".into()),
        ..by(90)
    };
    let return_ = by(70);
    let (repaired, _) = tokio::join!(repair_all(&one, repair), other.return_all(&return_));
    // A letter that was repaired while it was sent is still held, repaired.
    let held = other.held().await;
    assert!(held.iter().all(|letter| letter.revision == 1), "{held:?}");
    one.return_all(&all()).await;
    assert_eq!(one.held().await, []);
    assert_eq!(booked(&one).await, u64::from(LETTERS));

    let mut sent: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in all_sent(&one).await {
        let id = text(&event["@metadata"]["_id"]);
        sent.entry(id)
            .or_default()
            .insert(text(&event["user"]["id"]));
    }
    assert_eq!(sent.len() as u32, LETTERS);
    let is_repaired = |users: &&BTreeSet<String>| users.iter().any(|user| !user.starts_with('u'));
    let arrived = sent.values().filter(is_repaired).count();
    assert_eq!(arrived as u64, repaired.done, "each repair that was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_commands_that_return_all_letters_by_two_gateways_both_end_well() {
    const LETTERS: u64 = 6000;
    let server = RedisServer::start();
    let logstash = Logstash::start().await;
    let url = server.url();
    let settings = format!("[spool]\nkind = \"redis\"\n[spool.redis]\nurl = \"{url}\"\n");
    let setups = [(); 2].map(|()| Setup::new(logstash.address(), &settings));
    let _gateways = [desk::start(&setups[0]).await, desk::start(&setups[1]).await];
    let events: Vec<_> = (0..LETTERS).map(letters::refused).collect();
    letters::refuse(&setups[0], &events).await;
    let commands = [&setups[0], &setups[1]].map(Returning::start);
    for command in commands {
        command.succeeds().await;
    }
    logstash.sink().wait_for(0..LETTERS).await;
    assert_eq!(logstash.sink().faults(), 0, "one id each");
    for setup in &setups {
        assert_eq!(letters::held(setup), 0);
        eventually("both see it", || returned(setup) == LETTERS).await;
    }
}
