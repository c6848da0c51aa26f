//! What happens when nothing fails, or only the peer is slow.

use super::*;
use crate::forwarder::logstash::{Fault, Sink};

#[tokio::test]
async fn every_event_is_delivered_once_and_confirmed() {
    let logstash = Logstash::start().await;
    let mut queue = Queue::to(&[logstash.address()]).unhurried().started();
    queue.put(20, 100).await;
    let stats = queue.settled().await;
    assert_eq!(
        (stats.ledger.confirmed, stats.unaccounted_events()),
        (2000, 0)
    );
    logstash.sink().assert_has(0..2000);
    assert_eq!(logstash.sink().order().len(), 2000);
    assert_eq!(logstash.sink().faults(), 0);
    let [endpoint] = &queue.endpoints()[..] else {
        panic!("one host, one address");
    };
    assert_eq!(endpoint.state, EndpointState::Open);
    assert_eq!(
        (endpoint.confirmed_events, endpoint.consecutive_failures),
        (2000, 0)
    );
}

#[tokio::test]
async fn a_logstash_that_comes_later_gets_what_waits() {
    let mut logstash = Logstash::start().await;
    logstash.kill().await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    queue.put(3, 10).await;
    queue.wait_for_state(EndpointState::BackingOff).await;
    logstash.start_again(STARTUP).await;
    queue.settled().await;
    logstash.sink().assert_has(0..30);
}

#[tokio::test]
async fn others_take_the_load_of_a_dead_and_of_a_slow_host() {
    let slow = Script::Slow(1 << 10, Duration::from_millis(20));
    let sink: Arc<Sink> = Arc::default();
    let slow = Logstash::start_with(slow, sink.clone()).await;
    let quick = Logstash::start_with(Script::Read, sink.clone()).await;
    let mut queue = Queue::to(&[nobody(), slow.address(), quick.address()]);
    queue.timing.stretch_bytes = 64 << 10;
    let mut queue = queue.started();
    for up in [slow.address(), quick.address()] {
        queue
            .wait_for(|e| e.address == up && e.state == EndpointState::Open)
            .await;
    }
    // Far more than the slow one's connections can have in hand.
    queue.put(2000, 100).await;
    queue.settled().await;
    sink.assert_has(0..200_000);
    assert!(quick.received() > slow.received());
    assert_eq!(queue.endpoints()[0].state, EndpointState::BackingOff);
}

#[tokio::test]
async fn a_slow_reader_gets_everything_once() {
    let slow = Script::Slow(64 << 10, Duration::from_millis(2));
    let logstash = Logstash::start_with(slow, Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]).unhurried().started();
    queue.put(100, 500).await;
    queue.settled().await;
    logstash.sink().assert_has(0..50_000);
    assert_eq!(logstash.sink().order().len(), 50_000);
}

#[tokio::test]
async fn a_blocked_logstash_is_waited_for_and_gets_everything_once() {
    let logstash = Logstash::start().await;
    let mut queue = Queue::to(&[logstash.address()]).unhurried().started();
    queue.put(1, 10).await;
    queue.settled().await;
    logstash.script(Script::Stall);
    queue.put(2000, 100).await;
    queue.wait_for_state(EndpointState::Blocked).await;
    sleep(queue.timing.alive * 3).await;
    assert_eq!(queue.endpoints()[0].state, EndpointState::Blocked);
    logstash.script(Script::Read);
    queue.settled().await;
    logstash.sink().assert_has(0..200_010);
    assert_eq!(logstash.sink().order().len(), 200_010);
}

#[tokio::test]
async fn a_slot_sends_on_while_a_closed_connection_waits_for_its_fin() {
    let logstash = Logstash::start().await;
    let mut queue = Queue::to(&[logstash.address()]).unhurried();
    queue.output.connections = 1;
    queue.timing.stretch_batches = 1;
    let mut queue = queue.started();
    let late = Fault::LateFin(Duration::from_secs(5));
    logstash.faults([late, late]);
    queue.put(2, 10).await;
    logstash.sink().wait_for(0..20).await;
    let stats = queue.stats();
    assert_eq!((stats.ledger.confirmed, stats.leased_events), (0, 20));
    queue.settled().await;
    assert_eq!(logstash.sink().order().len(), 20);
}

#[tokio::test]
async fn what_a_name_has_no_more_is_left_and_what_it_has_anew_is_used() {
    let sink: Arc<Sink> = Arc::default();
    let first = Logstash::start_with(Script::Read, sink.clone()).await;
    let second = Logstash::start_with(Script::Read, sink.clone()).await;
    let mut queue = Queue::to(&[first.address()]).started();
    queue.put(3, 10).await;
    queue.settled().await;
    let forwarder = queue.forwarder.clone().expect("started");
    for endpoint in forwarder.hosts[0].update(&forwarder.work, &[second.address()]) {
        crate::forwarder::lane::start_slots(&forwarder.work, &endpoint);
    }
    let before = first.received();
    queue.put(30, 10).await;
    queue.settled().await;
    sink.assert_has(0..330);
    assert_eq!(first.received(), before);
    let [endpoint] = &queue.endpoints()[..] else {
        panic!("one address");
    };
    assert_eq!(
        (endpoint.address, endpoint.confirmed_events),
        (second.address(), 300)
    );
    queue.drain().await;
}

#[tokio::test]
async fn nothing_is_sent_to_a_receiver_that_does_not_close() {
    let logstash = Logstash::start_with(Script::NeverClose, Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    queue.put(3, 10).await;
    queue.wait_for_state(EndpointState::Unsuitable).await;
    queue
        .wait_for(|endpoint| endpoint.consecutive_failures > 1)
        .await;
    assert_eq!((logstash.received(), queue.stats().leased_events), (0, 0));
    logstash.script(Script::Read);
    queue.settled().await;
    logstash.sink().assert_has(0..30);
}

#[tokio::test]
async fn written_asks_for_no_close() {
    let logstash = Logstash::start_with(Script::NeverClose, Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]);
    queue.output.confirm = crate::config::Confirm::Written;
    let mut queue = queue.started();
    queue.put(50, 100).await;
    queue.settled().await;
    logstash.sink().wait_for(0..5000).await;
}

#[tokio::test]
async fn a_name_is_resolved_to_its_addresses_and_a_wrong_one_is_shown() {
    let logstash = Logstash::start().await;
    let mut queue = Queue::to(&[]);
    let port = logstash.address().port();
    queue.output.hosts = vec!["nowhere.invalid:5000".into(), format!("localhost:{port}")];
    let mut queue = queue.started();
    queue.put(3, 10).await;
    queue.settled().await;
    let status = queue.forwarder.as_ref().expect("started").status();
    let shown = async {
        while queue.forwarder.as_ref().expect("started").status().hosts[0]
            .error
            .is_none()
        {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, shown).await.expect("shows the error");
    assert!(
        status.hosts[1]
            .endpoints
            .iter()
            .any(|e| e.confirmed_events == 30)
    );
    queue.drain().await;
}
