//! Repairs letters, and throws letters away.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::walk::{Found, Walk};
use super::{Failure, Question, Report, Sample, WorkError, Workbench, not_run, unknown};
use crate::dead_letter::store::{Fate, Handle, Letter, Order};
use crate::jq::Rewritten;

/// Most samples and failures of a report.
const SHOWN: usize = 20;
/// Longest event of a sample, in bytes.
const SAMPLE_BYTES: usize = 64 << 10;

impl Workbench {
    /// Repairs a chunk of letters by an expression, or shows what it would do.
    pub async fn repair(&self, question: &Question) -> Result<Report, WorkError> {
        let expression = question.expression.as_deref();
        let expression = expression.ok_or_else(|| bad("a repair needs an expression"))?;
        self.jq.check(expression).await?;
        let found = self.chunk(question).await?;
        let (mut report, letters) = (Report::of(&found), found.letters);
        let events = letters.iter().map(|letter| {
            let event = letter.letter.event.clone();
            let original = letter.original.clone().unwrap_or_else(|| event.clone());
            (event, original)
        });
        let events: Vec<_> = events.collect();
        let longest = self.settings.limits.max_event_bytes;
        let rewritten = self.jq.rewrite(expression, &events, longest).await;
        let rewritten = rewritten.map_err(|error| not_run(error, &letters))?;
        let had = self.had_it(expression, &letters, &rewritten).await;
        let mut repaired = Vec::new();
        for (letter, rewritten) in letters.iter().zip(rewritten) {
            match rewritten {
                Rewritten::Same => report.unchanged += 1,
                Rewritten::Changed(_) if had.contains(&letter.number) => report.unchanged += 1,
                Rewritten::Failed(why) => report.failed(letter, why),
                Rewritten::Changed(event) => {
                    report.sample(letter, &event);
                    repaired.push((letter.handle(), event));
                }
            }
        }
        report.done = match question.apply {
            true => self.store.rewrite(repaired).await.map_err(unknown)?,
            false => repaired.len() as u64,
        };
        Ok(report)
    }

    /// Which letters are what this repair makes of their originals. They had it: who asks
    /// again, since an answer was lost, must not have `.n += 1` done twice.
    async fn had_it(
        &self,
        expression: &str,
        letters: &[Letter],
        rewritten: &[Rewritten],
    ) -> BTreeSet<u64> {
        let would_change = letters.iter().zip(rewritten);
        let would_change = would_change.filter(|(_, to)| matches!(to, Rewritten::Changed(_)));
        let repaired: Vec<_> = would_change
            .filter_map(|(letter, _)| Some((letter, letter.original.clone()?)))
            .collect();
        if repaired.is_empty() {
            return BTreeSet::new();
        }
        let originals = repaired.iter().map(|(_, o)| (o.clone(), o.clone()));
        let originals: Vec<_> = originals.collect();
        let longest = self.settings.limits.max_event_bytes;
        // It could be run just now. If it cannot any more, the repair goes on as asked.
        let made = self.jq.rewrite(expression, &originals, longest).await;
        let made = repaired.iter().zip(made.unwrap_or_default());
        let same = made.filter(|((letter, _), made)| match made {
            Rewritten::Changed(event) => *event == letter.letter.event,
            _ => false,
        });
        same.map(|((letter, _), _)| letter.number).collect()
    }

    /// Throws a chunk of letters away, or counts them.
    pub async fn discard(&self, question: &Question) -> Result<Report, WorkError> {
        let found = self.chunk(question).await?;
        let mut report = Report::of(&found);
        let handles: Vec<_> = found.letters.iter().map(Letter::handle).collect();
        report.done = match question.apply {
            true => self.settle(&handles, Fate::Discarded).await?,
            false => handles.len() as u64,
        };
        Ok(report)
    }

    /// Takes letters out that are in a file now; how many there were.
    pub async fn take(&self, handles: &[Handle]) -> Result<u64, WorkError> {
        self.settle(handles, Fate::SentElsewhere).await
    }

    pub(super) async fn settle(&self, handles: &[Handle], fate: Fate) -> Result<u64, WorkError> {
        self.store.settle(handles, fate).await.map_err(unknown)
    }

    /// The letters of a chunk.
    pub(super) async fn chunk(&self, question: &Question) -> Result<Found, WorkError> {
        self.walk(Walk {
            filter: &question.filter,
            after: question.after,
            examine: question.limit.unwrap_or(usize::MAX),
            find: usize::MAX,
            order: Order::OldestFirst,
        })
        .await
    }
}

pub(super) fn bad(what: &str) -> WorkError {
    WorkError::Bad(what.to_owned())
}

impl Report {
    /// Of what was found, and nothing done with it yet.
    fn of(found: &Found) -> Self {
        Self {
            examined: found.examined.len() as u64,
            matched: found.letters.len() as u64,
            next: found.next,
            ..Self::default()
        }
    }

    /// Notes a letter with which it could not be done.
    pub(super) fn failed(&mut self, letter: &Letter, why: String) {
        self.failed += 1;
        if self.failures.len() < SHOWN {
            self.failures.push(Failure {
                queue: letter.letter.queue.clone(),
                id: letter.name.clone(),
                why,
            });
        }
    }

    fn sample(&mut self, letter: &Letter, after: &Bytes) {
        let before = &letter.letter.event;
        if self.samples.len() >= SHOWN || before.len().max(after.len()) > SAMPLE_BYTES {
            return;
        }
        if let (Some(before), Some(after)) = (raw(before), raw(after)) {
            self.samples.push(Sample {
                queue: letter.letter.queue.clone(),
                id: letter.name.clone(),
                before,
                after,
            });
        }
    }
}

fn raw(event: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(event).ok()?;
    RawValue::from_string(text.trim().to_owned()).ok()
}
