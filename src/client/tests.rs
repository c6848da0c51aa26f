//! The rules of [`Unanswered`], told step by step.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use super::outcome::Reply;
use super::unanswered::Unanswered;
use super::window::Window;
use super::{Batch, Outcome, SendError};
use crate::proto::{AppendRequest, AppendResponse};

const SOON: Duration = Duration::from_secs(1);

/// What the owner would do, by hand.
struct Told {
    unanswered: Unanswered,
    now: Instant,
    /// Of the stream that is open.
    next_ordinal: u64,
}

impl Told {
    fn new(patience: Option<Duration>) -> Self {
        Self {
            unanswered: Unanswered::new("web".to_owned(), patience),
            now: Instant::now(),
            next_ordinal: 0,
        }
    }

    /// Sends that many batches; their ids and answers.
    fn send(&mut self, batches: usize) -> Vec<(Bytes, oneshot::Receiver<Outcome>)> {
        let window = Window::new(batches, 1 << 20);
        (0..batches)
            .map(|_| {
                let batch = Batch::new("{}\n");
                let id = batch.id().clone();
                let place = window.try_enter(3).expect("room");
                let (reply, answer) = oneshot::channel();
                self.unanswered
                    .add(batch, place, Reply::Answer(reply), self.now);
                (id, answer)
            })
            .collect()
    }

    /// Everything that may go out now.
    fn due(&mut self) -> Vec<AppendRequest> {
        let due: Vec<_> = std::iter::from_fn(|| self.unanswered.next_due(self.now)).collect();
        self.next_ordinal += due.len() as u64;
        due
    }

    fn due_ids(&mut self) -> Vec<Bytes> {
        self.due().into_iter().map(|r| r.batch_id).collect()
    }

    fn answer(&mut self, ordinal: u64, error: Option<pb::Status>) {
        let answer = AppendResponse {
            accepted: 1,
            ordinal,
            error,
            ..AppendResponse::default()
        };
        self.unanswered.answered(answer, self.now);
    }

    fn end_stream(&mut self, status: &Status) {
        self.unanswered.stream_ended(status, self.now);
        self.next_ordinal = 0;
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

fn error(code: Code, retry: Option<Duration>) -> Option<pb::Status> {
    let mut details = ErrorDetails::new();
    if retry.is_some() {
        details.set_retry_info(retry);
    }
    let status = Status::with_error_details(code, "no", details);
    Some(pb::Status::decode(status.details()).expect("a status"))
}

fn outcome(mut answer: oneshot::Receiver<Outcome>) -> Outcome {
    answer.try_recv().expect("it has an outcome")
}

#[test]
fn answers_find_their_batch_by_ordinal_in_any_order() {
    let mut told = Told::new(None);
    let mut sent = told.send(3);
    assert_eq!(told.due().len(), 3);
    told.answer(2, None);
    told.answer(0, None);
    let (_, second) = sent.remove(1);
    for (id, answer) in sent {
        let receipt = outcome(answer).expect("durable");
        assert_eq!(receipt.batch.id(), &id);
    }
    told.answer(1, error(Code::InvalidArgument, None));
    assert!(outcome(second).is_err());
    assert_eq!(told.unanswered.report().accepted, 2);
    assert_eq!(told.unanswered.report().failed, 1);
}

#[test]
fn a_broken_stream_sends_again_what_was_unanswered_in_order_under_the_same_ids() {
    let mut told = Told::new(None);
    let sent = told.send(4);
    let before = told.due();
    told.answer(1, None);
    told.end_stream(&Status::unknown("broken"));
    assert!(told.due().is_empty(), "not before the pause is over");

    told.wait(SOON);
    let probe = told.due();
    assert_eq!(probe, before[..1], "one alone, the same bytes");
    told.answer(0, None);
    assert_eq!(told.due_ids(), [&sent[2].0, &sent[3].0]);
    assert_eq!(told.unanswered.report().resent, 3);
}

#[test]
fn an_answer_of_an_earlier_stream_settles_nothing_on_the_next() {
    let mut told = Told::new(None);
    let mut sent = told.send(2);
    told.due();
    told.end_stream(&Status::unknown("broken"));
    told.answer(1, None);
    let (_, mut second) = sent.remove(1);
    assert!(second.try_recv().is_err());
}

#[test]
fn retry_info_is_obeyed_by_every_batch() {
    let mut told = Told::new(None);
    let sent = told.send(3);
    told.due();
    let asked = Duration::from_secs(5);
    told.answer(0, error(Code::ResourceExhausted, Some(asked)));
    let more = told.send(1);
    told.wait(asked - Duration::from_millis(1));
    assert!(told.due().is_empty(), "nothing goes out before the time");
    assert!(
        told.unanswered
            .next_look(told.now)
            .is_some_and(|at| at > told.now)
    );
    told.wait(SOON);
    told.answer(1, None);
    told.answer(2, None);
    assert_eq!(told.due_ids(), [&sent[0].0]);
    told.answer(3, None);
    assert_eq!(told.due_ids(), [&more[0].0]);
}

#[test]
fn a_burst_of_refusals_is_one_failure() {
    let mut told = Told::new(None);
    told.send(16);
    told.due();
    for ordinal in 0..16 {
        told.answer(ordinal, error(Code::Unavailable, None));
    }
    // One failure waits at most 100 ms; sixteen would wait up to 15 s.
    told.wait(Duration::from_millis(100));
    assert_eq!(told.due().len(), 1);
}

#[test]
fn the_batch_that_makes_the_gateway_end_the_stream_is_found_and_given_back() {
    let mut told = Told::new(None);
    let mut sent = told.send(4);
    assert_eq!(told.due().len(), 4);
    let guilty = sent[2].0.clone();
    told.end_stream(&Status::out_of_range("message too large"));
    for _ in 0..10 {
        told.wait(SOON);
        let due = told.due_ids();
        assert!(due.len() <= 1, "one at a time: {due:?}");
        match due.first() {
            Some(id) if *id == guilty => told.end_stream(&Status::out_of_range("too large")),
            Some(_) => told.answer(told.next_ordinal - 1, None),
            None => break,
        }
    }
    let (_, third) = sent.remove(2);
    let failed = outcome(third).expect_err("given back");
    assert_eq!(failed.batch.id(), &guilty);
    assert!(matches!(
        failed.error,
        SendError::Refused {
            code: Code::OutOfRange,
            ..
        }
    ));
    for (_, answer) in sent {
        assert!(outcome(answer).is_ok());
    }
}

#[test]
fn a_caller_without_rights_gets_everything_back() {
    let mut told = Told::new(None);
    let sent = told.send(3);
    told.due();
    told.end_stream(&Status::permission_denied("not your queue"));
    for (id, answer) in sent {
        let failed = outcome(answer).expect_err("given back");
        assert_eq!(failed.batch.id(), &id);
    }
}

#[test]
fn an_idle_stream_may_end_without_a_pause() {
    let mut told = Told::new(None);
    told.send(1);
    told.due();
    told.answer(0, None);
    told.end_stream(&Status::unavailable("restarting"));
    assert!(!told.unanswered.is_failing());
    told.send(1);
    assert_eq!(told.due().len(), 1);
}

#[test]
fn a_batch_is_given_up_when_the_patience_is_over_and_says_why() {
    let mut told = Told::new(Some(SOON));
    let mut sent = told.send(1);
    told.due();
    told.end_stream(&Status::unavailable("connection refused"));
    told.wait(SOON / 2);
    told.unanswered.give_up(told.now);
    assert!(sent[0].1.try_recv().is_err(), "not before");
    told.wait(SOON / 2);
    told.unanswered.give_up(told.now);
    let (_, answer) = sent.remove(0);
    let failed = outcome(answer).expect_err("given up");
    assert!(failed.to_string().contains("connection refused"));
    assert_eq!(told.unanswered.oldest(), None);
}

#[test]
fn the_answer_of_a_batch_that_was_given_up_is_not_counted() {
    let mut told = Told::new(Some(SOON));
    told.send(1);
    told.due();
    told.wait(SOON);
    told.unanswered.give_up(told.now);
    told.answer(0, None);
    let report = told.unanswered.report();
    assert_eq!((report.accepted, report.failed), (0, 1));
}
