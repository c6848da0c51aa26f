//! Restarts, resets and stops: nothing is missing, whatever is sent twice.

use super::*;
use crate::forwarder::logstash::Fault;

#[tokio::test]
async fn a_stop_in_mid_stretch_loses_nothing() {
    let mut logstash = Logstash::start().await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    queue.put(1, 10).await;
    queue.settled().await;
    logstash.script(Script::Stall);
    queue.put(200, 100).await;
    queue.wait_for_state(EndpointState::Blocked).await;
    let before = logstash.sink().distinct();
    logstash.stop(QUIET).await;
    assert_eq!(logstash.sink().distinct(), before, "what was read is lost");
    assert!(logstash.received() > 10_000, "something was read");
    logstash.script(Script::Read);
    logstash.start_again(STARTUP).await;
    let stats = queue.settled().await;
    logstash.sink().assert_has(0..20_010);
    assert_eq!((logstash.sink().faults(), queue.kept_letters()), (0, 0));
    assert_eq!(stats.unaccounted_events(), 0);
}

#[tokio::test]
async fn connections_that_are_reset_or_closed_early_or_late_lose_nothing() {
    let logstash = Logstash::start().await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    let late = Fault::LateFin(Duration::from_millis(200));
    logstash.faults([
        Fault::Reset,
        Fault::Close,
        late,
        Fault::Reset,
        Fault::Chatter,
    ]);
    for _ in 0..20 {
        queue.put(5, 100).await;
        sleep(Duration::from_millis(10)).await;
    }
    queue.settled().await;
    logstash.sink().assert_has(0..10_000);
    assert_eq!((logstash.sink().faults(), queue.kept_letters()), (0, 0));
}

#[tokio::test]
async fn a_logstash_that_dies_and_returns_gets_everything() {
    let mut logstash = Logstash::start().await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    queue.put(50, 100).await;
    logstash.kill().await;
    queue.put(50, 100).await;
    queue.wait_for_state(EndpointState::BackingOff).await;
    assert!(queue.endpoints()[0].last_error.is_some());
    logstash.start_again(STARTUP).await;
    queue.settled().await;
    logstash.sink().assert_has(0..10_000);
    assert_eq!(queue.endpoints()[0].last_error, None);
}

#[tokio::test]
async fn a_storm_of_restarts_loses_nothing_and_condemns_nobody() {
    let mut logstash = Logstash::start().await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    for round in 0..20 {
        queue.put(10, 50).await;
        sleep(Duration::from_millis(30)).await;
        queue.put(10, 50).await;
        match round % 2 {
            0 => logstash.stop(QUIET).await,
            _ => logstash.kill().await,
        }
        logstash.start_again(STARTUP).await;
    }
    queue.settled().await;
    logstash.sink().assert_has(0..20_000);
    assert_eq!((logstash.sink().faults(), queue.kept_letters()), (0, 0));
}

#[tokio::test]
async fn a_connection_lost_in_mid_stretch_is_noticed_before_the_stretch_is_over() {
    let mut logstash = Logstash::start().await;
    let mut queue = Queue::to(&[logstash.address()]);
    queue.timing.json_lines.stretch = DEADLINE * 10;
    let mut queue = queue.started();
    queue.put(1, 10).await;
    logstash.sink().wait_for(0..10).await;
    logstash.kill().await;
    queue.wait_for_state(EndpointState::BackingOff).await;
    let given_back = async {
        while queue.stats().waiting_events < 10 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, given_back).await.expect("given back");
}

#[tokio::test]
async fn a_logstash_that_goes_while_nothing_is_sent_is_noticed() {
    let mut logstash = Logstash::start().await;
    let queue = Queue::to(&[logstash.address()]).started();
    queue.wait_for_state(EndpointState::Open).await;
    logstash.stop(QUIET).await;
    queue.wait_for_state(EndpointState::BackingOff).await;
    logstash.start_again(STARTUP).await;
    queue.wait_for_state(EndpointState::Open).await;
}
