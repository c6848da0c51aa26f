//! Reading: groups, numbers, letters, and the store at a glance.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use redb::{Error, ReadTransaction, ReadableTable, ReadableTableMetadata, StorageError};

use super::clock::Clock;
use super::groups;
use super::rows::Row;
use super::schema::{
    BOOKS, GROUP_IDS, GROUPS, HOURS, LETTERS, NAMES, NUMBERS, ORDER, REASONS, TOMBSTONES_BY_TIME,
    hour, index,
};
use super::tallies;
use crate::batch::{QueueName, UnixMillis};
use crate::dead_letter::store::{
    Aged, Group, KeptBack, Letter, Options, Order, SOON_MS, Selection, Span, Summary,
};
use crate::dead_letter::{Place, Reason};

/// All groups.
pub(super) fn groups(txn: &ReadTransaction) -> Result<Vec<Group>, Error> {
    let table = txn.open_table(GROUPS)?;
    let rows = table.iter()?;
    rows.map(|row| Ok(groups::parse(row?.1.value().1)?))
        .collect()
}

/// The letters of these numbers.
pub(super) fn read(txn: &ReadTransaction, numbers: &[u64]) -> Result<Vec<Letter>, Error> {
    let mut tables = Vec::new();
    for definition in LETTERS {
        tables.push(txn.open_table(definition)?);
    }
    let mut letters = Vec::new();
    for number in numbers {
        for table in &tables {
            if let Some(row) = table.get(*number)? {
                letters.push(Row::parse(row.value())?.letter);
                break;
            }
        }
    }
    Ok(letters)
}

/// The number of the letter of this name.
pub(super) fn find(
    txn: &ReadTransaction,
    queue: &QueueName,
    name: &str,
) -> Result<Option<u64>, Error> {
    let names = txn.open_table(NAMES)?;
    let entry = names.get((queue.as_str(), name))?;
    Ok(entry.map(|entry| entry.value().0))
}

type Numbers = Box<dyn Iterator<Item = Result<u64, StorageError>>>;

/// The first `limit` numbers in `span` of letters that `selection` means.
pub(super) fn numbers(
    txn: &ReadTransaction,
    selection: &Selection,
    span: Span,
    order: Order,
    limit: usize,
) -> Result<Vec<u64>, Error> {
    if span.from > span.to {
        return Ok(Vec::new());
    }
    let rows = if selection.is_all() {
        of_all(txn, span, order)?
    } else {
        of_groups(txn, selection, span, order)?
    };
    merge(rows, order, limit)
}

fn of_all(txn: &ReadTransaction, span: Span, order: Order) -> Result<Vec<Numbers>, Error> {
    let mut all: Vec<Numbers> = Vec::new();
    for definition in LETTERS {
        let rows = txn.open_table(definition)?.range(span.from..=span.to)?;
        let numbers = |row: Result<(redb::AccessGuard<'static, u64>, _), _>| Ok(row?.0.value());
        all.push(match order {
            Order::OldestFirst => Box::new(rows.map(numbers)),
            Order::NewestFirst => Box::new(rows.rev().map(numbers)),
        });
    }
    Ok(all)
}

fn of_groups(
    txn: &ReadTransaction,
    selection: &Selection,
    span: Span,
    order: Order,
) -> Result<Vec<Numbers>, Error> {
    let table = txn.open_table(ORDER)?;
    let mut meant: Vec<Numbers> = Vec::new();
    for entry in txn.open_table(GROUP_IDS)?.iter()? {
        let (key, id) = entry?;
        let id = id.value();
        if !selection.has(&groups::decode(key.value())?) {
            continue;
        }
        let rows = table.range((id, span.from)..=(id, span.to))?;
        let numbers =
            |row: Result<(redb::AccessGuard<'static, (u64, u64)>, _), _>| Ok(row?.0.value().1);
        meant.push(match order {
            Order::OldestFirst => Box::new(rows.map(numbers)),
            Order::NewestFirst => Box::new(rows.rev().map(numbers)),
        });
    }
    Ok(meant)
}

/// The first `limit` of several rows that are each in `order`.
fn merge(mut rows: Vec<Numbers>, order: Order, limit: usize) -> Result<Vec<u64>, Error> {
    // The greatest comes first out of the heap.
    let rank = |number: u64| match order {
        Order::OldestFirst => !number,
        Order::NewestFirst => number,
    };
    let mut heads = BinaryHeap::new();
    for (at, row) in rows.iter_mut().enumerate() {
        if let Some(number) = row.next().transpose()? {
            heads.push((rank(number), at));
        }
    }
    let mut numbers = Vec::new();
    while numbers.len() < limit {
        let Some((head, at)) = heads.pop() else {
            break;
        };
        numbers.push(rank(head));
        if let Some(number) = rows[at].next().transpose()? {
            heads.push((rank(number), at));
        }
    }
    Ok(numbers)
}

/// Whether a look for what is past its retention would change anything.
pub(super) fn has_to_age(txn: &ReadTransaction, options: &Options) -> Result<bool, Error> {
    let now = UnixMillis::now();
    let clock = Clock::read(&txn.open_table(NUMBERS)?)?;
    if clock.is_due(now) {
        return Ok(true);
    }
    let is_stopped = clock.stays_until(now).is_some();
    Ok(!is_stopped && has_old(txn, options.filed_before(now))?)
}

/// Whether anything is older than `before`: a letter or a tombstone.
fn has_old(txn: &ReadTransaction, before: UnixMillis) -> Result<bool, Error> {
    for definition in LETTERS {
        let table = txn.open_table(definition)?;
        let first = table.first()?;
        if first.is_some_and(|(number, _)| number.value() / 1000 < before.0) {
            return Ok(true);
        }
    }
    let tombstones = txn.open_table(TOMBSTONES_BY_TIME)?;
    let first = tombstones.first()?;
    Ok(first.is_some_and(|(key, _)| key.value().0 < before.0))
}

/// What stays though it is past its retention, to the hour, and how far the numbers are
/// ahead.
pub(super) fn aged(txn: &ReadTransaction, options: &Options) -> Result<Aged, Error> {
    let now = UnixMillis::now();
    let numbers = txn.open_table(NUMBERS)?;
    let last = numbers.get("last")?.map_or(0, |last| last.value());
    let kept = match Clock::read(&numbers)?.stays_until(now) {
        Some(until) => Some(KeptBack {
            letters: filed_before(txn, options.filed_before(now))?,
            until,
        }),
        None => None,
    };
    Ok(Aged {
        kept: kept.filter(|kept| kept.letters > 0),
        ahead_ms: (last / 1000).saturating_sub(now.0),
        ..Aged::default()
    })
}

/// The store at a glance.
pub(super) fn summary(
    txn: &ReadTransaction,
    options: &Options,
    full: BTreeSet<Place>,
) -> Result<Summary, Error> {
    let books = txn.open_table(BOOKS)?;
    let mut places = BTreeMap::new();
    for place in Place::ALL {
        let mut of_place = tallies::read(&books, place)?;
        of_place.held = txn.open_table(LETTERS[index(place)])?.len()?;
        places.insert(place, of_place);
    }
    let mut reasons = BTreeMap::new();
    for entry in txn.open_table(REASONS)?.iter()? {
        let (word, events) = entry?;
        if let Some(reason) = Reason::named(word.value()) {
            reasons.insert(reason, events.value());
        }
    }
    Ok(Summary {
        places,
        full,
        reasons,
        expiring: expiring(txn, options)?,
        trouble: None,
    })
}

/// Letters that are past their retention soon.
fn expiring(txn: &ReadTransaction, options: &Options) -> Result<u64, Error> {
    let soon = UnixMillis(UnixMillis::now().0.saturating_add(SOON_MS));
    match options.filed_before(soon) {
        UnixMillis(0) => Ok(0),
        before => filed_before(txn, before),
    }
}

/// Letters that were filed before then, or in the same hour.
fn filed_before(txn: &ReadTransaction, before: UnixMillis) -> Result<u64, Error> {
    let hours = txn.open_table(HOURS)?;
    let mut events = 0;
    for entry in hours.range(..=hour(before.0.saturating_mul(1000)))? {
        events += entry?.1.value();
    }
    Ok(events)
}
