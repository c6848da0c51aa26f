//! How an endpoint stands after what happened to it.

use super::*;

const UNFIT: Unfit = Unfit {
    error: "it does not close",
    now: "it does not close now",
    ever: "it never closes",
};

fn endpoint() -> Endpoint {
    let address = SocketAddr::from(([127, 0, 0, 1], 5000));
    let (stop, refresh) = Default::default();
    Endpoint::new(
        QueueName::default(),
        address.to_string(),
        Target::plain(address),
        &Timing::default(),
        stop,
        refresh,
    )
}

#[test]
fn trouble_of_this_machine_slows_down_and_is_no_failure() {
    let endpoint = endpoint();
    let no_ports = rustix::io::Errno::ADDRNOTAVAIL.into();
    endpoint.proven();
    let due = endpoint.due();
    endpoint.lost(&Unknown::Local(ConnectError::Local(no_ports)), true);
    let status = endpoint.status();
    assert_eq!(
        (status.consecutive_failures, endpoint.is_proven()),
        (0, true)
    );
    assert!(
        status
            .last_error
            .is_some_and(|e| e.contains("this machine"))
    );
    assert!(endpoint.due() > due, "the next try is put off");
    endpoint.confirmed(1);
    assert_eq!(endpoint.status().last_error, None);
}

#[test]
fn a_sender_that_is_gone_is_shown_no_more_and_leaves_its_place() {
    let endpoint = Arc::new(endpoint());
    for _ in 0..3 {
        let link = Link::new(endpoint.clone());
        link.shows(LinkState::Open);
        assert_eq!(endpoint.status().state, EndpointState::Open);
    }
    assert_eq!(endpoint.status().state, EndpointState::Connecting);
    assert_eq!(endpoint.state().links.len(), 1);
}

#[test]
fn a_failure_asks_for_a_new_proof_and_a_confirmation_ends_the_row() {
    let endpoint = endpoint();
    endpoint.proven();
    endpoint.lost(&Unknown::ClosedEarly, false);
    assert!(!endpoint.is_proven() && endpoint.is_failing());
    assert_eq!(endpoint.status().state, EndpointState::BackingOff);
    endpoint.proven();
    assert!(
        endpoint.is_failing(),
        "a proof alone does not end the backoff"
    );
    endpoint.confirmed(1);
    assert!(!endpoint.is_failing());
}

#[test]
fn one_that_closed_before_is_blocked_and_one_that_never_did_is_unsuitable() {
    let endpoint = endpoint();
    endpoint.not_proven(&UNFIT);
    assert_eq!(endpoint.status().state, EndpointState::Unsuitable);
    endpoint.proven();
    endpoint.not_proven(&UNFIT);
    assert_eq!(endpoint.status().state, EndpointState::Blocked);
}

#[test]
fn only_what_no_event_can_cause_counts_as_being_away() {
    let endpoint = endpoint();
    let known = endpoint.last_gone();
    endpoint.confirmed(1);
    endpoint.lost(&Unknown::ClosedEarly, false);
    assert_eq!(endpoint.last_gone(), known);
    assert!(endpoint.confirmed_since(known));
    endpoint.lost(&Unknown::ClosedEarly, true);
    assert!(!endpoint.confirmed_since(endpoint.last_gone()));
}

#[test]
fn one_answer_of_too_much_does_not_hold_for_ever() {
    let endpoint = endpoint();
    endpoint.take_at_most(4096);
    let mut taken = 0;
    while endpoint.takes_at_most() < 32_768 {
        endpoint.takes_it();
        taken += 1;
        assert!(taken <= 10_000, "it stays at {}", endpoint.takes_at_most());
    }
    assert_eq!(taken, 3000, "three times twice as much");
    endpoint.takes_it();
    endpoint.take_at_most(2048);
    (1..1000).for_each(|_| endpoint.takes_it());
    assert_eq!(endpoint.takes_at_most(), 2048);
}

#[test]
fn as_much_as_can_be_does_not_grow() {
    let endpoint = endpoint();
    (0..1000).for_each(|_| endpoint.takes_it());
    assert_eq!(endpoint.takes_at_most(), usize::MAX);
}
