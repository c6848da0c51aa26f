//! Two gateways on one Redis, both under load, killed with SIGKILL again and again, and
//! Redis too: whatever was answered as durable is sent.

mod journal_support;
mod redis_spool_support;
mod redis_support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use journal_support::*;
use redis_spool_support::{open, short_lived};
use redis_support::{RedisServer, eventually};
use stashgate::spool::Spool;

const KILLS: u64 = 20;
/// A gateway's spool in a process of its own: this very program, told by these.
const URL: &str = "REDIS_KILLS_URL";
const FIRST: &str = "REDIS_KILLS_FIRST";

/// What [`Gateway`] runs; nothing by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_of_its_own() {
    let (Ok(url), Ok(first)) = (std::env::var(URL), std::env::var(FIRST)) else {
        return;
    };
    let first: u64 = first.parse().expect("a number");
    let spool = open(short_lived(&url)).await;
    let mut tasks = Vec::new();
    for task in 0..4 {
        tasks.push(tokio::spawn(append_for_ever(
            spool.clone(),
            first + task * 100_000,
        )));
        tasks.push(tokio::spawn(send_for_ever(spool.clone())));
    }
    for task in tasks {
        task.await.expect("never ends");
    }
}

async fn append_for_ever(spool: Spool, first: u64) {
    for number in first.. {
        if append(&spool, batch(number)).await.is_ok() {
            say("appended", number);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn send_for_ever(spool: Spool) {
    loop {
        let Ok(lease) = spool.lease(&queue()).await else {
            continue;
        };
        let Ok(payload) = lease.payload().await else {
            continue;
        };
        let number = number(lease.header(), &payload);
        match number % 5 {
            0 => drop(lease),
            _ => {
                say("sent", number);
                // Refused if it was taken back: then it is sent again.
                let _ = lease.ack(0).await;
            }
        }
    }
}

fn holds_something(spool: &Spool) -> bool {
    let now = stats(spool);
    now.waiting_events + now.leased_events > 0
}

/// One line, in one write: half a line would be lost with the process.
fn say(what: &str, number: u64) {
    let line = format!("> {what} {number}\n");
    std::io::stdout().write_all(line.as_bytes()).expect("said");
}

#[derive(Debug, Clone, Default)]
struct Books(Arc<Mutex<(BTreeSet<u64>, BTreeSet<u64>)>>);

impl Books {
    fn appended(&self) -> usize {
        self.0.lock().map_or(0, |books| books.0.len())
    }

    fn note(&self, line: &str) {
        let Some((_, said)) = line.split_once("> ") else {
            return;
        };
        let Some((what, number)) = said.split_once(' ') else {
            return;
        };
        let (Ok(number), Ok(mut books)) = (number.parse(), self.0.lock()) else {
            return;
        };
        match what {
            "appended" => books.0.insert(number),
            _ => books.1.insert(number),
        };
    }
}

struct Gateway {
    process: Child,
    reader: Option<thread::JoinHandle<()>>,
}

impl Gateway {
    fn start(url: &str, first: u64, books: &Books) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "a_gateway_of_its_own", "--nocapture"])
            .env(URL, url)
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let said = BufReader::new(process.stdout.take().expect("piped"));
        let books = books.clone();
        let reader = thread::spawn(move || {
            said.lines()
                .map_while(Result::ok)
                .for_each(|line| books.note(&line));
        });
        Self {
            process,
            reader: Some(reader),
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.reader.take().map(thread::JoinHandle::join);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_and_redis_are_killed_again_and_again_and_nothing_is_lost() {
    let mut server = RedisServer::start();
    let books = Books::default();
    let start = |life: u64, url: &str| Gateway::start(url, (life + 1) * 1_000_000, &books);
    let url = server.url();
    let mut gateways = [start(0, &url), start(1, &url)];
    for kill in 0..KILLS {
        let enough = books.appended() + 25;
        eventually("batches are appended", || books.appended() >= enough);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..300))).await;
        gateways[kill as usize % 2] = start(kill + 2, &url);
        if kill % 5 == 4 {
            server.kill();
            server.restart();
        }
    }
    let enough = books.appended() + 25;
    eventually("batches are appended", || books.appended() >= enough);
    drop(gateways);
    let spool = open(short_lived(&url)).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut last = Vec::new();
    // What the dead ones held is reclaimed after a while.
    while holds_something(&spool) {
        assert!(std::time::Instant::now() < deadline, "never drained");
        let next = tokio::time::timeout(Duration::from_millis(200), lease_number(&spool)).await;
        if let Ok((number, lease)) = next {
            lease.ack(0).await.expect("settled");
            last.push(number);
        }
    }
    let end = stats(&spool).ledger;
    spool.close().await;
    let books = books.0.lock().expect("no reader panicked");
    let (appended, mut sent) = books.clone();
    sent.extend(last);
    let lost: Vec<_> = appended.difference(&sent).collect();
    assert!(
        lost.is_empty(),
        "{} of {} lost: {lost:?}",
        lost.len(),
        appended.len()
    );
    assert_eq!(end.confirmed, end.accepted);
    assert_eq!(server.ask::<u64>(&["LLEN", "logstash"]), 0);
}
