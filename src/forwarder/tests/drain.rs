//! The stop: what becomes of a batch does not depend on it.

use super::*;

#[tokio::test]
async fn what_is_in_hand_is_confirmed_after_the_stop() {
    let logstash = Logstash::start().await;
    let mut queue = Queue::to(&[logstash.address()]).unhurried();
    // Only the stop ends the stretch.
    queue.timing.json_lines.stretch = DEADLINE;
    let mut queue = queue.started();
    queue.put(10, 10).await;
    logstash.sink().wait_for(0..100).await;
    assert_eq!(queue.stats().ledger.confirmed, 0);
    let stats = queue.drain().await;
    assert_eq!((stats.ledger.confirmed, stats.leased_events), (100, 0));
    assert_eq!(logstash.sink().order().len(), 100);
}

#[tokio::test]
async fn what_a_blocked_logstash_does_not_confirm_in_time_goes_back() {
    let logstash = Logstash::start().await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    queue.put(1, 10).await;
    queue.settled().await;
    logstash.script(Script::Stall);
    queue.put(100, 100).await;
    queue.wait_for_state(EndpointState::Blocked).await;
    let stats = queue.drain().await;
    assert_eq!((stats.waiting_events, stats.leased_events), (10_000, 0));
    assert_eq!(stats.unaccounted_events(), 0);
    assert_eq!(queue.kept_letters(), 0);
}

#[tokio::test]
async fn nothing_is_leased_after_the_stop() {
    let logstash = Logstash::start().await;
    let mut queue = Queue::to(&[logstash.address()]).unhurried().started();
    queue.put(1, 10).await;
    queue.settled().await;
    queue.drain().await;
    queue.put(1, 10).await;
    assert_eq!(queue.stats().waiting_events, 10);
    assert_eq!(logstash.sink().order().len(), 10);
}

#[tokio::test]
async fn a_stop_while_nobody_listens_is_quick() {
    let mut queue = Queue::to(&[nobody()]).started();
    queue.put(1, 10).await;
    queue.wait_for_state(EndpointState::BackingOff).await;
    let stats = queue.drain().await;
    assert_eq!((stats.waiting_events, stats.leased_events), (10, 0));
}
