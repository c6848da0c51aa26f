//! A whole queue and scripted beats inputs.

use super::*;
use crate::config::Compression;
use crate::forwarder::beats::{Beats, Fault, Pace, Script};

const POISON: &str = "poison";

#[tokio::test]
async fn every_event_is_delivered_once_in_windows_that_follow_each_other() {
    let beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()])
        .unhurried()
        .started();
    queue.put(100, 100).await;
    let stats = queue.settled().await;
    assert_eq!(
        (stats.ledger.confirmed, stats.unaccounted_events()),
        (10_000, 0)
    );
    beats.sink().assert_has(0..10_000);
    assert_eq!(
        (beats.sink().order().len(), beats.sink().faults()),
        (10_000, 0)
    );
    let seen = beats.seen();
    assert_eq!(
        (seen.pipelined, seen.out_of_sequence, seen.compressed),
        (0, 0, 0)
    );
    assert_eq!(queue.endpoints()[0].state, EndpointState::Open);
}

#[tokio::test]
async fn windows_begin_small_and_soon_have_as_many_events_as_they_may() {
    let beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()])
        .unhurried()
        .never_slow();
    queue.output.ordered = true;
    queue.put(1, 9_000).await;
    queue.start();
    queue.settled().await;
    let windows = beats.seen().windows;
    assert_eq!(windows, [64, 128, 256, 512, 1024, 2048, 2048, 2048, 872]);
}

#[tokio::test]
async fn a_window_that_took_long_halves_the_next() {
    let beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]).slow_if_late();
    queue.output.ordered = true;
    beats.faults([Fault::LateAck(LATE); 2]);
    queue.put(1, 200).await;
    queue.start();
    queue.settled().await;
    assert_eq!(beats.seen().windows, [64, 32, 16, 32, 56]);
}

#[tokio::test]
async fn compressed_windows_hold_the_same_events() {
    let beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]).unhurried();
    queue.output.compression = Compression::Level(5);
    let mut queue = queue.started();
    queue.put(50, 100).await;
    queue.settled().await;
    let seen = beats.seen();
    assert_eq!(seen.compressed, seen.windows.len());
    assert_eq!(
        (beats.sink().order().len(), seen.out_of_sequence),
        (5_000, 0)
    );
}

#[tokio::test]
async fn a_blocked_logstash_is_waited_for_however_long_and_gets_everything_once() {
    let beats = Beats::start_with(Script::Block, Pace::default()).await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]);
    // Many times what lies between two words of a Logstash on a busy machine.
    queue.timing.lumberjack.silence = Duration::from_secs(3);
    let mut queue = queue.started();
    queue.put(50, 100).await;
    queue.wait_for_state(EndpointState::Blocked).await;
    let says_so = |e: &EndpointStatus| {
        e.last_error
            .as_ref()
            .is_some_and(|error| error.contains("blocked for more than"))
    };
    queue.wait_for(says_so).await;
    sleep(queue.timing.lumberjack.silence * 2).await;
    assert_eq!(queue.endpoints()[0].consecutive_failures, 0);
    beats.script(Script::Ack);
    queue.settled().await;
    queue.wait_for_state(EndpointState::Open).await;
    assert_eq!(
        (
            beats.sink().order().len(),
            queue.endpoints()[0].last_error.clone()
        ),
        (5_000, None)
    );
}

#[tokio::test]
async fn a_host_that_accepts_and_never_says_a_word_is_given_up_and_holds_up_nobody() {
    let dead = Beats::start_with(Script::Silent, Pace::default()).await;
    let well = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[dead.address(), well.address()]).started();
    queue.put(200, 100).await;
    let at = dead.address();
    queue
        .wait_for(|e| e.address == at && e.consecutive_failures > 0)
        .await;
    let error = queue.endpoints()[0].last_error.clone().expect("said");
    assert!(error.contains("no sign of life"), "{error}");
    queue.settled().await;
    well.sink().assert_has(0..20_000);
}

#[tokio::test]
async fn a_partial_ack_settles_the_batches_it_covers_and_only_the_rest_is_sent_again() {
    let beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]).unhurried();
    queue.output.ordered = false;
    queue.output.connections = 1;
    beats.faults([Fault::Reset {
        processed: 30,
        acked: 30,
    }]);
    queue.put(5, 20).await;
    queue.start();
    let stats = queue.settled().await;
    assert_eq!(
        (stats.ledger.confirmed, stats.unaccounted_events()),
        (100, 0)
    );
    let order = beats.sink().order();
    assert_eq!(order, (0..100).collect::<Vec<_>>(), "no event twice");
    assert_eq!(beats.sink().faults(), 0, "ids go by the place in the batch");
}

#[tokio::test]
async fn acks_in_steps_are_one_confirmation() {
    let beats = Beats::start_with(Script::Steps(7), Pace::default()).await;
    let mut queue = Queue::by_lumberjack(&[beats.address()])
        .unhurried()
        .started();
    queue.put(10, 50).await;
    queue.settled().await;
    assert_eq!(beats.sink().order().len(), 500);
    assert_eq!(queue.endpoints()[0].confirmed_events, 500);
}

#[tokio::test]
async fn what_a_reset_leaves_unacknowledged_is_sent_again_with_the_same_ids() {
    let beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]);
    beats.faults([
        Fault::Reset {
            processed: 10,
            acked: 0,
        },
        Fault::Close,
        Fault::Reset {
            processed: 10,
            acked: 5,
        },
    ]);
    queue.put(10, 50).await;
    queue.start();
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, queue.kept_letters()), (500, 0));
    beats.sink().assert_has(0..500);
    assert_eq!(beats.sink().faults(), 0);
}

#[tokio::test]
async fn an_answer_that_fits_no_window_confirms_nothing() {
    let beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]);
    beats.faults([
        Fault::WrongAck(65),
        Fault::Garbage,
        Fault::WrongAck(u32::MAX),
    ]);
    queue.put(4, 100).await;
    queue.start();
    queue.settled().await;
    beats.sink().assert_has(0..400);
    assert_eq!(queue.kept_letters(), 0);
}

#[tokio::test]
async fn an_ack_of_events_that_were_not_sent_yet_confirms_nothing() {
    let beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]);
    // More than the kernel takes while nobody reads.
    let long = "x".repeat(1_000_000);
    let lines = (0..8).map(|n| format!("{{\"n\":{n},\"text\":\"{long}\"}}\n"));
    beats.faults([Fault::EarlyAck(7)]);
    queue.put_payload(lines.collect(), 8).await;
    queue.start();
    queue.settled().await;
    beats.sink().assert_has(0..8);
}

#[tokio::test]
async fn a_second_ack_of_a_window_is_not_taken_for_the_next_ones() {
    let beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]).unhurried();
    queue.output.ordered = true;
    // The next window has the same events at least, and is never processed.
    beats.faults([Fault::AckTwice]);
    queue.put(1, 64).await;
    queue.start();
    queue.settled().await;
    sleep(Duration::from_millis(50)).await;
    queue.put(1, 64).await;
    queue.settled().await;
    beats.sink().assert_has(0..128);
    assert_eq!(beats.seen().connections, 2, "the first is given up");
}

#[tokio::test]
async fn an_ack_that_comes_late_still_confirms() {
    let beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]).unhurried();
    beats.faults([Fault::LateAck(Duration::from_millis(500))]);
    queue.put(2, 50).await;
    queue.start();
    queue.settled().await;
    assert_eq!(beats.sink().order().len(), 100);
}

#[tokio::test]
async fn an_idle_connection_is_closed_before_logstash_resets_it() {
    let beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]);
    queue.timing.lumberjack.idle = Duration::from_millis(300);
    let mut queue = queue.started();
    queue.put(1, 10).await;
    queue.settled().await;
    while beats.seen().connections < 8 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(beats.seen().timed_out, 0);
    assert_eq!(queue.endpoints()[0].consecutive_failures, 0);
    queue.put(1, 10).await;
    queue.settled().await;
}

#[tokio::test]
async fn a_logstash_that_resets_idle_connections_loses_nothing() {
    let pace = Pace {
        inactivity: Duration::from_millis(100),
        ..Pace::default()
    };
    let beats = Beats::start_with(Script::Ack, pace).await;
    let mut queue = Queue::by_lumberjack(&[beats.address()])
        .unhurried()
        .started();
    for _ in 0..5 {
        queue.put(2, 10).await;
        queue.settled().await;
        sleep(Duration::from_millis(250)).await;
    }
    assert!(beats.seen().timed_out > 0);
    assert_eq!(beats.sink().order().len(), 100);
}

#[tokio::test]
async fn a_stop_of_a_blocked_logstash_repeats_events_and_condemns_none() {
    let mut beats = Beats::start_with(Script::Block, Pace::default()).await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]).started();
    queue.put(20, 50).await;
    for _ in 0..4 {
        queue.wait_for_state(EndpointState::Blocked).await;
        beats.stop(QUIET).await;
        beats.start_again().await;
    }
    beats.script(Script::Ack);
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, queue.kept_letters()), (1_000, 0));
    beats.sink().assert_has(0..1_000);
    assert_eq!(beats.sink().faults(), 0);
}

#[tokio::test]
async fn a_logstash_that_is_killed_again_and_again_gets_everything() {
    let mut beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]).started();
    for _ in 0..5 {
        queue.put(40, 50).await;
        sleep(Duration::from_millis(20)).await;
        beats.kill().await;
        sleep(Duration::from_millis(20)).await;
        beats.start_again().await;
    }
    queue.settled().await;
    beats.sink().assert_has(0..10_000);
    assert_eq!((beats.sink().faults(), queue.kept_letters()), (0, 0));
}

#[tokio::test]
async fn what_a_blocked_logstash_has_when_the_gateway_stops_goes_back() {
    let beats = Beats::start_with(Script::Block, Pace::default()).await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]).started();
    queue.put(20, 50).await;
    queue.wait_for_state(EndpointState::Blocked).await;
    let stats = queue.drain().await;
    assert_eq!((stats.ledger.confirmed, stats.waiting_events), (0, 1_000));
    queue.reopen().await;
    queue.stop = CancellationToken::new();
    beats.script(Script::Ack);
    queue.start();
    queue.settled().await;
    beats.sink().assert_has(0..1_000);
}

#[tokio::test]
async fn poison_ends_as_the_only_dead_letter_with_what_the_output_answered() {
    let beats = Beats::start_with(Script::ResetOn(POISON), Pace::default()).await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]).started();
    queue.put(5, 20).await;
    queue.put_marked(200, 107, POISON).await;
    queue.put(5, 20).await;
    let stats = queue.settled().await;
    assert_eq!(
        (stats.ledger.confirmed, stats.ledger.dead_letters),
        (399, 1)
    );
    assert_eq!((queue.kept_letters(), stats.unaccounted_events()), (1, 0));
    assert_eq!(beats.sink().missing(0..400), [207]);
    let mut letters = Vec::new();
    for file in std::fs::read_dir(queue.dir.path().join("dead-letters/forwarder")).expect("read") {
        letters.extend(std::fs::read(file.expect("a file").path()).expect("read"));
    }
    let answer = b"; the last time: the connection broke: ";
    assert!(memchr::memmem::find(&letters, answer).is_some());
}

#[tokio::test]
async fn a_reset_behind_an_ack_of_0_condemns_nothing() {
    let beats = Beats::start_with(Script::BlockOn(POISON), Pace::default()).await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]).started();
    queue.put(5, 20).await;
    queue.put_marked(20, 7, POISON).await;
    for _ in 0..20 {
        queue.put(1, 10).await;
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(queue.kept_letters(), 0);
    beats.script(Script::Ack);
    queue.settled().await;
    beats.sink().assert_has(0..queue.next);
    assert_eq!(queue.kept_letters(), 0);
}

#[tokio::test]
async fn order_is_kept_over_resets() {
    let beats = Beats::start().await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]);
    queue.output.ordered = true;
    beats.faults([
        Fault::Reset {
            processed: 0,
            acked: 0,
        },
        Fault::Reset {
            processed: 20,
            acked: 20,
        },
    ]);
    queue.put(20, 50).await;
    queue.start();
    queue.settled().await;
    assert_eq!(beats.sink().order(), (0..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_with_a_line_and_no_message_keeps_what_it_says() {
    let beats = Beats::start_with(Script::ResetOn("\"line\""), Pace::default()).await;
    let mut queue = Queue::by_lumberjack(&[beats.address()]).started();
    queue
        .put_payload("{\"line\":\"x\",\"n\":0}\n".into(), 1)
        .await;
    queue.settled().await;
    beats.sink().assert_has(0..1);
}
