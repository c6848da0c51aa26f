//! Suspects do not stand in the way of others.

use super::*;

const POISON: &str = "poison";

/// More poison batches than there are lanes, and ordinary ones before and after;
/// nothing else is confirmed until each was tried alone.
async fn eight_are_found(script: Script, connections: usize) {
    let logstash = Logstash::start_with(script, Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]);
    queue.output.connections = connections;
    let mut queue = queue.started();
    queue.put(5, 20).await;
    queue.settled().await;
    for _ in 0..8 {
        queue.put_marked(1, 0, POISON).await;
    }
    queue.wait_for(|e| e.consecutive_failures > 40).await;
    assert_eq!(queue.kept_letters(), 0, "nothing else was confirmed yet");
    queue.put(30, 20).await;
    let stats = queue.settled().await;
    assert_eq!(
        (stats.ledger.confirmed, stats.ledger.dead_letters),
        (700, 8)
    );
    assert_eq!((queue.kept_letters(), stats.unaccounted_events()), (8, 0));
    let poison: Vec<u64> = (100..108).collect();
    assert_eq!(logstash.sink().missing(0..queue.next), poison);
}

#[tokio::test]
async fn eight_batches_that_are_reset_do_not_stop_two_connections() {
    eight_are_found(Script::ResetOn(POISON), 2).await;
}

#[tokio::test]
async fn eight_batches_that_are_reset_do_not_stop_one_connection() {
    eight_are_found(Script::ResetOn(POISON), 1).await;
}

#[tokio::test]
async fn eight_batches_that_are_closed_early_do_not_stop_two_connections() {
    eight_are_found(Script::CloseOn(POISON), 2).await;
}

#[tokio::test]
async fn eight_batches_that_are_closed_early_do_not_stop_one_connection() {
    eight_are_found(Script::CloseOn(POISON), 1).await;
}

#[tokio::test]
async fn three_poison_events_of_one_batch_are_found() {
    let logstash = Logstash::start_with(Script::ResetOn(POISON), Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    let line = |n: u64| match n % 7 {
        3 => format!("{{\"n\":{n},\"text\":\"{POISON}\"}}\n"),
        _ => format!("{{\"n\":{n}}}\n"),
    };
    queue.put_payload((0..20).map(line).collect(), 20).await;
    queue.put(10, 20).await;
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, queue.kept_letters()), (217, 3));
    assert_eq!(logstash.sink().missing(0..queue.next), [3, 10, 17]);
}

/// Waits until `events` are suspects that are aside, or tried.
async fn wait_for_aside(queue: &Queue, events: u64) {
    let aside = async {
        while queue.stats().leased_events != events
            || queue.endpoints()[0].consecutive_failures < 20
        {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, aside).await.expect("set aside");
}

#[tokio::test]
async fn restarts_condemn_nothing_that_is_aside() {
    let mut logstash = Logstash::start_with(Script::ResetOn("{"), Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    queue.put(4, 10).await;
    wait_for_aside(&queue, 40).await;
    logstash.kill().await;
    logstash.script(Script::Read);
    logstash.start_again(STARTUP).await;
    for round in 0..6 {
        queue.put(20, 10).await;
        match round % 2 {
            0 => logstash.stop(QUIET).await,
            _ => logstash.kill().await,
        }
        logstash.start_again(STARTUP).await;
    }
    queue.settled().await;
    logstash.sink().assert_has(0..queue.next);
    assert_eq!(queue.kept_letters(), 0);
}

#[tokio::test]
async fn a_stop_gives_back_what_is_aside() {
    let logstash = Logstash::start_with(Script::ResetOn(POISON), Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    for _ in 0..6 {
        queue.put_marked(1, 0, POISON).await;
    }
    wait_for_aside(&queue, 6).await;
    let stats = queue.drain().await;
    assert_eq!((stats.waiting_events, stats.leased_events), (6, 0));
    logstash.script(Script::Read);
    queue.stop = CancellationToken::new();
    queue.start();
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, queue.kept_letters()), (6, 0));
}
