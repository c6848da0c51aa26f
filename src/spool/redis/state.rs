//! The state of a list: what this gateway holds of it, and the books. The only file
//! that changes it; always under the shard's lock, in short sections.
//!
//! A batch goes `ready` (leased in Redis, nobody has it) -> `out` (handed out) ->
//! `acked` (done with; Redis does not know yet) or back to `ready`. Lease numbers go
//! up and are never used again, whatever becomes of the holder, so a number that is
//! not there belongs to a holder that we are no longer.
//!
//! The books are what Redis answered last, with what it cannot know yet on top:
//! appends that are newer than that answer, and what happened to batches in hand. All
//! answers but those to appends come in the order in which Redis gave them; an append
//! says by its count whether it is in them. So nothing is counted twice or left out.

mod view;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::books::Books;
use super::held::{Held, Part, Sorted};
use crate::batch::{BatchId, UnixMillis};
use crate::ledger::Ledger;

pub(super) use view::View;

/// Most batches whose attempts are remembered while others may hold them.
const REMEMBERED: usize = 4096;
/// Most appends that are told apart while Redis does not tell its books.
const APART: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct State {
    holder: Option<String>,
    /// Whom Redis still holds batches for, because we were that one.
    former: Vec<String>,
    /// Highest lease number that was ever asked for.
    last: u64,
    books: Books,
    /// When the list's first element arrived.
    head_arrived_at: Option<UnixMillis>,
    appended: VecDeque<Appended>,
    /// The count of flushes that was known when Redis was last asked.
    asked: u64,
    set_back: Option<SetBack>,
    ready: BTreeMap<u64, Held>,
    out: BTreeMap<u64, Held>,
    acked: BTreeMap<u64, Settlement>,
    attempts: HashMap<(BatchId, u64), u32>,
    /// When something of `ready` was last put in or taken out.
    touched: Option<Instant>,
    /// Whether something was handed out since the last fetch.
    taken: bool,
    /// Whether somebody looked here in vain since something was last withdrawn.
    missed: bool,
    closed: bool,
}

/// A flush that Redis answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Appended {
    /// The count of flushes with it.
    pub(super) at: u64,
    /// How its events came.
    pub(super) came: Ledger,
    pub(super) bytes: u64,
}

/// Redis has less than it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SetBack {
    /// Counts of flushes.
    pub(super) appends_before: u64,
    pub(super) appends_after: u64,
    pub(super) waiting_events_before: u64,
}

/// What became of a leased batch.
#[derive(Debug, Clone)]
pub(super) struct Settlement {
    pub(super) parts: Arc<[Part]>,
    pub(super) events: u64,
    pub(super) dead_letters: u64,
    pub(super) damaged: bool,
    /// When it was accepted, for the archive. `None`: that does not take it, since it was
    /// replayed from there, or is damaged.
    pub(super) accepted_at: Option<UnixMillis>,
}

/// What a holder on a new connection finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resumed {
    /// All that is in hand, and these lease numbers of which nobody here knows.
    With(Vec<u64>),
    /// Something that is in hand is not there: Redis is not what it was.
    Other,
}

/// How a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Done with; so many events became dead letters.
    Settled { dead_letters: u32 },
    /// Not sent, or refused as a whole.
    Returned,
    /// Sent, and nobody knows what became of it.
    Unknown,
    /// It cannot be read, now or ever.
    Damaged,
}

impl State {
    // Holders.

    pub(super) fn holder(&self) -> Option<&String> {
        self.holder.as_ref()
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn registered(&mut self, id: String, books: Books) {
        self.holder = Some(id);
        self.apply(books);
    }

    /// We are `id` no longer. What is in hand of it will come again, from here or
    /// elsewhere: its settlements are refused. Returns how many batches that are.
    pub(super) fn retire(&mut self, id: &str) -> usize {
        if self.holder.as_deref() != Some(id) {
            return 0;
        }
        self.former.extend(self.holder.take());
        let unsettled = self.out.len() + self.acked.len();
        self.ready.clear();
        self.out.clear();
        self.acked.clear();
        unsettled
    }

    pub(super) fn former(&self) -> Option<&String> {
        self.former.first()
    }

    pub(super) fn forget_former(&mut self, id: &str, books: Books) {
        self.former.retain(|former| former != id);
        self.apply(books);
    }

    /// Redis has leases `numbers` for the holder.
    pub(super) fn resume(&mut self, numbers: &[u64], books: Books) -> Resumed {
        let there: HashSet<u64> = numbers.iter().copied().collect();
        let kept: HashSet<u64> = numbers_of(self.ready.values().chain(self.out.values()));
        if !kept.is_subset(&there) {
            return Resumed::Other;
        }
        let is_there = |part: &Part| there.contains(&part.number);
        // What is gone was settled, and only the answer to that was lost.
        self.acked
            .retain(|_, settlement| settlement.parts.iter().any(is_there));
        let acked = self
            .acked
            .values()
            .flat_map(|settlement| &*settlement.parts);
        let acked: HashSet<u64> = acked.map(|part| part.number).collect();
        self.apply(books);
        let is_unknown = |number: &u64| !kept.contains(number) && !acked.contains(number);
        Resumed::With(there.into_iter().filter(is_unknown).collect())
    }

    // Leasing.

    /// Reserves `most` lease numbers; the first of them.
    pub(super) fn reserve(&mut self, most: u64) -> u64 {
        let first = self.last + 1;
        self.last += most;
        first
    }

    /// Redis leased these to `holder`.
    pub(super) fn fetched(&mut self, holder: &str, sorted: Sorted, books: Books) {
        if self.holder.as_deref() != Some(holder) {
            return;
        }
        self.apply(books);
        self.taken = false;
        for mut held in sorted.batches {
            if held.events() == 0 {
                self.acked.insert(held.number(), done(held, 0));
                continue;
            }
            let batch = (held.header.id, held.header.payload_hash);
            held.attempts = self.attempts.remove(&batch).unwrap_or(0);
            self.touched = Some(Instant::now());
            self.ready.insert(held.number(), held);
        }
        for (part, events, _) in sorted.damaged {
            let settlement = Settlement {
                parts: [part].into(),
                events,
                dead_letters: 0,
                damaged: true,
                accepted_at: None,
            };
            self.acked.insert(part.number, settlement);
        }
    }

    /// Hands out the oldest batch that is here.
    pub(super) fn take(&mut self) -> Option<Held> {
        if self.closed {
            return None;
        }
        let Some((number, mut held)) = self.ready.pop_first() else {
            self.missed = true;
            return None;
        };
        self.touched = Some(Instant::now());
        self.taken = true;
        let content = held.content.take();
        self.out.insert(number, held.clone());
        Some(Held { content, ..held })
    }

    /// Ends a lease. `false`: it is no longer ours, or the spool is closed.
    pub(super) fn settle(&mut self, number: u64, outcome: Outcome) -> bool {
        if self.closed {
            return false;
        }
        let Some(mut held) = self.out.remove(&number) else {
            return false;
        };
        match outcome {
            Outcome::Settled { dead_letters } if held.rejects.is_empty() => {
                self.acked.insert(number, done(held, dead_letters));
            }
            // What was refused is not kept yet: settled, it would be lost.
            Outcome::Settled { .. } => {
                self.ready.insert(number, held);
                return false;
            }
            Outcome::Damaged => {
                let settlement = Settlement {
                    damaged: true,
                    accepted_at: None,
                    ..done(held, 0)
                };
                self.acked.insert(number, settlement);
            }
            Outcome::Returned | Outcome::Unknown => {
                held.attempts += u32::from(outcome == Outcome::Unknown);
                self.touched = Some(Instant::now());
                self.ready.insert(number, held);
            }
        }
        true
    }

    /// The refused events of a batch in hand are kept as dead letters.
    pub(super) fn rejects_kept(&mut self, number: u64) {
        if let Some(held) = self.out.get_mut(&number) {
            held.rejects_kept();
        }
    }

    /// Whether it is still handed out.
    pub(super) fn is_out(&self, number: u64) -> bool {
        self.out.contains_key(&number)
    }

    /// Whether to fetch: somebody waits in vain, or less than `low` bytes are left of
    /// what is being taken. Who waits, but did not look when there was something, has
    /// other things to do (a slow output), and would keep it from other gateways.
    pub(super) fn wants_more(&self, is_wanted: bool, low: u64) -> bool {
        let bytes: u64 = self.ready.values().map(Held::bytes).sum();
        (is_wanted && self.missed && self.ready.is_empty()) || (self.taken && bytes < low)
    }

    // Settling.

    /// What Redis has to be told, oldest first.
    pub(super) fn settlements(&self, most: usize) -> Vec<Settlement> {
        self.acked.values().take(most).cloned().collect()
    }

    pub(super) fn has_settlements(&self) -> bool {
        !self.acked.is_empty()
    }

    /// Redis knows of `settled`.
    pub(super) fn settled(&mut self, settled: &[Settlement], books: Books) {
        for settlement in settled {
            let number = settlement.parts.first().map_or(0, |part| part.number);
            self.acked.remove(&number);
        }
        self.apply(books);
    }

    // Giving back.

    /// Takes out what lies ready for longer than `idle`, so that nobody here gets it;
    /// its lease numbers.
    pub(super) fn withdraw_idle(&mut self, now: Instant, idle: Duration) -> Vec<u64> {
        let touched = self.touched.map(|at| now.saturating_duration_since(at));
        if touched.is_none_or(|since| since < idle) {
            return Vec::new();
        }
        self.missed &= self.ready.is_empty();
        let idle = std::mem::take(&mut self.ready);
        for held in idle.values().filter(|held| held.attempts > 0) {
            // Whoever remembers thousands of them has other troubles.
            if self.attempts.len() < REMEMBERED {
                let batch = (held.header.id, held.header.payload_hash);
                self.attempts.insert(batch, held.attempts);
            }
        }
        numbers_of(idle.values())
    }

    // The books.

    /// Redis is about to be asked: what was appended by now is in its answer.
    pub(super) fn ask(&mut self) {
        let newest = self.appended.iter().map(|append| append.at).max();
        self.asked = self.books.appends.max(newest.unwrap_or(0));
    }

    /// What Redis has now. Never older than what was known when it was asked, unless it
    /// has forgotten some.
    pub(super) fn apply(&mut self, books: Books) {
        if books.appends < self.asked {
            self.set_back = Some(SetBack {
                appends_before: self.asked,
                appends_after: books.appends,
                waiting_events_before: self.view().waiting_events,
            });
            self.asked = books.appends;
            self.appended.clear();
        }
        self.appended.retain(|append| append.at > books.appends);
        self.books = books;
    }

    /// Whether Redis has forgotten appends. Told once.
    pub(super) fn set_back(&mut self) -> Option<SetBack> {
        self.set_back.take()
    }

    pub(super) fn set_head(&mut self, arrived_at: Option<UnixMillis>) {
        self.head_arrived_at = arrived_at;
    }

    pub(super) fn appended(&mut self, append: Appended) {
        if append.at > self.books.appends {
            self.appended.push_back(append);
        }
        // The next books have the oldest ones all together.
        if self.appended.len() > APART
            && let Some(oldest) = self.appended.pop_front()
            && let Some(next) = self.appended.front_mut()
        {
            next.came = next.came.plus(&oldest.came);
            next.bytes += oldest.bytes;
        }
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }
}

/// A batch that is done with; `dead_letters` of the events that were sent became dead
/// letters, besides those that were refused.
fn done(held: Held, dead_letters: u32) -> Settlement {
    let events = held.events();
    Settlement {
        dead_letters: (u64::from(dead_letters) + held.refused).min(events),
        parts: held.parts,
        events,
        damaged: false,
        accepted_at: held.header.arrived_at(),
    }
}

fn numbers_of<'h, C: FromIterator<u64>>(held: impl Iterator<Item = &'h Held>) -> C {
    let parts = held.flat_map(|held| held.parts.iter());
    parts.map(|part| part.number).collect()
}

#[cfg(test)]
mod tests;
