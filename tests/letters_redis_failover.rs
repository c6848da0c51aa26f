//! Dead letters in a Redis whose master is replaced by Sentinels: with `min_replicas`, what
//! was filed or returned is not lost, and filing and returning go on.

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
mod letters_redis_support;
mod letters_support;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;
mod redis_support;
#[path = "support/returning.rs"]
mod returning;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use desk::start;
use gateway::{Setup, eventually};
use letters::{post, refuse, refused};
use letters_redis_support::{refusals, store_with, unaccounted};
use letters_support::{names, options};
use logstash::Logstash;
use redis_support::sentinel::{MASTER, Sentinel};
use returning::{Returning, returned};
use stashgate::dead_letter::store::Store;
use stashgate::spool::redis::ServerOptions;

fn watched_by(sentinel: &Sentinel) -> ServerOptions {
    ServerOptions {
        sentinels: sentinel.sentinels(),
        sentinel_master: MASTER.to_owned(),
        ..ServerOptions::default()
    }
}

/// A gateway's filing, ten letters at a time.
#[derive(Default)]
struct Filing {
    /// How many were answered as filed.
    filed: AtomicU64,
    is_over: AtomicBool,
}

impl Filing {
    async fn run(&self, store: &Store) {
        while !self.is_over.load(Relaxed) {
            let first = self.filed.load(Relaxed);
            // Refused, or the answer was lost: filed again, as filing does.
            if store.file(refusals(first..first + 10)).await.is_ok() {
                self.filed.store(first + 10, Relaxed);
            }
        }
    }

    async fn goes_on(&self) {
        let enough = self.filed.load(Relaxed) + 100;
        eventually("more are filed", || self.filed.load(Relaxed) >= enough).await;
    }
}

/// Files all the time, before and after `replace`; what was answered is there.
async fn file_while(
    mut sentinel: Sentinel,
    min_replicas: u32,
    replace: impl FnOnce(&mut Sentinel),
) {
    let store = store_with(&watched_by(&sentinel), min_replicas, options());
    let filing = Arc::new(Filing::default());
    let (filer, files) = (filing.clone(), store.clone());
    let filer = tokio::spawn(async move { filer.run(&files).await });
    filing.goes_on().await;
    tokio::task::block_in_place(|| replace(&mut sentinel));
    filing.goes_on().await;
    filing.is_over.store(true, Relaxed);
    filer.await.expect("ran");
    let there: BTreeSet<_> = names(&store).await.into_iter().collect();
    let answered = (0..filing.filed.load(Relaxed)).map(|n| format!("id-{n}"));
    let missing: Vec<_> = answered.filter(|id| !there.contains(id)).take(10).collect();
    assert_eq!(missing, [""; 0], "answered as filed");
    store.expire(1).await.expect("looked");
    assert_eq!(unaccounted(&store), [0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filing_goes_on_when_the_master_dies_and_what_was_filed_is_there() {
    file_while(Sentinel::start(), 1, |sentinel| {
        sentinel.kill_master();
    })
    .await;
}

/// The old master goes on for some seconds: all replicas have to vouch for a letter.
#[tokio::test(flavor = "multi_thread")]
async fn filing_goes_on_when_the_master_is_replaced_and_what_was_filed_is_there() {
    file_while(Sentinel::start(), 2, |sentinel| sentinel.fail_over()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_goes_on_when_sentinels_replace_the_master() {
    const LETTERS: u64 = 8000;
    const MORE: u64 = 500;
    let mut sentinel = Sentinel::start();
    let logstash = Logstash::start().await;
    let settings = format!(
        "[spool]\nkind = \"redis\"\n[spool.redis]\nurl = \"redis://unused\"\nmin_replicas = 1\n\
         heartbeat = \"2s\"\nsentinel_master = \"{MASTER}\"\nsentinels = {:?}\n",
        sentinel.sentinels()
    );
    let setup = Setup::new(logstash.address(), &settings);
    let _gateway = start(&setup).await;
    let events: Vec<_> = (0..LETTERS + MORE).map(refused).collect();
    let (events, more) = events.split_at(LETTERS as usize);
    refuse(&setup, events).await;
    let returning = Returning::start(&setup);
    returning.is_half_way(&setup).await;
    sentinel.nodes[0].kill();
    // Kept meanwhile, and filed when it can be.
    post(&setup, more);
    returning.succeeds().await;
    logstash.sink().wait_for(0..LETTERS).await;
    eventually("the others are filed", || letters::held(&setup) == MORE).await;
    assert_eq!(returned(&setup), LETTERS);
    Returning::start(&setup).succeeds().await;
    logstash.sink().wait_for(0..LETTERS + MORE).await;
    assert_eq!(logstash.sink().faults(), 0);
    eventually("the books show it", || returned(&setup) == LETTERS + MORE).await;
}
