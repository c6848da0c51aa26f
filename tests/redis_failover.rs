//! Gateways under load while the master of their Redis is replaced, by Sentinels and
//! in a cluster. With `min_replicas = 1`, nothing answered is missing.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/load.rs"]
mod load;
mod redis_site;
mod redis_support;
#[path = "support/sink.rs"]
mod sink;

use std::thread;
use std::time::Duration;

use http::{ask, events};
use redis_site::{STEADY, Site, in_redis};
use redis_support::cluster::Cluster;
use redis_support::sentinel::{MASTER, Sentinel};
use redis_support::{RedisServer, ServerKind, eventually};
use sink::Sink;

const SHARED: &str = "heartbeat = \"2s\"\nmin_replicas = 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_missing_after_sentinels_replaced_the_master() {
    let mut sentinel = Sentinel::start();
    let more = format!(
        "{SHARED}\nsentinel_master = \"{MASTER}\"\nsentinels = {:?}",
        sentinel.sentinels()
    );
    let settings = in_redis(&sentinel.nodes[0], &more);
    let mut site = Site::new(2, Sink::start(), &settings, STEADY);
    site.start().await;
    let now = sentinel.kill_master();
    site.some_time("after the master was killed").await;
    site.comes_out_even(&[&sentinel.nodes[now]]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_missing_after_a_cluster_replaced_masters() {
    let mut cluster = Cluster::start();
    let more = format!(
        "{SHARED}\nshards = 4\ncluster_nodes = {:?}",
        cluster.seeds()
    );
    let settings = in_redis(&cluster.nodes[0], &more);
    let mut site = Site::new(2, Sink::start(), &settings, STEADY);
    site.start().await;
    cluster.fail_over("logstash.0");
    site.some_time("after a master was replaced in good order")
        .await;
    cluster.kill_master_of("logstash.1");
    site.some_time("after a master was killed").await;
    let masters: Vec<&RedisServer> = cluster.nodes.iter().filter(|n| n.is_master()).collect();
    site.comes_out_even(&masters).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_the_replicas_that_are_needed_gets_no_batch_in_vain() {
    let redis = RedisServer::start();
    let mut site = Site::new(1, Sink::start(), &in_redis(&redis, SHARED), STEADY);
    site.start().await;
    site.some_time("without replicas").await;
    let accepted: Option<u64> = redis.ask(&["HGET", "{logstash}:ledger", "accepted"]);
    assert_eq!(accepted, None, "each batch is in Redis and in the journal");
    site.comes_out_even(&[&redis]).await;
}

fn replica_of(master: &RedisServer) -> RedisServer {
    let follow = format!("replicaof 127.0.0.1 {}", master.port());
    let replica = RedisServer::start_as(ServerKind {
        more: vec![follow],
        ..ServerKind::default()
    });
    eventually("the replica is in step", || master.has_a_replica_in_step());
    replica
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_no_replica_has_is_not_answered_because_its_answer_was_lost() {
    let delay = "repl-diskless-sync-delay 0".to_owned();
    let redis = RedisServer::start_as(ServerKind {
        more: vec![delay],
        ..ServerKind::default()
    });
    let mut replica = replica_of(&redis);
    let settings = in_redis(&redis, &format!("{SHARED}\nspill = false"));
    let mut site = Site::new(1, Sink::start(), &settings, STEADY);
    site.start().await;
    site.end_load().await;
    replica.stop();
    let http = site.members[0].setup.http;
    let sender = thread::spawn(move || {
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nHost: {http}\r\nContent-Type: application/x-ndjson"
        );
        ask(http, &head, &events(0..3))
    });
    // The batch is stored; its answer is held back until the replica has it.
    while !sender.is_finished() {
        let _: u64 = redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
        thread::sleep(Duration::from_millis(100));
    }
    let answer = sender.join().expect("an answer");
    assert_eq!(answer.status, 503, "{}", answer.body);
}
