//! One run of `send`: from lines to answers.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tokio_util::task::AbortOnDropHandle;

use super::batches::{Batches, Numbered};
use super::input::{Input, LONGEST_LINE, Piece};
use super::show::Show;
use super::summary::Summary;
use crate::client::{Answer, Client, Closed, Failed, Outcome, Receipt, SendError, State};

/// Answers that may wait for an older one, so that rejected lines are printed
/// in their order.
const OUTSTANDING: usize = 64;

/// Why a run ended.
#[derive(Debug)]
pub(super) enum Stop {
    /// The input is read, and everything is answered.
    Done,
    /// The input cannot be read further.
    Unreadable(io::Error),
    /// The gateway will not take such batches.
    Refused {
        from: u64,
        to: u64,
        error: SendError,
    },
    /// By the user.
    Interrupted,
}

/// A batch on its way.
#[derive(Debug)]
struct Sent {
    answer: Answer,
    lines: Vec<u64>,
    /// Bytes of the input that were read when it was sent.
    position: u64,
}

pub(super) struct Job {
    client: Client,
    batches: Batches,
    sent: VecDeque<Sent>,
    position: Arc<AtomicU64>,
    show: Show,
    summary: Summary,
    started: Instant,
    _outages: AbortOnDropHandle<()>,
}

impl Job {
    pub(super) fn new(client: Client, to: &str, batches: Batches, input: &Input) -> Self {
        let show = Show::new(input.length);
        let outages = tokio::spawn(tell_outages(client.clone(), to.to_owned(), show.clone()));
        Self {
            client,
            batches,
            sent: VecDeque::new(),
            position: Arc::clone(&input.position),
            show,
            summary: Summary::default(),
            started: Instant::now(),
            _outages: AbortOnDropHandle::new(outages),
        }
    }

    pub(super) async fn run(&mut self, input: Input) -> Stop {
        let mut pieces = input.start();
        let mut end = self.read(&mut pieces).await;
        if !matches!(end, Stop::Refused { .. })
            && let Some(last) = self.batches.take()
        {
            self.send(last).await;
        }
        // What is on its way is waited for, whatever stopped the reading.
        while let Some(first) = self.sent.front_mut() {
            let outcome = (&mut first.answer).await;
            let stop = self.settle(outcome);
            if matches!(end, Stop::Done) {
                end = stop.unwrap_or(end);
            }
        }
        end
    }

    async fn read(&mut self, pieces: &mut mpsc::Receiver<io::Result<Piece>>) -> Stop {
        loop {
            let room = self.sent.len() < OUTSTANDING;
            let due = self.batches.due();
            tokio::select! {
                biased;
                outcome = first_answer(&mut self.sent) => {
                    if let Some(stop) = self.settle(outcome) {
                        return stop;
                    }
                }
                piece = pieces.recv(), if room => match piece {
                    Some(Ok(piece)) => self.take(piece).await,
                    Some(Err(error)) => return Stop::Unreadable(error),
                    None => return Stop::Done,
                },
                () = sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() && room => {
                    if let Some(batch) = self.batches.take() {
                        self.send(batch).await;
                    }
                }
            }
        }
    }

    async fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Lines(lines) => {
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    if let Some(full) = self.batches.add(line) {
                        self.send(full).await;
                    }
                }
            }
            Piece::TooLong => {
                let line = self.batches.skip();
                self.summary.too_long += 1;
                let limit = bytesize::ByteSize(LONGEST_LINE as u64);
                self.show
                    .say(&format!("line {line}: longer than {limit}, not sent"));
            }
        }
    }

    async fn send(&mut self, Numbered { batch, lines }: Numbered) {
        self.summary.unanswered += lines.len() as u64;
        let position = self.position.load(Relaxed);
        match self.client.send(batch).await {
            Ok(answer) => self.sent.push_back(Sent {
                answer,
                lines,
                position,
            }),
            // Nobody else has a handle to close the client by.
            Err(Closed(_)) => self.show.say("the client ended before its time"),
        }
    }

    /// Takes the outcome of the oldest batch.
    fn settle(&mut self, outcome: Outcome) -> Option<Stop> {
        let sent = self.sent.pop_front()?;
        self.summary.unanswered -= sent.lines.len() as u64;
        let stop = match outcome {
            Ok(receipt) => {
                self.count(receipt, &sent.lines);
                None
            }
            Err(failed) => self.refused(failed, &sent.lines),
        };
        self.show.progress(self.summary.accepted, sent.position);
        stop
    }

    fn count(&mut self, receipt: Receipt, lines: &[u64]) {
        self.summary.batches += 1;
        self.summary.accepted += u64::from(receipt.accepted);
        self.summary.rejected += receipt.rejected.len() as u64;
        for event in receipt.rejected {
            let line = lines.get(event.index as usize).copied().unwrap_or_default();
            let fate = if event.kept {
                self.summary.kept += 1;
                "kept as a dead letter"
            } else {
                "not kept"
            };
            self.show
                .say(&format!("line {line}: {} ({fate})", event.detail));
        }
    }

    /// A single line may be refused for its length. A batch of more is refused
    /// for something that the next one has too.
    fn refused(&mut self, failed: Failed, lines: &[u64]) -> Option<Stop> {
        self.summary.refused += lines.len() as u64;
        let (&from, &to) = (lines.first()?, lines.last()?);
        if lines.len() == 1 {
            self.show.say(&format!("line {from}: {failed}"));
            return None;
        }
        let error = failed.error;
        Some(Stop::Refused { from, to, error })
    }

    pub(super) async fn finish(mut self, stop: Stop) -> Summary {
        self.show.end();
        self.summary.lines = self.batches.lines();
        self.summary.stopped = match stop {
            Stop::Done => None,
            Stop::Unreadable(error) => Some(format!("the input cannot be read: {error}")),
            Stop::Refused { from, to, error } => Some(format!("lines {from} to {to}: {error}")),
            Stop::Interrupted => Some("interrupted".to_owned()),
        };
        self.summary.close(self.started.elapsed());
        self.summary
    }
}

async fn first_answer(sent: &mut VecDeque<Sent>) -> Outcome {
    match sent.front_mut() {
        Some(first) => (&mut first.answer).await,
        None => std::future::pending().await,
    }
}

/// Says when the gateway stops to take events, and when it takes them again.
async fn tell_outages(client: Client, to: String, show: Show) {
    let mut state = client.state();
    let mut away = false;
    while state.changed().await.is_ok() {
        let now = state.borrow_and_update().clone();
        match now {
            State::Retrying { reason } if !away => {
                away = true;
                show.say(&format!("{to} takes no events: {reason}; trying again"));
            }
            State::Connected if away => {
                away = false;
                show.say(&format!("{to} takes events again"));
            }
            _ => {}
        }
    }
}
