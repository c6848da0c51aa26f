//! `ordered = true`.

use super::*;
use crate::forwarder::logstash::Sink;

/// After a copy the order goes on where the copy began; nothing is skipped.
fn assert_in_order(order: &[u64]) {
    let mut next = 0;
    for &n in order {
        assert!(n <= next, "{n} came before {next}");
        next = next.max(n + 1);
    }
}

fn ordered(hosts: &[SocketAddr]) -> Queue {
    let mut queue = Queue::to(hosts);
    queue.output.ordered = true;
    queue.started()
}

#[tokio::test]
async fn order_is_kept_over_restarts() {
    let mut logstash = Logstash::start().await;
    let mut queue = ordered(&[logstash.address()]);
    for round in 0..6 {
        queue.put(20, 10).await;
        match round % 2 {
            0 => logstash.stop(QUIET).await,
            _ => logstash.kill().await,
        }
        queue.put(5, 10).await;
        logstash.start_again(STARTUP).await;
    }
    queue.settled().await;
    logstash.sink().assert_has(0..1500);
    assert_in_order(&logstash.sink().order());
    assert_eq!(queue.kept_letters(), 0);
}

#[tokio::test]
async fn the_next_host_takes_over_in_order() {
    let sink: Arc<Sink> = Arc::default();
    let mut first = Logstash::start_with(Script::Read, sink.clone()).await;
    let second = Logstash::start_with(Script::Read, sink.clone()).await;
    let hosts = [nobody(), first.address(), second.address()];
    let mut queue = Queue::to(&hosts).unhurried();
    queue.output.ordered = true;
    let mut queue = queue.started();
    queue.put(30, 10).await;
    sink.wait_for(0..20).await;
    let (one, other) = (first.received(), second.received());
    assert!(one == 0 || other == 0, "one host at a time: {one}, {other}");
    first.kill().await;
    queue.put(30, 10).await;
    queue.settled().await;
    sink.assert_has(0..600);
    assert_in_order(&sink.order());
}

#[tokio::test]
async fn a_host_that_was_left_is_not_shown_as_open() {
    let mut hosts = [Logstash::start().await, Logstash::start().await];
    let mut queue = Queue::to(&[hosts[0].address(), hosts[1].address()]).unhurried();
    queue.output.ordered = true;
    let mut queue = queue.started();
    queue.put(1, 10).await;
    queue.settled().await;
    let used = hosts.iter().position(|host| host.received() > 0);
    let left = &mut hosts[used.expect("one was used")];
    left.kill().await;
    let left = left.address();
    queue.put(1, 10).await;
    queue.settled().await;
    queue.wait_for_state(EndpointState::Open).await;
    let is_known_to_fail =
        |e: &EndpointStatus| e.address == left && e.state == EndpointState::BackingOff;
    queue.wait_for(is_known_to_fail).await;
}

#[tokio::test]
async fn poison_is_found_without_anything_passing_it() {
    let logstash = Logstash::start_with(Script::ResetOn("poison"), Arc::default()).await;
    let mut queue = ordered(&[logstash.address()]);
    queue.put(3, 10).await;
    queue.put_marked(10, 4, "poison").await;
    queue.put(3, 10).await;
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, queue.kept_letters()), (69, 1));
    let order = logstash.sink().order();
    let before: Vec<u64> = order.iter().copied().filter(|&n| n < 34).collect();
    let after: Vec<u64> = order.iter().filter(|&&n| n > 34).map(|n| n - 35).collect();
    assert_in_order(&before);
    assert_in_order(&after);
    assert!(order.iter().position(|&n| n == 33) < order.iter().position(|&n| n == 40));
}
