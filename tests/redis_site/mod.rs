//! Some gateways as processes that share one Redis and one sink, with clients that
//! send all the time; and what has to hold when all is over.

#![allow(dead_code)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::gateway::{Gateway, PATIENCE, Setup};
use crate::load::{BATCH_EVENTS, Books, Load, Style, send_for_ever};
use crate::redis_support::RedisServer;
use crate::sink::Sink;

/// Events of the gateways' clients are so far apart in number.
const APART: u64 = 1_000_000_000;

/// Enough that something is always under way, and little enough for a busy machine.
pub(crate) const STEADY: Style = Style {
    text: 100,
    pause: Duration::from_millis(10),
};

/// See the module.
pub(crate) struct Site {
    pub(crate) sink: Sink,
    pub(crate) members: Vec<Member>,
}

/// A gateway and its clients.
pub(crate) struct Member {
    pub(crate) setup: Setup,
    pub(crate) books: Books,
    gateway: Option<Gateway>,
    load: Option<Load>,
}

/// The settings of a spool in `redis`, and lines more for `[spool.redis]`.
pub(crate) fn in_redis(redis: &RedisServer, more: &str) -> String {
    format!(
        "[spool]\nkind = \"redis\"\n[spool.journal]\nsegment_bytes = \"8MiB\"\n\
         min_free_bytes = \"1MiB\"\n[spool.redis]\nurl = \"{}\"\n{more}\n",
        redis.url()
    )
}

impl Site {
    /// `count` gateways of the same settings, not started yet.
    pub(crate) fn new(count: u64, sink: Sink, settings: &str, style: Style) -> Self {
        let member = |nth| Member::new(sink.address, settings, Books::new(nth * APART, style));
        Self {
            members: (0..count).map(member).collect(),
            sink,
        }
    }

    /// Starts all gateways, and their clients.
    pub(crate) async fn start(&mut self) {
        for member in &mut self.members {
            member.start().await;
            member.load();
        }
        self.some_more("at first").await;
    }

    /// Waits until each gateway has answered some more.
    pub(crate) async fn some_more(&self, when: &str) {
        for member in &self.members {
            member.books.some_more(when).await;
        }
    }

    /// Waits until each gateway has answered some more, and a while, at random.
    pub(crate) async fn some_time(&self, when: &str) {
        self.some_more(when).await;
        sleep(Duration::from_millis(fastrand::u64(0..500))).await;
    }

    /// The clients stop; nothing of theirs is under way any more.
    pub(crate) async fn end_load(&mut self) {
        for member in &mut self.members {
            if let Some(load) = member.load.take() {
                load.end().await;
            }
        }
    }

    /// Everything that came twice was counted as possibly doubled: only for gateways
    /// whose processes were not killed.
    pub(crate) async fn doubles_are_counted(&mut self) {
        self.end_load().await;
        for member in &self.members {
            member.books.all_at(&self.sink).await;
        }
        let mut counted = 0;
        for member in &self.members {
            member.books_are_even().await;
            counted += member.possibly_doubled().await;
        }
        let twice = self.sink.twice();
        eprintln!("{twice} events came twice, {counted} were counted");
        assert!(
            counted >= twice,
            "{twice} came twice, {counted} are counted"
        );
    }

    /// All that was answered arrives, once the clients stopped; the books come out
    /// even; the gateways end in good order, and leave nothing in Redis that is not
    /// documented to stay.
    pub(crate) async fn comes_out_even(mut self, redis: &[&RedisServer]) {
        self.end_load().await;
        for member in &self.members {
            member.books.all_at(&self.sink).await;
        }
        assert_eq!(self.sink.faults(), Vec::<String>::new());
        for member in &self.members {
            member.books_are_even().await;
        }
        for member in self.members {
            member.ends().await;
        }
        for redis in redis {
            assert_eq!(strange_keys(redis), Vec::<String>::new());
        }
    }
}

impl Member {
    pub(crate) fn new(sink: SocketAddr, settings: &str, books: Books) -> Self {
        Self {
            setup: Setup::new(sink, settings),
            books,
            gateway: None,
            load: None,
        }
    }

    /// Starts the gateway; returns when it listens.
    pub(crate) async fn start(&mut self) {
        self.gateway = Some(self.setup.start_and_wait().await);
    }

    /// Its clients begin.
    pub(crate) fn load(&mut self) {
        self.load = Some(send_for_ever(self.setup.grpc, self.setup.http, &self.books));
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.gateway.take().expect("it runs").kill();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.gateway.as_ref().expect("it runs").signal(signal);
    }

    /// SIGTERM; it ends with success.
    pub(crate) async fn terminate(&mut self) {
        let gateway = self.gateway.take().expect("it runs");
        assert_eq!(gateway.terminate().await, Some(0), "{}", self.setup.log());
    }

    async fn ends(mut self) {
        self.terminate().await;
    }

    /// What its status says of the queue.
    pub(crate) async fn queue(&self) -> Value {
        self.setup.status().await["queues"][0].take()
    }

    /// Batches that were ever reclaimed, as it knows.
    pub(crate) async fn reclaimed(&self) -> u64 {
        number(&self.queue().await["redis"]["reclaimed_batches"])
    }

    /// Events that went to its journal since its process was started.
    pub(crate) async fn spilled(&self) -> u64 {
        self.counted("stashgate_spilled_events_total").await
    }

    /// Events that may have been sent twice, since its process was started.
    pub(crate) async fn possibly_doubled(&self) -> u64 {
        let name = "stashgate_possible_duplicate_events_total";
        self.counted(name).await
    }

    async fn counted(&self, name: &str) -> u64 {
        let metrics = self.metrics().await;
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>() as u64
    }

    /// What `/metrics` shows.
    pub(crate) async fn metrics(&self) -> String {
        let admin = self.setup.admin;
        let mut socket = TcpStream::connect(admin).await.expect("admin answers");
        let ask = format!("GET /metrics HTTP/1.0\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
        socket.write_all(ask.as_bytes()).await.expect("asked");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    async fn books_are_even(&self) {
        let until = Instant::now() + PATIENCE;
        let mut queue = self.queue().await;
        while !is_settled(&queue) && Instant::now() < until {
            sleep(Duration::from_millis(100)).await;
            queue = self.queue().await;
        }
        assert!(is_settled(&queue), "{queue}\n{}", self.setup.log());
        let ledger = &queue["ledger"];
        let came = number(&ledger["accepted"]) + number(&ledger["foreign"]);
        let went = number(&ledger["confirmed"]) + number(&ledger["dead_letters"]);
        assert_eq!(came, went, "{queue}");
        let answered = self.books.answers() as u64 * BATCH_EVENTS;
        assert!(came >= answered, "{answered} answered: {queue}");
    }
}

fn is_settled(queue: &Value) -> bool {
    let counts = [
        &queue["waiting_events"],
        &queue["leased_events"],
        &queue["leased_batches"],
        &queue["redis"]["uncertain_events"],
    ];
    counts.into_iter().all(|count| number(count) == 0) && queue["unaccounted_events"] == 0
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// The keys that a Redis has when all gateways have ended, but for those that stay:
/// the books, those of the archive, what expires, and the names of the lists.
pub(crate) fn strange_keys(redis: &RedisServer) -> Vec<String> {
    let keys: Vec<String> = redis.ask(&["KEYS", "*"]);
    let stays = |key: &String| {
        let expires = redis.ask::<i64>(&["TTL", key]) > 0;
        let kept = key.contains("}:appender:") || key.contains("}-");
        let stays = ["}:ledger", "}:archive", "}:letters:books"]
            .iter()
            .any(|end| key.ends_with(end));
        key == "stashgate:queues" || stays || (kept && expires)
    };
    keys.into_iter().filter(|key| !stays(key)).collect()
}
