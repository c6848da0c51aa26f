//! Finding the guilty events of a batch: parts of it are sent alone, halves of
//! what breaks, until single events are left.
//!
//! The lease stays whole meanwhile; a crash, or anything unclear, sends all of
//! the batch again.

use std::ops::Range;

use bytes::Bytes;
use tokio::time::Instant;

use super::alone::Verdict;
use super::in_hand::{InHand, ack, requeue};
use super::lane::Lane;
use super::letters;
use super::outcome::Unknown;
use super::suspects::BREAKS;
use crate::batch::UnixMillis;
use crate::dead_letter::{DeadLetter, Reason, Source, Undeliverable};
use crate::event::{self, Stamper};
use crate::metrics;
use crate::spool::Lease;

/// Events of the batch that were not sent since it is being bisected, or broke.
#[derive(Debug)]
struct Part {
    events: Range<u32>,
    breaks: u32,
}

/// An event that broke the connection alone.
#[derive(Debug)]
struct Guilty {
    position: u32,
    /// What the far side did the last time.
    answer: Unknown,
}

impl Part {
    fn new(events: Range<u32>) -> Self {
        Self { events, breaks: 0 }
    }

    /// Puts the halves, the first on top.
    fn split_onto(self, parts: &mut Vec<Self>) {
        let Range { start, end } = self.events;
        let middle = start + (end - start) / 2;
        parts.extend([Self::new(middle..end), Self::new(start..middle)]);
    }
}

impl Lane {
    /// Sends `lease` in parts and settles it. `since`: when it first broke.
    pub(super) async fn bisect(&mut self, lease: Lease, payload: Bytes, since: Instant) {
        let from = self.work.covered.events(lease.header());
        match self.find_guilty(&lease, &payload, from, since).await {
            Err(unknown) => {
                let mut in_hand = InHand::default();
                in_hand.push(lease, from);
                in_hand.unknown(&self.work, &self.endpoint, &unknown).await;
            }
            Ok(guilty) => {
                let letters = self.letters(&lease, &payload, &guilty);
                self.bury(lease, letters).await;
            }
        }
    }

    /// The events from position `from` on that break the connection; all others
    /// are confirmed.
    async fn find_guilty(
        &mut self,
        lease: &Lease,
        payload: &[u8],
        from: u32,
        since: Instant,
    ) -> Result<Vec<Guilty>, Unknown> {
        let mut guilty = Vec::new();
        let mut parts = Vec::new();
        let all = Part::new(from..lease.header().events);
        match all.events.len() {
            1 => parts.push(all),
            _ => all.split_onto(&mut parts),
        }
        while let Some(mut part) = parts.pop() {
            let lines = lines(payload, &part.events);
            match self.send_alone(lease, lines, part.events.clone()).await {
                Verdict::Confirmed => self.count_confirmed(part.events.len() as u64),
                Verdict::NotSent => return Err(Unknown::InParts),
                Verdict::Unclear(unknown) => return Err(unknown),
                Verdict::Broke(_) if part.events.len() > 1 => part.split_onto(&mut parts),
                Verdict::Broke(unknown) => {
                    part.breaks += 1;
                    match part.breaks < BREAKS {
                        true => parts.push(part),
                        false if self.is_fit_to_judge(since) => guilty.push(Guilty {
                            position: part.events.start,
                            answer: unknown,
                        }),
                        false => return Err(unknown),
                    }
                }
            }
        }
        Ok(guilty)
    }

    fn count_confirmed(&self, events: u64) {
        self.endpoint.confirmed(events);
        let result = self.work.terms.result;
        metrics::forwarded(&self.work.queue, &self.endpoint.label, result, events);
    }

    fn letters(&self, lease: &Lease, payload: &[u8], guilty: &[Guilty]) -> Vec<DeadLetter> {
        let stamper = Stamper::new(lease.header(), self.work.output.event_id);
        let stable = |position| (!lease.header().foreign).then(|| stamper.id(position));
        let letter = |&Guilty {
                          position,
                          ref answer,
                      }: &Guilty| {
            let event = lines(payload, &(position..position + 1)).trim_ascii_end();
            DeadLetter {
                queue: self.work.queue.clone(),
                // The id that it is sent with: one that was returned has its own.
                id: event::own_id(event).or_else(|| stable(position)),
                reason: Reason::Undeliverable(Undeliverable::Poison),
                field: None,
                detail: format!(
                    "sent alone, it failed at {} again and again, while other events were confirmed there; the last time: {answer}",
                    self.endpoint.label
                ),
                source: Source::Forwarder,
                attempt: event::attempt(event),
                at: UnixMillis::now(),
                event: Bytes::copy_from_slice(event),
            }
        };
        guilty.iter().map(letter).collect()
    }

    /// Keeps the letters, however long that takes, and only then lets go of the batch.
    async fn bury(&self, lease: Lease, letters: Vec<DeadLetter>) {
        let count = letters.len() as u32;
        if count > 0 && !self.keep(letters).await {
            return requeue(&self.work, lease, true).await;
        }
        metrics::forwarded(
            &self.work.queue,
            &self.endpoint.label,
            "dead_letter",
            u64::from(count),
        );
        ack(&self.work, lease, count).await;
    }

    async fn keep(&self, letters: Vec<DeadLetter>) -> bool {
        let events = letters.len();
        let kept = letters::keep(&self.work, letters).await;
        if kept {
            tracing::warn!(queue = %self.work.queue, endpoint = %self.endpoint.label, events,
                "events that broke the connection again and again became dead letters");
        }
        kept
    }
}

/// The lines of `block` from position `from` on.
pub(super) fn rest(block: &[u8], from: u32) -> &[u8] {
    match from {
        0 => block,
        _ => lines(block, &(from..u32::MAX)),
    }
}

/// The lines of `block` at `range`.
fn lines<'a>(block: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    let mut ends = memchr::memchr_iter(b'\n', block).map(|at| at + 1);
    let start = match range.start as usize {
        0 => 0,
        before => ends.nth(before - 1).unwrap_or(block.len()),
    };
    let end = match range.len() {
        0 => start,
        len => ends.nth(len - 1).unwrap_or(block.len()),
    };
    &block[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_the_lines_at_its_positions() {
        let block = b"{0}\n{1}\n{2}\n{3}\n";
        assert_eq!(lines(block, &(0..4)), block);
        assert_eq!(lines(block, &(0..1)), b"{0}\n");
        assert_eq!(lines(block, &(1..3)), b"{1}\n{2}\n");
        assert_eq!(lines(block, &(3..4)), b"{3}\n");
        assert_eq!((rest(block, 0), rest(block, 4)), (&block[..], &b""[..]));
        assert_eq!(rest(block, 2), b"{2}\n{3}\n");
    }

    #[test]
    fn halves_cover_the_whole_and_the_first_is_sent_first() {
        let mut parts = Vec::new();
        Part::new(3..8).split_onto(&mut parts);
        let events: Vec<_> = parts.into_iter().rev().map(|p| p.events).collect();
        assert_eq!(events, [3..5, 5..8]);
    }
}
