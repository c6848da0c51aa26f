//! Logstash is away for a day. The day is made in seconds: its batches are put into the
//! journal with the times at which they would have come, and the real gateway, started on
//! it, lives through the end of the outage and the drain, while clients go on sending.

mod journal_support;
mod outage_support;

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/load.rs"]
mod load;
#[path = "support/sink.rs"]
mod sink;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gateway::{Setup, eventually, free};
use journal_support::{append, open, options};
use load::{Books, Style, send_for_ever};
use outage_support::*;
use sink::Sink;
use stashgate::batch::UnixMillis;
use stashgate::spool::journal::Sync;

/// One batch every two seconds.
const BATCHES: u64 = DAY / 2;
const EVENTS: u64 = BATCHES * BATCH_EVENTS;
/// Half of the outage: what waits is older than what would be kept of the delivered.
const RETENTION: u64 = 12 * 3600;
/// The day has about 200 MB, and the gateway is not to hold it in memory.
const MAX_RESIDENT_KIB: u64 = 128 << 10;
/// In bytes; a cursor that names each batch that waits would have millions.
const SHORT: u64 = 4 << 10;
/// A debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Leaves a day of waiting batches in the data folder.
async fn make_a_day(setup: &Setup) {
    let mut options = options(&setup.data_dir());
    options.sync = Sync::Os;
    options.segment_bytes = 8 << 20;
    let spool = open(&options);
    let now = UnixMillis::now();
    let text = || "x".repeat(420);
    for n in 0..BATCHES {
        let at = UnixMillis(now.0 - (BATCHES - n) * 2_000);
        let batch = of_the_day(n, at, text);
        append(&spool, batch).await.expect("appended");
    }
}

/// What a gateway takes of the machine.
struct Watch {
    pid: u32,
    queue: PathBuf,
    most_resident_kib: u64,
    longest_cursor: u64,
}

impl Watch {
    fn look(&mut self) {
        self.most_resident_kib = self.most_resident_kib.max(resident_kib(self.pid));
        // It is replaced by renaming, so it is always there.
        let cursor = fs::metadata(self.queue.join("cursor")).expect("a cursor");
        self.longest_cursor = self.longest_cursor.max(cursor.len());
    }

    fn segments(&self) -> Vec<String> {
        let names = fs::read_dir(&self.queue).expect("a folder").flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        let mut segments: Vec<_> = names.filter(|name| name.ends_with(".seg")).collect();
        segments.sort();
        segments
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_without_logstash_is_kept_whole_and_drained_while_clients_send() {
    let logstash = free();
    let setup = Setup::new(
        logstash,
        &format!(
            "[spool.journal]\nsegment_bytes = \"8MiB\"\nmin_free_bytes = \"1MiB\"\n\
             [archive]\nretention = \"{RETENTION}s\"\n"
        ),
    );
    make_a_day(&setup).await;
    let gateway = setup.start_and_wait().await;
    let mut watch = Watch {
        pid: gateway.id(),
        queue: setup.data_dir().join("journal/logstash"),
        most_resident_kib: 0,
        longest_cursor: 0,
    };

    // The end of the outage, with clients that send.
    let style = Style {
        text: 200,
        pause: Duration::from_millis(5),
    };
    let books = Books::new(1_000_000_000, style);
    let clients = send_for_ever(setup.grpc, setup.http, &books);
    for _ in 0..10 {
        books.some_more("while Logstash is away").await;
        watch.look();
    }
    let queue = setup.status().await["queues"][0].clone();
    let waiting = queue["waiting_events"].as_u64().expect("a number");
    assert!(waiting >= EVENTS, "{queue}");
    assert_eq!(queue["ledger"]["confirmed"], 0, "{queue}");
    assert_eq!(queue["unaccounted_events"], 0, "{queue}");
    assert_eq!(queue["endpoints"][0]["state"], "unreachable", "{queue}");
    let oldest = metric(&setup, "stashgate_spool_oldest_seconds");
    assert!((oldest - DAY as f64).abs() < 600.0, "{oldest}");
    let waiting = metric(&setup, "stashgate_spool_waiting_events");
    assert!(waiting >= EVENTS as f64, "{waiting}");
    // Nothing is in hand, so the cursor is short, whatever waits.
    assert!(watch.longest_cursor < SHORT, "{}", watch.longest_cursor);
    let before = watch.segments();
    assert!(before.len() > 20 && before[0].starts_with("00000000000000000001."));

    // Logstash is back.
    let sink = Sink::serve(TcpListener::bind(logstash).expect("bound"));
    let until = Instant::now() + PATIENCE;
    let mut answered = books.answers();
    while !(0..EVENTS).all(|seq| sink.has(seq)) {
        assert!(Instant::now() < until, "{} came", sink.distinct());
        watch.look();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    answered = books.answers() - answered;
    assert!(answered > 0, "clients were answered while it drained");
    clients.end().await;
    books.all_at(&sink).await;
    assert_eq!(sink.faults(), Vec::<String>::new());

    let of_the_queue = |name| metric(&setup, &format!("stashgate_spool_{name}_events"));
    let is_settled = || of_the_queue("waiting") + of_the_queue("leased") == 0.0;
    eventually("all is confirmed", is_settled).await;
    let queue = setup.status().await["queues"][0].clone();
    assert_eq!(queue["unaccounted_events"], 0, "{queue}");
    assert_eq!(
        queue["ledger"]["accepted"], queue["ledger"]["confirmed"],
        "{queue}"
    );
    let twice = sink.twice();
    let counted = match twice {
        0 => 0.0,
        _ => metric(&setup, "stashgate_possible_duplicate_events_total"),
    };
    assert!(
        twice as f64 <= counted,
        "{twice} came twice, {counted} counted"
    );

    // What was delivered goes when it is past its time; the rest is the archive.
    eventually("the first half of the day goes", || {
        let window = metric(&setup, "stashgate_archive_window_seconds");
        (window - RETENTION as f64).abs() < 3_600.0
    })
    .await;
    let after = watch.segments();
    assert!(after.len() < before.len() && after.len() > before.len() / 4);
    eprintln!(
        "most resident {} KiB, longest cursor {} bytes, {answered} batches answered meanwhile, {twice} came twice",
        watch.most_resident_kib, watch.longest_cursor
    );
    assert!(watch.most_resident_kib < MAX_RESIDENT_KIB);
    eventually("the cursor is short again", || {
        watch.longest_cursor = 0;
        watch.look();
        watch.longest_cursor < SHORT
    })
    .await;
    assert_eq!(gateway.terminate().await, Some(0));
}
