//! The ACL user of `docs/redis.md` may do all that the spool does, also when
//! answers are lost, and nothing to the keys of others.

mod journal_support;
mod letters_redis_support;
mod letters_support;
mod redis_spool_support;
mod redis_support;

use deadpool_redis::redis::Value;
use journal_support::*;
use letters_redis_support::{refusals, store_with};
use letters_support::{attempt, expired, forgetful, held, options as letters_options, other};
use redis_spool_support::proxy::{Cut, Proxy};
use redis_spool_support::{open, options};
use redis_support::{RedisServer, ask, client};
use stashgate::batch::QueueName;
use stashgate::dead_letter::store::{Fate, Order, Selection, Span};
use stashgate::spool::redis::element::Compression;
use stashgate::spool::redis::nodes::Nodes;
use stashgate::spool::redis::nodes::facts::Facts;
use stashgate::spool::redis::{Options, ServerOptions};

/// The line of the page, word by word.
fn documented() -> Vec<&'static str> {
    let page = include_str!("../docs/redis.md");
    let line = page.lines().map(str::trim);
    let mut line = line.filter(|line| line.starts_with("ACL SETUSER stashgate "));
    line.next().expect("the line is there").split(' ').collect()
}

fn as_user(url: &str) -> ServerOptions {
    ServerOptions {
        url: url.to_owned(),
        user: Some("stashgate".to_owned()),
        password: Some("PASSWORD".to_owned()),
        ..ServerOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_user_can_work_and_lose_answers() {
    let server = RedisServer::start();
    let _: String = server.ask(&documented());
    let proxy = Proxy::start(server.port()).await;
    let spool = open(Options {
        server: as_user(&proxy.url()),
        compression: Compression::None,
        ..options(&proxy.url())
    })
    .await;
    append_numbers(&spool, 0..2).await;
    proxy.cut(Cut::AfterRequest("RPUSH"));
    append_numbers(&spool, 2..3).await;
    proxy.cut(Cut::HoldRequest("RPUSH"));
    append_numbers(&spool, 3..4).await;
    proxy.release().await;
    append_numbers(&spool, 4..5).await;
    ack_numbers(&spool, 0..5).await;
    assert_eq!(proxy.cuts(), 2);
    let books = stats(&spool);
    assert_eq!(books.ledger.confirmed, books.ledger.accepted);
    spool.close().await;
    assert_eq!(server.ask::<u64>(&["LLEN", "logstash"]), 0);
    let denied: Vec<Value> = server.ask(&["ACL", "LOG"]);
    assert_eq!(denied, [], "something was refused on the way");
}

#[tokio::test]
async fn the_documented_user_can_keep_dead_letters() {
    let server = RedisServer::start();
    let _: String = server.ask(&documented());
    let store = store_with(&as_user(&server.url()), 0, letters_options());
    for _ in 0..2 {
        store.file(refusals(0..10)).await.expect("filed");
    }
    let others = vec![other(0, 1), attempt(1, 2)];
    store.file(others).await.expect("filed");
    let letters = held(&store).await;
    let selection = Selection {
        queue: Some(QueueName::default()),
        ..Selection::default()
    };
    let span = Span {
        from: 0,
        to: 1 << 60,
    };
    let numbers = store.numbers(&selection, span, Order::NewestFirst, 5);
    assert_eq!(numbers.await.expect("listed").len(), 5);
    let found = store.find(&QueueName::default(), &letters[0].name).await;
    assert_eq!(found, Ok(Some(letters[0].number)));
    let repair = vec![(letters[0].handle(), "{}".into())];
    assert_eq!(store.rewrite(repair).await, Ok(1));
    let handles: Vec<_> = letters[1..3].iter().map(|l| l.handle()).collect();
    assert_eq!(store.settle(&handles, Fate::Returned).await, Ok(2));
    let restored = letters[1..3].to_vec();
    store.restore(restored).await.expect("restored");
    drop(store);
    let store = store_with(&as_user(&server.url()), 0, forgetful());
    assert!(expired(&store, 100).await > 0);
    assert_eq!(store.groups().await.expect("groups"), []);
    let denied: Vec<Value> = server.ask(&["ACL", "LOG"]);
    assert_eq!(denied, [], "something was refused on the way");
}

#[tokio::test]
async fn the_documented_user_sees_all_facts_and_no_keys_of_others() {
    let server = RedisServer::start();
    let _: String = server.ask(&documented());
    let nodes = Nodes::new(&as_user(&server.url())).expect("settings");
    let mut conn = nodes.connect("logstash").await.expect("logged in");
    let facts = Facts::of(&mut conn).await.expect("told");
    assert_eq!(facts.fsync.as_deref(), Some("always"));
    let mut own = client(&format!("redis://stashgate:PASSWORD@{}", server.address()));
    let others: [&[&str]; 3] = [
        &["RPUSH", "other", "x"],
        &["CONFIG", "SET", "maxmemory", "0"],
        &["FLUSHALL"],
    ];
    for words in others {
        let refused = ask::<u64>(&mut own, words).expect_err("refused");
        assert!(refused.to_string().contains("permission"), "{refused}");
    }
}
