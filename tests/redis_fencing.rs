//! Several gateways on one Redis: who is dead, who only slept, and whose batches are
//! whose.

mod journal_support;
mod redis_spool_support;
mod redis_support;

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use journal_support::*;
use redis_spool_support::{HEARTBEAT, open, options, reclaimed, short_lived};
use redis_support::{RedisServer, ServerKind};
use rustix::process::{Pid, Signal, kill_process};
use stashgate::spool::{Lease, Spool};

/// A gateway's spool in a process of its own: this very program, told by these.
const URL: &str = "REDIS_FENCING_URL";

/// What [`Gateway`] runs; nothing by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_of_its_own() {
    let Ok(url) = std::env::var(URL) else {
        return;
    };
    let spool = open(short_lived(&url)).await;
    let mut leases: Vec<Lease> = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.expect("read");
        let said = match line.as_str() {
            "lease" => {
                let (number, lease) = lease_number(&spool).await;
                leases.push(lease);
                format!("leased {number}")
            }
            "ack" => match leases.remove(0).ack(0).await {
                Ok(()) => "acked".to_owned(),
                Err(_) => "refused".to_owned(),
            },
            "payload" => match leases[0].payload().await {
                Ok(_) => "readable".to_owned(),
                Err(_) => "not ours".to_owned(),
            },
            _ => break,
        };
        println!("> {said}");
    }
    spool.close().await;
}

struct Gateway {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Gateway {
    fn start(url: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "a_gateway_of_its_own", "--nocapture"])
            .env(URL, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let said = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, said }
    }

    /// Tells it something; what it answers.
    fn ask(&mut self, what: &str) -> String {
        let stdin = self.process.stdin.as_mut().expect("piped");
        writeln!(stdin, "{what}").expect("told");
        loop {
            let line = self.said.next().expect("it lives").expect("read");
            // The test harness may have begun the line.
            if let Some((_, said)) = line.split_once("> ") {
                return said.to_owned();
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("it takes signals");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn length(server: &RedisServer) -> u64 {
    server.ask(&["LLEN", "logstash"])
}

/// All is confirmed, once, and nobody holds anything.
async fn all_is_settled(server: &RedisServer, spool: &Spool) {
    spool.close().await;
    let again = open(options(&server.url())).await;
    let books = stats(&again);
    assert_eq!((books.waiting_events, books.leased_events), (0, 0));
    assert_eq!(books.ledger.confirmed, books.ledger.accepted);
    assert_eq!(length(server), 0);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_slept_and_was_reclaimed_settles_nobody_elses_lease() {
    let server = RedisServer::start();
    let spool = open(short_lived(&server.url())).await;
    append_numbers(&spool, 0..5).await;
    let mut other = Gateway::start(&server.url());
    let first = [other.ask("lease"), other.ask("lease"), other.ask("lease")];
    assert_eq!(first, ["leased 0", "leased 1", "leased 2"]);
    other.signal(Signal::STOP);
    until("it is reclaimed", || reclaimed(&spool) > 0).await;
    // In their old order, before all that waited.
    let (number, held) = lease_number(&spool).await;
    assert_eq!(number, 0);
    ack_numbers(&spool, 1..3).await;
    other.signal(Signal::CONT);
    assert_eq!(other.ask("payload"), "not ours");
    for _ in 0..3 {
        // Refused at once, or when Redis is told: it may not know yet.
        other.ask("ack");
    }
    // It goes on as a new holder.
    append_numbers(&spool, 5..6).await;
    let mut left = vec![other.ask("lease")];
    assert_eq!(other.ask("ack"), "acked");
    drop(other.process.stdin.take());
    other.process.wait().expect("ended");
    held.ack(0)
        .await
        .expect("ours, whatever the other one said");
    for number in drain(&spool).await {
        left.push(format!("leased {number}"));
    }
    left.sort_unstable();
    assert_eq!(left, ["leased 3", "leased 4", "leased 5"]);
    all_is_settled(&server, &spool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_batches_of_a_gateway_that_was_killed_come_again_in_order() {
    let server = RedisServer::start();
    let spool = open(short_lived(&server.url())).await;
    append_numbers(&spool, 0..4).await;
    let mut other = Gateway::start(&server.url());
    assert_eq!(other.ask("lease"), "leased 0");
    assert_eq!(other.ask("lease"), "leased 1");
    assert_eq!(other.ask("ack"), "acked");
    until("Redis knows of it", || stats(&spool).ledger.confirmed == 1).await;
    drop(other);
    until("it is reclaimed", || reclaimed(&spool) > 0).await;
    ack_numbers(&spool, 1..4).await;
    all_is_settled(&server, &spool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_ends_in_good_order_leaves_nothing_to_reclaim() {
    let server = RedisServer::start();
    let first = open(options(&server.url())).await;
    append_numbers(&first, 0..3).await;
    let held = lease(&first).await;
    first.close().await;
    assert!(held.ack(0).await.is_err());
    assert_eq!(length(&server), 3);
    let second = open(options(&server.url())).await;
    ack_numbers(&second, 0..3).await;
    assert_eq!(reclaimed(&second), 0);
    all_is_settled(&server, &second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_reclaims_the_living_when_redis_was_frozen() {
    let mut server = RedisServer::start();
    let first = open(short_lived(&server.url())).await;
    let second = open(short_lived(&server.url())).await;
    append_numbers(&first, 0..2).await;
    let (_, one) = lease_number(&first).await;
    let both = open(short_lived(&server.url())).await;
    server.stop();
    tokio::time::sleep(3 * HEARTBEAT).await;
    server.cont();
    let (_, other) = lease_number(&second).await;
    tokio::time::sleep(3 * HEARTBEAT).await;
    one.ack(0).await.expect("still held");
    other.ack(0).await.expect("still held");
    assert_eq!(reclaimed(&both), 0);
    both.close().await;
    first.close().await;
    all_is_settled(&server, &second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_held_for_many_heartbeats_is_not_reclaimed() {
    let server = RedisServer::start();
    let first = open(short_lived(&server.url())).await;
    let second = open(short_lived(&server.url())).await;
    append_numbers(&first, 0..1).await;
    let held = lease(&first).await;
    tokio::time::sleep(3 * HEARTBEAT).await;
    assert_eq!(reclaimed(&second), 0);
    held.ack(0).await.expect("still held");
    second.close().await;
    all_is_settled(&server, &first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_gateway_fetched_and_does_not_take_another_one_gets() {
    let server = RedisServer::start();
    let first = open(options(&server.url())).await;
    append_numbers(&first, 0..10).await;
    let held = lease(&first).await;
    let second = open(options(&server.url())).await;
    ack_numbers(&second, 1..10).await;
    held.ack(0).await.expect("ours");
    second.close().await;
    all_is_settled(&server, &first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_are_remembered_of_batches_that_went_back_to_redis() {
    let server = RedisServer::start();
    let spool = open(options(&server.url())).await;
    append_numbers(&spool, 0..1).await;
    drop(lease(&spool).await);
    until("it went back", || length(&server) == 1).await;
    let again = lease(&spool).await;
    assert_eq!(again.attempts(), 1);
    again.ack(0).await.expect("ours");
    all_is_settled(&server, &spool).await;
}

fn holders(server: &RedisServer) -> Vec<String> {
    server.ask(&["HKEYS", "{logstash}:holders"])
}

/// Waits until the only gateway is another holder than `before`.
async fn is_a_new_holder(server: &RedisServer, before: &[String]) {
    let is_new = || {
        let now = holders(server);
        now.len() == 1 && now != before
    };
    until("there is a new holder", is_new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_forgot_everything_is_begun_with_anew() {
    let mut server = RedisServer::start_as(ServerKind {
        aof: None,
        ..ServerKind::default()
    });
    let spool = open(short_lived(&server.url())).await;
    append_numbers(&spool, 0..3).await;
    let held = lease(&spool).await;
    let before = holders(&server);
    server.kill();
    server.restart();
    is_a_new_holder(&server, &before).await;
    assert!(
        held.ack(0).await.is_err(),
        "settled what Redis does not know"
    );
    append_numbers(&spool, 5..7).await;
    ack_numbers(&spool, 5..7).await;
    all_is_settled(&server, &spool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_lost_a_lease_in_a_failover_gets_no_settlement_of_it() {
    let server = RedisServer::start();
    let spool = open(short_lived(&server.url())).await;
    append_numbers(&spool, 0..2).await;
    let (_, kept) = lease_number(&spool).await;
    let (_, lost) = lease_number(&spool).await;
    // As a replica has it that did not get the last lease: the element waits.
    let before = holders(&server);
    let leases = format!("{{logstash}}:lease:{}", before[0]);
    let element: Vec<u8> = server.ask(&["HGET", &leases, "2"]);
    let mut client = server.client();
    let mut push = deadpool_redis::redis::pipe();
    push.atomic();
    push.cmd("HDEL").arg(&leases).arg(2).ignore();
    push.cmd("LPUSH").arg("logstash").arg(element).ignore();
    for (field, change) in [("events", batch(1).events as i64), ("batches", 1)] {
        let ledger = "{logstash}:ledger";
        let (waiting, leased) = (format!("waiting_{field}"), format!("leased_{field}"));
        push.cmd("HINCRBY")
            .arg(ledger)
            .arg(waiting)
            .arg(change)
            .ignore();
        push.cmd("HINCRBY")
            .arg(ledger)
            .arg(leased)
            .arg(-change)
            .ignore();
    }
    push.query::<()>(&mut client).expect("done");
    redis_support::ask::<u64>(&mut client, &["CLIENT", "KILL", "TYPE", "normal"]).expect("cut");
    is_a_new_holder(&server, &before).await;
    assert!(lost.ack(0).await.is_err(), "settled what waits");
    assert!(kept.ack(0).await.is_err(), "the holder is another one");
    // Both come again, in order.
    ack_numbers(&spool, 0..2).await;
    all_is_settled(&server, &spool).await;
}
