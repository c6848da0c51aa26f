//! What is counted: the books of each place, letters by reason, letters by hour.

use std::collections::BTreeMap;

use redb::{Error, ReadableTable, StorageError, WriteTransaction};

use super::rows::{Row, damaged};
use super::schema::{BOOKS, HOURS, REASONS, hour, index};
use crate::dead_letter::Place;
use crate::dead_letter::store::{Books, Fate};

/// Counts as a change finds them and leaves them.
pub(super) struct Tallies<'t> {
    table: redb::Table<'t, &'static str, &'static [u8]>,
    hours: redb::Table<'t, u64, u64>,
    reasons: redb::Table<'t, &'static str, u64>,
    books: [Books; Place::ALL.len()],
    by_hour: BTreeMap<u64, i64>,
    by_reason: BTreeMap<&'static str, i64>,
}

impl<'t> Tallies<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, Error> {
        let table = txn.open_table(BOOKS)?;
        let mut books = [Books::default(); Place::ALL.len()];
        for place in Place::ALL {
            books[index(place)] = read(&table, place)?;
        }
        Ok(Self {
            table,
            hours: txn.open_table(HOURS)?,
            reasons: txn.open_table(REASONS)?,
            books,
            by_hour: BTreeMap::new(),
            by_reason: BTreeMap::new(),
        })
    }

    /// Length of what is held of a place, in bytes.
    pub(super) fn bytes(&self, place: Place) -> u64 {
        self.books[index(place)].bytes
    }

    pub(super) fn add(&mut self, row: &Row) {
        let books = &mut self.books[index(row.place())];
        books.received += 1;
        books.bytes += row.len;
        self.count(row, 1);
    }

    pub(super) fn remove(&mut self, row: &Row, fate: Fate) {
        let books = &mut self.books[index(row.place())];
        books.bytes = books.bytes.saturating_sub(row.len);
        match fate {
            Fate::Returned => books.returned += 1,
            Fate::SentElsewhere => books.sent_elsewhere += 1,
            Fate::Discarded => books.discarded += 1,
            Fate::Expired => books.expired += 1,
        }
        self.count(row, -1);
    }

    /// A letter's line became longer or shorter.
    pub(super) fn resize(&mut self, place: Place, from: u64, to: u64) {
        let books = &mut self.books[index(place)];
        books.bytes = (books.bytes + to).saturating_sub(from);
    }

    fn count(&mut self, row: &Row, events: i64) {
        *self.by_hour.entry(hour(row.letter.number)).or_default() += events;
        let reason = row.letter.letter.reason.as_str();
        *self.by_reason.entry(reason).or_default() += events;
    }

    /// Writes down what changed.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        for (hour, events) in self.by_hour {
            let before = self.hours.get(hour)?.map_or(0, |events| events.value());
            match before.saturating_add_signed(events) {
                0 => self.hours.remove(hour)?.map(drop),
                after => self.hours.insert(hour, after)?.map(drop),
            };
        }
        for (reason, events) in self.by_reason {
            let before = self.reasons.get(reason)?.map_or(0, |events| events.value());
            match before.saturating_add_signed(events) {
                0 => self.reasons.remove(reason)?.map(drop),
                after => self.reasons.insert(reason, after)?.map(drop),
            };
        }
        for place in Place::ALL {
            let json = serde_json::to_vec(&self.books[index(place)]);
            let json = json.map_err(|error| damaged("the books", &error))?;
            self.table.insert(place.as_str(), json.as_slice())?;
        }
        Ok(())
    }
}

/// The books of a place; without `held`.
pub(super) fn read(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    place: Place,
) -> Result<Books, StorageError> {
    match table.get(place.as_str())? {
        None => Ok(Books::default()),
        Some(json) => {
            serde_json::from_slice(json.value()).map_err(|error| damaged("the books", &error))
        }
    }
}
