//! Two gateways that share one Redis, each killed with SIGKILL under load again and
//! again: whatever either answered arrives, sent by whichever lives, under one id.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/load.rs"]
mod load;
mod redis_site;
mod redis_support;
#[path = "support/sink.rs"]
mod sink;

use std::time::Duration;

use futures_util::future::join_all;
use redis_site::{Member, STEADY, Site, in_redis};
use redis_support::RedisServer;
use sink::Sink;
use tokio::time::sleep;

const KILLS: usize = 20;

async fn kill_again_and_again(member: &mut Member) {
    member.load();
    for _ in 0..KILLS {
        member.start().await;
        member.books.some_more("after the gateway was killed").await;
        // Long enough for another one's batches to be reclaimed before some of the kills.
        sleep(Duration::from_millis(fastrand::u64(0..1_200))).await;
        member.kill();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_missing_after_both_gateways_were_killed_twenty_times() {
    let redis = RedisServer::start();
    let settings = in_redis(&redis, "heartbeat = \"1s\"");
    let mut site = Site::new(2, Sink::start(), &settings, STEADY);
    join_all(site.members.iter_mut().map(kill_again_and_again)).await;
    for member in &mut site.members {
        member.start().await;
    }
    let answers = site.members.iter().map(|member| member.books.answers());
    eprintln!("{:?} batches answered", answers.collect::<Vec<_>>());
    site.comes_out_even(&[&redis]).await;
}
