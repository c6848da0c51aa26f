//! The real program, killed with SIGKILL under load again and again: whatever
//! it answered as durable arrives, under one id.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/load.rs"]
mod load;
#[path = "support/sink.rs"]
mod sink;

use std::time::Duration;

use gateway::Setup;
use load::{Books, Style, send_for_ever};
use sink::Sink;
use tokio::time::sleep;

const KILLS: usize = 12;
const STYLE: Style = Style {
    text: 1,
    pause: Duration::ZERO,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_answered_is_missing_after_a_dozen_kills_under_load() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "[spool.journal]\nsegment_bytes = \"8MiB\"");
    let books = Books::new(0, STYLE);

    let load = send_for_ever(setup.grpc, setup.http, &books);
    for kill in 0..KILLS {
        let gateway = setup.start();
        books.some_more("after the gateway was killed").await;
        // Long enough for confirmations and cursors before some of the kills.
        sleep(Duration::from_millis(fastrand::u64(0..1_800))).await;
        eprintln!("kill {kill}: {} batches answered", books.answers());
        gateway.kill();
    }
    drop(load);

    let gateway = setup.start_and_wait().await;
    books.all_at(&sink).await;
    assert_eq!(sink.faults(), Vec::<String>::new());
    let status = setup.status().await;
    assert_eq!(status["queues"][0]["unaccounted_events"], 0, "{status}");
    assert_eq!(
        gateway.terminate().await,
        Some(0),
        "SIGTERM ends it with success"
    );
}
