//! Finds the letters that are meant.

use std::collections::BTreeSet;

use super::{Cursor, Filter, WorkError, Workbench, not_run};
use crate::batch::QueueName;
use crate::dead_letter::store::{Letter, Order, Selection, Span};
use crate::jq::Verdict;

/// Most letters that a call looks at.
const MOST_EXAMINED: usize = 500;
/// Most letters that are sifted at a time, and how many bytes of them are enough.
const MOST_SIFTED: usize = 256;
const ENOUGH_BYTES: usize = 1 << 20;
/// Most letters that are read at a time: how long they are is known only then, and
/// behind many short ones may be many long ones.
const MOST_READ: usize = 8;
/// A call ends when what it found has so many bytes.
const FOUND_BYTES: usize = 8 << 20;

/// Letters that are meant, and how far was looked.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) letters: Vec<Letter>,
    /// The numbers of all that were looked at.
    pub(super) examined: Vec<u64>,
    pub(super) next: Option<Cursor>,
}

/// A way over the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) filter: &'a Filter,
    pub(super) after: Option<Cursor>,
    /// Look at so many letters at most.
    pub(super) examine: usize,
    /// Find so many at most.
    pub(super) find: usize,
    pub(super) order: Order,
}

impl Workbench {
    /// The first letters that are meant.
    pub(super) async fn walk(&self, walk: Walk<'_>) -> Result<Found, WorkError> {
        if walk.filter.id.is_some() {
            return self.named(walk.filter).await;
        }
        let Some(mut at) = self.begin(&walk).await? else {
            return Ok(Found::default());
        };
        let selection = walk.filter.selection();
        let mut left = walk.examine.clamp(1, MOST_EXAMINED);
        let mut found = Found::default();
        let mut bytes = 0;
        while left > 0 && found.letters.len() < walk.find {
            let count = left.min(MOST_SIFTED).min(walk.find - found.letters.len());
            let span = self.span(&walk, at);
            let numbers = self.store.numbers(&selection, span, walk.order, count);
            let numbers = numbers.await?;
            let (letters, read) = self.read(&numbers).await?;
            let Some(&last) = read.last() else {
                return Ok(found);
            };
            found.examined.extend(letters.iter().map(|l| l.number));
            let letters = self.sift(walk.filter, letters).await?;
            bytes += letters.iter().map(bytes_of).sum::<usize>();
            found.letters.extend(letters);
            if read.len() == numbers.len() && numbers.len() < count {
                return Ok(found);
            }
            at.last = last;
            if bytes >= FOUND_BYTES {
                break;
            }
            left -= read.len();
        }
        found.next = Some(at);
        Ok(found)
    }

    /// The letters with the first of these numbers, until there are enough bytes of them,
    /// and which numbers these are.
    async fn read<'n>(&self, numbers: &'n [u64]) -> Result<(Vec<Letter>, &'n [u64]), WorkError> {
        let (mut letters, mut bytes, mut count) = (Vec::new(), 0, 0);
        for some in numbers.chunks(MOST_READ) {
            let read = self.store.read(some).await?;
            bytes += read.iter().map(bytes_of).sum::<usize>();
            letters.extend(read);
            count += some.len();
            if bytes >= ENOUGH_BYTES {
                break;
            }
        }
        Ok((letters, &numbers[..count]))
    }

    /// Where the way begins or goes on; `None`: there is nothing.
    async fn begin(&self, walk: &Walk<'_>) -> Result<Option<Cursor>, WorkError> {
        if walk.after.is_some() {
            return Ok(walk.after);
        }
        let span = walk.filter.span();
        let all = Selection::default();
        let highest = self.store.numbers(&all, span, Order::NewestFirst, 1);
        let highest = highest.await?.pop();
        Ok(highest.map(|bound| Cursor {
            last: match walk.order {
                Order::OldestFirst => span.from.saturating_sub(1),
                Order::NewestFirst => bound.saturating_add(1),
            },
            bound,
        }))
    }

    fn span(&self, walk: &Walk<'_>, at: Cursor) -> Span {
        let span = walk.filter.span();
        match walk.order {
            Order::OldestFirst => Span {
                from: span.from.max(at.last.saturating_add(1)),
                to: span.to.min(at.bound),
            },
            Order::NewestFirst => Span {
                from: span.from,
                to: span.to.min(at.last.saturating_sub(1)),
            },
        }
    }

    /// The letters of a name.
    async fn named(&self, filter: &Filter) -> Result<Found, WorkError> {
        let mut numbers = Vec::new();
        let name = filter.id.as_deref().unwrap_or_default();
        for queue in self.queues_of(filter).await? {
            numbers.extend(self.store.find(&queue, name).await?);
        }
        let selection = filter.selection();
        let span = filter.span();
        let letters = self.store.read(&numbers).await?.into_iter();
        let fits = |letter: &Letter| {
            selection.has(&letter.group()) && (span.from..=span.to).contains(&letter.number)
        };
        let letters: Vec<_> = letters.filter(fits).collect();
        Ok(Found {
            examined: letters.iter().map(|l| l.number).collect(),
            letters: self.sift(filter, letters).await?,
            next: None,
        })
    }

    async fn queues_of(&self, filter: &Filter) -> Result<BTreeSet<QueueName>, WorkError> {
        if let Some(queue) = &filter.queue {
            return Ok([queue.clone()].into());
        }
        let groups = self.store.groups().await?.into_iter();
        Ok(groups.map(|group| group.key.queue).collect())
    }

    /// Those that fit the rest of the filter.
    async fn sift(&self, filter: &Filter, letters: Vec<Letter>) -> Result<Vec<Letter>, WorkError> {
        let max_attempts = self.settings.max_attempts;
        let fits = |letter: &Letter| filter.fits(letter, max_attempts);
        let letters: Vec<_> = letters.into_iter().filter(fits).collect();
        let Some(condition) = &filter.condition else {
            return Ok(letters);
        };
        let events: Vec<_> = letters.iter().map(|l| l.letter.event.clone()).collect();
        let verdicts = self.jq.keep(condition, &events).await;
        let verdicts = verdicts.map_err(|error| not_run(error, &letters))?;
        let kept = letters.into_iter().zip(verdicts);
        let kept = kept.filter(|(_, verdict)| *verdict == Verdict::Keep);
        Ok(kept.map(|(letter, _)| letter).collect())
    }
}

fn bytes_of(letter: &Letter) -> usize {
    letter.letter.event.len() + letter.original.as_ref().map_or(0, bytes::Bytes::len)
}
