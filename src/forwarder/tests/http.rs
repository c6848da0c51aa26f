//! A whole queue and scripted http inputs.

use super::*;
use crate::config::Secret;
use crate::forwarder::http_input::{Fault, HttpInput, Script};

const POISON: &str = "poison";

fn says(endpoint: &EndpointStatus, what: &str) -> bool {
    let error = endpoint.last_error.as_ref();
    error.is_some_and(|error| error.contains(what))
}

#[tokio::test]
async fn every_event_is_delivered_once_in_requests_that_follow_each_other() {
    let input = HttpInput::start().await;
    let mut queue = Queue::by_http(&[input.address()]);
    // Nor does a connection ask whether it lives.
    queue.timing.alive = DEADLINE;
    let mut queue = queue.started();
    queue.put(100, 100).await;
    let stats = queue.settled().await;
    assert_eq!(
        (stats.ledger.confirmed, stats.unaccounted_events()),
        (10_000, 0)
    );
    input.sink().assert_has(0..10_000);
    assert_eq!(
        (input.sink().order().len(), input.sink().faults()),
        (10_000, 0)
    );
    let seen = input.seen();
    assert_eq!(
        (seen.pipelined, seen.connections),
        (0, queue.output.connections)
    );
    assert!(
        !seen.head.to_lowercase().contains("expect"),
        "{}",
        seen.head
    );
    assert_eq!(queue.endpoints()[0].state, EndpointState::Open);
}

#[tokio::test]
async fn requests_begin_small_and_grow_with_each_quick_answer() {
    let input = HttpInput::start().await;
    let mut queue = Queue::by_http(&[input.address()]).never_slow();
    queue.output.ordered = true;
    queue.put(1, 3_000).await;
    queue.start();
    queue.settled().await;
    assert_eq!(input.seen().requests, [64, 128, 256, 512, 1024, 1016]);
}

#[tokio::test]
async fn an_answer_that_took_long_halves_the_next_request() {
    let input = HttpInput::start().await;
    let mut queue = Queue::by_http(&[input.address()]).slow_if_late();
    queue.output.ordered = true;
    input.faults([Fault::Late(LATE); 2]);
    queue.put(1, 200).await;
    queue.start();
    queue.settled().await;
    assert_eq!(input.seen().requests, [64, 32, 16, 32, 56]);
}

#[tokio::test]
async fn both_forms_of_429_end_the_connection_and_bring_the_batch_again() {
    for fault in [Fault::Full, Fault::TooSlow] {
        let input = HttpInput::start().await;
        let mut queue = Queue::by_http(&[input.address()]);
        queue.output.connections = 1;
        // Only what a 429 ends is followed by another connection.
        queue.timing.alive = DEADLINE;
        input.faults([fault, fault, fault]);
        queue.put(1, 10).await;
        queue.start();
        queue.wait_for(|e| says(e, "429 Too Many Requests")).await;
        let stats = queue.settled().await;
        assert_eq!(
            (stats.ledger.confirmed, queue.kept_letters()),
            (10, 0),
            "{fault:?}"
        );
        input.sink().assert_has(0..10);
        assert_eq!(input.seen().connections, 4, "{fault:?}");
    }
}

#[tokio::test]
async fn a_hanging_request_is_waited_for_and_delivered_once() {
    let input = HttpInput::start_with(Script::Hang).await;
    let mut queue = Queue::by_http(&[input.address()]).started();
    queue.put(20, 100).await;
    queue.wait_for_state(EndpointState::Blocked).await;
    sleep(queue.timing.alive * 3).await;
    assert_eq!(queue.endpoints()[0].consecutive_failures, 0);
    input.script(Script::Take);
    queue.settled().await;
    assert_eq!(input.sink().order().len(), 2_000);
    queue.wait_for_state(EndpointState::Open).await;
}

#[tokio::test]
async fn a_request_that_hangs_for_ever_is_given_up_in_the_end_and_holds_up_nobody() {
    let (dead, well) = (
        HttpInput::start_with(Script::Silent).await,
        HttpInput::start().await,
    );
    let mut queue = Queue::by_http(&[dead.address(), well.address()]);
    queue.timing.http.answer = Duration::from_millis(700);
    queue.start();
    queue.put(200, 100).await;
    let at = dead.address();
    queue
        .wait_for(|e| e.address == at && says(e, "no sign of life"))
        .await;
    queue.settled().await;
    well.sink().assert_has(0..20_000);
}

#[tokio::test]
async fn wrong_credentials_are_said_and_nothing_is_lost_until_they_are_right() {
    let input = HttpInput::start_with(Script::Guarded("Bearer right")).await;
    let mut queue = Queue::by_http(&[input.address()]);
    queue.output.http.token = Some(Secret::new("wrong"));
    queue.start();
    queue.put(5, 10).await;
    queue.wait_for_state(EndpointState::Unsuitable).await;
    assert!(says(&queue.endpoints()[0], "401 Unauthorized"));
    input.script(Script::Guarded("Bearer wrong"));
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, queue.kept_letters()), (50, 0));
    assert_eq!(input.sink().order().len(), 50, "nothing twice");
    queue.wait_for_state(EndpointState::Open).await;
}

#[tokio::test]
async fn a_path_that_is_not_there_never_makes_a_dead_letter() {
    let input = HttpInput::start_with(Script::Answer(404)).await;
    let mut queue = Queue::by_http(&[input.address()]).started();
    queue.put(5, 10).await;
    queue.wait_for(|e| e.consecutive_failures > 6).await;
    assert_eq!(queue.endpoints()[0].state, EndpointState::Unsuitable);
    assert_eq!(
        (queue.kept_letters(), queue.stats().ledger.confirmed),
        (0, 0)
    );
}

#[tokio::test]
async fn a_request_that_is_too_long_is_split_until_it_fits() {
    let input = HttpInput::start_with(Script::AtMost(2_000)).await;
    let mut queue = Queue::by_http(&[input.address()]).started();
    queue.put(10, 500).await;
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, queue.kept_letters()), (5_000, 0));
    assert_eq!(input.sink().order().len(), 5_000, "nothing twice");
}

#[tokio::test]
async fn an_event_that_is_too_long_alone_becomes_a_dead_letter() {
    let input = HttpInput::start_with(Script::AtMost(2_000)).await;
    let mut queue = Queue::by_http(&[input.address()]).started();
    queue.put_marked(20, 7, &"x".repeat(3_000)).await;
    queue.wait_for(|e| says(e, "413")).await;
    queue.put(5, 20).await;
    let ledger = queue.settled().await.ledger;
    assert_eq!((ledger.dead_letters, queue.kept_letters()), (1, 1));
    assert_eq!(input.sink().missing(0..120), [7]);
    assert!(queue.letters_say("413"));
}

#[tokio::test]
async fn the_one_event_that_it_chokes_on_becomes_a_dead_letter_with_its_answer() {
    let input = HttpInput::start_with(Script::ChokeOn(POISON)).await;
    let mut queue = Queue::by_http(&[input.address()]).started();
    queue.put_marked(50, 31, POISON).await;
    queue.wait_for(|e| e.consecutive_failures > 3).await;
    assert_eq!(queue.kept_letters(), 0, "nothing else was confirmed yet");
    queue.put(5, 20).await;
    let ledger = queue.settled().await.ledger;
    assert_eq!((ledger.dead_letters, queue.kept_letters()), (1, 1));
    assert_eq!(input.sink().missing(0..150), [31]);
    assert!(queue.letters_say("500 Internal Server Error"));
}

#[tokio::test]
async fn an_input_that_chokes_on_everything_condemns_nothing() {
    let input = HttpInput::start_with(Script::Answer(500)).await;
    let mut queue = Queue::by_http(&[input.address()]).started();
    queue.put(5, 10).await;
    queue.wait_for(|e| e.consecutive_failures > 10).await;
    assert_eq!(
        (queue.kept_letters(), queue.stats().ledger.confirmed),
        (0, 0)
    );
    input.script(Script::Take);
    queue.settled().await;
    input.sink().assert_has(0..50);
}

#[tokio::test]
async fn whatever_happens_to_single_requests_nothing_is_missing() {
    let faults = [
        Fault::Choke(3),
        Fault::Reset(5),
        Fault::Close,
        Fault::Goodbye,
        Fault::Dribble,
        Fault::Garbage,
        Fault::Full,
        Fault::TooSlow,
    ];
    let input = HttpInput::start().await;
    let mut queue = Queue::by_http(&[input.address()]);
    queue.output.connections = 1;
    for fault in faults {
        input.faults([Fault::Dribble, fault]);
    }
    queue.start();
    for _ in 0..40 {
        queue.put(5, 40).await;
        sleep(Duration::from_millis(10)).await;
    }
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, queue.kept_letters()), (8_000, 0));
    input.sink().assert_has(0..8_000);
    assert_eq!((input.sink().faults(), input.seen().pipelined), (0, 0));
}

#[tokio::test]
async fn a_connection_that_is_closed_after_each_answer_costs_a_connect_and_no_event_twice() {
    let input = HttpInput::start().await;
    let mut queue = Queue::by_http(&[input.address()]);
    queue.output.connections = 1;
    input.faults([Fault::Goodbye; 6]);
    queue.put(1, 1_000).await;
    queue.start();
    queue.settled().await;
    assert_eq!(input.sink().order().len(), 1_000);
    let endpoint = queue.endpoints().remove(0);
    assert_eq!(endpoint.consecutive_failures, 0, "{endpoint:?}");
}

#[tokio::test]
async fn a_stop_in_mid_request_loses_nothing_and_blames_no_event() {
    let mut input = HttpInput::start_with(Script::Hang).await;
    let mut queue = Queue::by_http(&[input.address()]).started();
    queue.put(40, 50).await;
    input.wait_for_requests(1).await;
    input.stop(QUIET).await;
    input.script(Script::Take);
    sleep(STARTUP).await;
    input.start_again().await;
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, queue.kept_letters()), (2_000, 0));
    input.sink().assert_has(0..2_000);
    assert_eq!(input.sink().faults(), 0, "copies have the id of the first");
}

#[tokio::test]
async fn kills_under_load_lose_nothing() {
    let mut input = HttpInput::start().await;
    let mut queue = Queue::by_http(&[input.address()]).started();
    for _ in 0..5 {
        queue.put(50, 20).await;
        input.kill().await;
        input.start_again().await;
    }
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, queue.kept_letters()), (5_000, 0));
    input.sink().assert_has(0..5_000);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_another_one_opened() {
    let input = HttpInput::start().await;
    let mut queue = Queue::by_http(&[input.address()]);
    queue.output.connections = 1;
    queue.timing.http.idle = Duration::from_millis(50);
    queue.start();
    queue.put(1, 5).await;
    queue.settled().await;
    let before = input.seen().connections;
    let another = async {
        while input.seen().connections <= before {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, another)
        .await
        .expect("another connection");
    queue.put(1, 5).await;
    queue.settled().await;
    assert_eq!(
        (
            input.sink().order().len(),
            queue.endpoints()[0].consecutive_failures
        ),
        (10, 0)
    );
}

#[tokio::test]
async fn requests_travel_through_tls() {
    let folder = TempDir::new().expect("folder");
    let authority = crate::pki::Authority::new(folder.path(), "ca");
    let input = HttpInput::start().await;
    let files = authority.certify("127.0.0.1");
    let config = tls::server_config(&files.cert, &files.key, None).expect("serves");
    let front = crate::pki::Front::start(config, input.address()).await;
    let mut queue = Queue::by_http(&[front.address]);
    queue.output.tls.enabled = true;
    queue.output.tls.ca_file = Some(authority.file());
    queue.start();
    queue.put(100, 200).await;
    queue.settled().await;
    assert_eq!(
        (input.sink().order().len(), input.sink().faults()),
        (20_000, 0)
    );
}
