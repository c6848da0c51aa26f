//! The client against the real gateway, which is killed under it.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/sink.rs"]
mod sink;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use gateway::{PATIENCE, Setup, eventually};
use sink::Sink;
use stashgate::client::{Batcher, Client, Gather};
use tokio::time::{sleep, timeout};

const KILLS: usize = 20;

/// Pushes numbered events until it is told to stop; how many.
async fn push_until(stop: Arc<AtomicBool>, events: &Batcher) -> u64 {
    let mut pushed = 0;
    while !stop.load(SeqCst) {
        let event = format!("{{\"seq\":{pushed},\"text\":\"x\"}}");
        events.push(event.as_bytes()).await.expect("taken");
        pushed += 1;
        if pushed % 50 == 0 {
            // Leaves batches of many sizes, and the machine to the gateway.
            sleep(Duration::from_micros(500)).await;
        }
    }
    pushed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_twenty_kills_every_event_arrives_under_one_id() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let client = Client::builder(&setup.url())
        .window(8, 1 << 20)
        .connect()
        .expect("an address");
    let gather = Gather {
        events: 40,
        age: Duration::from_millis(5),
        ..Gather::default()
    };
    let accepted = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&accepted);
    let events = client.batcher(gather, move |outcome| {
        let receipt = outcome.expect("no batch is given back");
        counted.fetch_add(u64::from(receipt.accepted), SeqCst);
    });
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let pusher = tokio::spawn(async move {
        let pushed = push_until(stopped, &events).await;
        events.flush().await.expect("the client is open");
        pushed
    });

    for kill in 0..KILLS {
        let gateway = setup.start();
        let before = accepted.load(SeqCst);
        eventually("the gateway answers again after a kill", || {
            accepted.load(SeqCst) > before + 200
        })
        .await;
        sleep(Duration::from_millis(fastrand::u64(0..200))).await;
        eprintln!("kill {kill}: {} events answered", accepted.load(SeqCst));
        gateway.kill();
    }
    let gateway = setup.start();
    stop.store(true, SeqCst);
    let pushed = timeout(PATIENCE, pusher)
        .await
        .expect("every batch gets its answer")
        .expect("no panic");
    let report = client.close().await.expect("closed once");

    assert_eq!(report.accepted, pushed);
    assert!(report.all_accepted(), "{report:?}");
    assert!(report.resent > 0, "no kill met a batch on its way");
    eventually("all that was answered arrives", || {
        sink.distinct() == pushed
    })
    .await;
    assert_eq!(sink.faults(), Vec::<String>::new());
    let status = setup.status().await.to_string();
    assert!(status.contains("\"unaccounted_events\":0"), "{status}");
    assert_eq!(gateway.terminate().await, Some(0));
}
