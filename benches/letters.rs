//! What the store of dead letters costs, and whether a long list costs more than a short
//! one: 10,000 letters against 1,000,000, in one run.
//!
//! Other counts: `cargo bench --bench letters -- 1000 50000`.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use stashgate::batch::{QueueName, UnixMillis};
use stashgate::dead_letter::store::{Fate, Filed, Options, Order, Selection, Span, Store, Table};
use stashgate::dead_letter::{DeadLetter, Reason, Source, Unindexable};

/// Letters in one change, as filing makes them.
const CHANGE: u64 = 1000;
const PAGE: usize = 100;
const GROUPS: u64 = 200;
const ROUNDS: usize = 101;
const ALL: Span = Span {
    from: 0,
    to: u64::MAX,
};

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let counts: Vec<u64> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let counts = if counts.is_empty() {
        vec![10_000, 1_000_000]
    } else {
        counts
    };
    let measured = counts
        .into_iter()
        .map(|count| runtime.block_on(measure(count)));
    let measured: Vec<_> = measured.collect();
    let (first, last) = (&measured[0], &measured[measured.len() - 1]);
    for (at, (what, value)) in last.iter().enumerate() {
        let times = value.as_secs_f64() / first[at].1.as_secs_f64();
        println!("{what}: {times:.2} times as much");
    }
}

/// An event of 300 bytes, as the other benchmarks have them.
fn letter(n: u64) -> DeadLetter {
    let mut event = format!(
        "{{\"n\":{n},\"user\":{{\"id\":\"{:x}\"}},\"text\":\"",
        n * 7919
    );
    while event.len() < 298 {
        event.push('x');
    }
    event.push_str("\"}");
    DeadLetter {
        queue: QueueName::default(),
        id: Some(format!("{:032x}", u128::from(n) * 0x9e37_79b9_7f4a_7c15)),
        reason: Reason::Unindexable(Unindexable::MappingConflict),
        field: Some(format!("field_{}", n % GROUPS)),
        detail: "failed to parse field of type [long] in document".into(),
        source: Source::Logstash,
        attempt: 1,
        at: UnixMillis(1_795_294_380_000 + n),
        event: Bytes::from(event),
    }
}

fn open(path: &Path) -> Store {
    let options = Options {
        max_bytes: 1 << 40,
        retention_ms: 30 * 24 * 3600 * 1000,
        min_free_bytes: 0,
    };
    Store::Table(Table::open(path, options).expect("opens"))
}

/// Files `count` letters; what it takes to look at them then.
async fn measure(count: u64) -> Vec<(&'static str, Duration)> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("letters.redb");
    let store = open(&path);
    println!("{count} letters");
    let (began, cpu) = (Instant::now(), cpu_time());
    for first in (0..count).step_by(CHANGE as usize) {
        let letters = (first..count.min(first + CHANGE)).map(letter).collect();
        let filed = store.file(letters).await.expect("files");
        assert!(filed.iter().all(|filed| *filed == Filed::Kept));
    }
    tell("file, wall", began.elapsed(), count);
    tell("file, CPU", cpu_time() - cpu, count);
    let len = std::fs::metadata(&path).expect("is there").len();
    println!("  on disk: {} bytes a letter", len / count);

    let numbers = first_page(&store, &Selection::default()).await;
    let one = Selection {
        field: Some("field_7".into()),
        ..Selection::default()
    };
    let mut took = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let began = Instant::now();
        assert_eq!(store.groups().await.expect("lists").len() as u64, GROUPS);
        took[0].push(began.elapsed());
        let began = Instant::now();
        first_page(&store, &Selection::default()).await;
        took[1].push(began.elapsed());
        let began = Instant::now();
        first_page(&store, &one).await;
        took[2].push(began.elapsed());
    }
    let names = ["groups", "first page", "first page of a group"];
    let medians = took.map(|mut took| {
        took.sort_unstable();
        took[ROUNDS / 2]
    });
    for (name, median) in names.iter().zip(medians) {
        println!("  {name}: {median:.1?}");
    }
    let letters = store.read(&numbers).await.expect("reads");
    let handles: Vec<_> = letters.iter().map(|letter| letter.handle()).collect();
    let cpu = cpu_time();
    store
        .settle(&handles, Fate::Returned)
        .await
        .expect("settles");
    tell("settle, CPU", cpu_time() - cpu, handles.len() as u64);
    drop(store);
    let began = Instant::now();
    drop(open(&path));
    println!("  open again: {:.1?}", began.elapsed());
    println!("  peak of the memory: {} MiB", peak_kib() / 1024);
    names.into_iter().zip(medians).collect()
}

async fn first_page(store: &Store, selection: &Selection) -> Vec<u64> {
    let numbers = store
        .numbers(selection, ALL, Order::NewestFirst, PAGE)
        .await;
    let numbers = numbers.expect("lists");
    let letters = store.read(&numbers).await.expect("reads");
    assert_eq!(letters.len(), numbers.len());
    numbers
}

fn tell(what: &str, took: Duration, letters: u64) {
    let micros = took.as_secs_f64() * 1e6 / letters as f64;
    println!("  {what}: {micros:.1} µs a letter");
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The most memory that this process had, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    peak.and_then(|kib| kib.parse().ok()).unwrap_or_default()
}
