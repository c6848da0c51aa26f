//! Hosts that are held, and hosts that stand by.

use std::collections::BTreeSet;

use super::*;

fn hold(queue: &Queue, names: &[&str]) {
    let names: BTreeSet<String> = names.iter().map(|name| name.to_string()).collect();
    queue.held.send_replace(Held::new(names));
}

fn state_of(queue: &Queue, address: SocketAddr) -> EndpointState {
    let endpoints = queue.endpoints();
    let found = endpoints.iter().find(|e| e.address == address);
    found.expect("an endpoint").state
}

async fn wait_for_state_of(queue: &Queue, address: SocketAddr, state: EndpointState) {
    queue
        .wait_for(|e| e.address == address && e.state == state)
        .await;
}

#[tokio::test]
async fn a_held_queue_is_not_sent_and_goes_on_where_it_was() {
    for ordered in [false, true] {
        let logstash = Logstash::start().await;
        let mut queue = Queue::to(&[logstash.address()]).unhurried();
        queue.output.ordered = ordered;
        queue.start();
        queue.put(5, 10).await;
        queue.settled().await;
        hold(&queue, &["logstash"]);
        queue.wait_for_state(EndpointState::Held).await;
        queue.put(5, 10).await;
        sleep(Duration::from_millis(100)).await;
        assert_eq!(queue.stats().ledger.confirmed, 50, "{ordered}");
        assert_eq!(
            (queue.stats().leased_events, logstash.sink().distinct()),
            (0, 50)
        );
        hold(&queue, &[]);
        queue.settled().await;
        assert_eq!(logstash.sink().order().len(), 100, "{ordered}");
    }
}

#[tokio::test]
async fn what_is_on_its_way_when_it_is_held_is_confirmed() {
    let logstash = Logstash::start_with(Script::Stall, Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]).unhurried();
    queue.timing.json_lines.probe = DEADLINE;
    logstash.script(Script::Read);
    queue.start();
    queue.put(1, 10).await;
    queue.settled().await;
    logstash.script(Script::Stall);
    queue.put(20, 10).await;
    queue.wait_for_state(EndpointState::Blocked).await;
    hold(&queue, &[&logstash.address().to_string()]);
    logstash.script(Script::Read);
    queue.wait_for_state(EndpointState::Held).await;
    let stats = queue.stats();
    assert!(
        stats.ledger.confirmed > 10 && stats.leased_events == 0,
        "{stats:?}"
    );
    assert_eq!(logstash.sink().distinct(), stats.ledger.confirmed);
}

#[tokio::test]
async fn a_queue_that_starts_held_dials_nobody() {
    let logstash = Logstash::start().await;
    let mut queue = Queue::to(&[logstash.address()]);
    hold(&queue, &["logstash"]);
    queue.start();
    queue.put(2, 10).await;
    queue.wait_for_state(EndpointState::Held).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!((logstash.received(), queue.stats().leased_events), (0, 0));
    assert_eq!(queue.drain().await.waiting_events, 20, "and it stops");
}

#[tokio::test]
async fn a_standby_host_rests_until_no_other_is_usable_and_again_when_one_returns() {
    let (mut primary, standby) = (Logstash::start().await, Logstash::start().await);
    let mut queue = Queue::to(&[primary.address()]).unhurried();
    queue.output.standby = vec![standby.address().to_string()];
    queue.start();
    queue.put(10, 10).await;
    queue.settled().await;
    assert_eq!((primary.sink().distinct(), standby.received()), (100, 0));
    assert_eq!(state_of(&queue, standby.address()), EndpointState::Standby);

    primary.kill().await;
    queue.put(10, 10).await;
    queue.settled().await;
    standby.sink().wait_for(100..200).await;

    primary.start_again(STARTUP).await;
    let returned = async {
        while state_of(&queue, standby.address()) != EndpointState::Standby {
            queue.put(1, 10).await;
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, returned).await.expect("given back");
    queue.settled().await;
    let before = standby.received();
    queue.put(10, 10).await;
    queue.settled().await;
    assert_eq!(standby.received(), before);
}

#[tokio::test]
async fn a_standby_host_takes_over_from_one_that_is_held() {
    let (primary, standby) = (Logstash::start().await, Logstash::start().await);
    let mut queue = Queue::to(&[primary.address()]).unhurried();
    queue.output.standby = vec![standby.address().to_string()];
    hold(&queue, &[&primary.address().to_string()]);
    queue.start();
    queue.put(10, 10).await;
    queue.settled().await;
    standby.sink().assert_has(0..100);
    hold(&queue, &[]);
    wait_for_state_of(&queue, standby.address(), EndpointState::Standby).await;
}

#[tokio::test]
async fn in_order_the_standby_host_is_left_again_when_the_other_returns() {
    let (mut primary, standby) = (Logstash::start().await, Logstash::start().await);
    let mut queue = Queue::to(&[primary.address()]).unhurried();
    queue.output.ordered = true;
    queue.output.standby = vec![standby.address().to_string()];
    primary.kill().await;
    queue.start();
    queue.put(10, 1).await;
    queue.settled().await;
    assert_eq!(standby.sink().order(), (0..10).collect::<Vec<_>>());
    primary.start_again(STARTUP).await;
    let returned = async {
        while primary.sink().distinct() == 0 {
            queue.put(1, 1).await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, returned).await.expect("given back");
    queue.settled().await;
    assert_eq!(queue.stats().unaccounted_events(), 0);
}
