//! Whether many letters in Redis cost more to look at than few.

mod letters_redis_support;
mod letters_support;
mod redis_support;

use std::time::{Duration, Instant};

use letters_redis_support::store;
use letters_support::{ALL, refused};
use redis_support::{RedisServer, ServerKind};
use stashgate::dead_letter::DeadLetter;
use stashgate::dead_letter::store::{Filed, Order, Selection, Store};

const GROUPS: u64 = 200;
const PAGE: usize = 100;
const ROUNDS: usize = 51;

/// A letter of 300 bytes, in one of the groups.
fn letter(n: u64) -> DeadLetter {
    DeadLetter {
        id: Some(format!("{:032x}", u128::from(n) << 60)),
        field: Some(format!("field_{}", n % GROUPS)),
        event: format!("{{\"n\":{n:08},\"text\":\"{}\"}}", "x".repeat(274)).into(),
        ..refused(n)
    }
}

async fn first_page(store: &Store, selection: &Selection) {
    let numbers = store
        .numbers(selection, ALL, Order::NewestFirst, PAGE)
        .await;
    let letters = store.read(&numbers.expect("listed")).await;
    assert_eq!(letters.expect("read").len(), PAGE);
}

/// The median of many rounds, as the gateway sees it, and the processor's time that Redis
/// took for one, on average.
async fn cost(server: &RedisServer, what: &str, mut work: impl AsyncFnMut()) -> [Duration; 2] {
    let mut took = Vec::new();
    let before = cpu(server);
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        work().await;
        took.push(begun.elapsed());
    }
    let redis = (cpu(server) - before) / ROUNDS as u32;
    took.sort_unstable();
    let median = took[ROUNDS / 2];
    eprintln!("  {what}: {median:.1?}, of Redis' time {redis:.1?}");
    [median, redis]
}

fn cpu(server: &RedisServer) -> Duration {
    let info: String = server.ask(&["INFO", "cpu"]);
    let seconds = info.lines().filter_map(|line| {
        let (name, seconds) = line.split_once(':')?;
        let is_main = ["used_cpu_sys_main_thread", "used_cpu_user_main_thread"].contains(&name);
        is_main
            .then(|| seconds.trim().parse::<f64>().ok())
            .flatten()
    });
    Duration::from_secs_f64(seconds.sum())
}

#[tokio::test]
#[ignore = "measures; takes some minutes and 2 GB"]
async fn a_million_letters_cost_hardly_more_to_look_at_than_ten_thousand() {
    let server = RedisServer::start_as(ServerKind {
        aof: None,
        ..ServerKind::default()
    });
    let store = store(&server.url());
    let (mut filed, mut all) = (0, Vec::new());
    let empty: u64 = memory(&server);
    for count in [10_000, 1_000_000_u64] {
        let begun = Instant::now();
        let (before, first) = (cpu(&server), filed);
        while filed < count {
            let letters = (filed..filed + 1000).map(letter).collect();
            let outcomes = store.file(letters).await.expect("filed");
            assert!(outcomes.iter().all(|outcome| *outcome == Filed::Kept));
            filed += 1000;
        }
        let each = |took: Duration| took.as_secs_f64() * 1e6 / (count - first) as f64;
        eprintln!("{count} letters");
        eprintln!(
            "  filed in {:.1} µs each, of Redis' time {:.1} µs; {} bytes of its memory each",
            each(begun.elapsed()),
            each(cpu(&server) - before),
            (memory(&server) - empty) / count
        );
        let one = Selection {
            field: Some("field_7".into()),
            ..Selection::default()
        };
        let everything = Selection::default();
        let of_queue = Selection {
            queue: Some(stashgate::batch::QueueName::default()),
            ..Selection::default()
        };
        all.push([
            cost(&server, "groups", async || {
                assert_eq!(store.groups().await.expect("groups").len() as u64, GROUPS);
            })
            .await,
            cost(&server, "first page", async || {
                first_page(&store, &everything).await
            })
            .await,
            cost(&server, "first page of a group", async || {
                // 50 in the smaller store.
                let numbers = store.numbers(&one, ALL, Order::NewestFirst, 50).await;
                assert_eq!(numbers.expect("listed").len(), 50);
            })
            .await,
            cost(
                &server,
                "first page of a queue, from all groups",
                async || first_page(&store, &of_queue).await,
            )
            .await,
        ]);
    }
    for (few, many) in all[0].iter().zip(&all[1]) {
        let times = |at: usize| many[at].as_secs_f64() / few[at].as_secs_f64();
        eprintln!(
            "{:.2} times, of Redis' time {:.2} times",
            times(0),
            times(1)
        );
    }
}

fn memory(server: &RedisServer) -> u64 {
    let info: String = server.ask(&["INFO", "memory"]);
    let used = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    used.and_then(|used| used.trim().parse().ok())
        .expect("told")
}
