//! A change: all of it is in the file, or none.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use redb::{Error, ReadableTable, WriteTransaction};

use super::clock::Clock;
use super::groups::Groups;
use super::rows::{Row, Rows};
use super::schema::{NAMES, NUMBERS, TOMBSTONES, TOMBSTONES_BY_TIME};
use super::tallies::Tallies;
use crate::batch::UnixMillis;
use crate::dead_letter::Place;
use crate::dead_letter::store::identity::Identity;
use crate::dead_letter::store::{Fate, Handle, Letter, Options};

/// The tables as a change finds them and leaves them.
pub(super) struct Change<'t> {
    pub(super) options: Options,
    now: UnixMillis,
    /// Whether there is anything to be written.
    changed: bool,
    /// Places that had no room.
    pub(super) full: BTreeSet<Place>,
    /// Places that have room: a letter was filed, or left.
    room: BTreeSet<Place>,
    pub(super) rows: Rows<'t>,
    pub(super) names: redb::Table<'t, (&'static str, &'static str), (u64, bool)>,
    groups: Groups<'t>,
    tallies: Tallies<'t>,
    tombstones: redb::Table<'t, u128, u64>,
    tombstones_by_time: redb::Table<'t, (u64, u128), ()>,
    numbers: redb::Table<'t, &'static str, u64>,
}

/// What is left to do after a change.
pub(super) struct Finished {
    /// Whether there is anything to be written.
    pub(super) changed: bool,
    /// Places that had no room.
    pub(super) full: BTreeSet<Place>,
    /// Places that have room.
    pub(super) room: BTreeSet<Place>,
}

impl<'t> Change<'t> {
    pub(super) fn open(txn: &'t WriteTransaction, options: Options) -> Result<Self, Error> {
        Ok(Self {
            options,
            now: UnixMillis::now(),
            changed: false,
            full: BTreeSet::new(),
            room: BTreeSet::new(),
            rows: Rows::open(txn)?,
            names: txn.open_table(NAMES)?,
            groups: Groups::open(txn)?,
            tallies: Tallies::open(txn)?,
            tombstones: txn.open_table(TOMBSTONES)?,
            tombstones_by_time: txn.open_table(TOMBSTONES_BY_TIME)?,
            numbers: txn.open_table(NUMBERS)?,
        })
    }

    /// Writes down what was counted.
    pub(super) fn finish(self) -> Result<Finished, Error> {
        if self.changed {
            self.groups.finish(&self.rows)?;
            self.tallies.finish()?;
        }
        Ok(Finished {
            changed: self.changed,
            full: self.full,
            room: self.room,
        })
    }

    /// Length of what is held of a place, in bytes.
    pub(super) fn bytes(&self, place: Place) -> u64 {
        self.tallies.bytes(place)
    }

    /// A number for a new letter.
    pub(super) fn next_number(&mut self) -> Result<u64, Error> {
        let last = self.numbers.get("last")?.map_or(0, |last| last.value());
        let number = (last + 1).max(now_micros());
        self.numbers.insert("last", number)?;
        Ok(number)
    }

    /// Puts a letter in, with its line; `shared`: others were refused under its id.
    pub(super) fn add(&mut self, letter: Letter, line: &[u8], shared: bool) -> Result<(), Error> {
        self.changed = true;
        let group = self.groups.group_for(&letter, &mut self.numbers)?;
        self.rows.put_line(group, &letter, line)?;
        let name = (letter.letter.queue.as_str(), letter.name.as_str());
        self.names.insert(name, (letter.number, shared))?;
        let row = Row {
            letter,
            group,
            len: line.len() as u64,
        };
        self.groups.add(&row)?;
        self.tallies.add(&row);
        self.room.insert(row.place());
        Ok(())
    }

    /// Writes a letter again that is held.
    pub(super) fn replace(&mut self, row: Row) -> Result<(), Error> {
        self.changed = true;
        let len = self.rows.put(row.group, &row.letter)?;
        self.groups.resize(row.group, row.len, len)?;
        self.tallies.resize(row.place(), row.len, len);
        Ok(())
    }

    /// Takes a letter out.
    pub(super) fn settle(&mut self, row: &Row, fate: Fate) -> Result<(), Error> {
        self.changed = true;
        self.rows.remove(row)?;
        let name = (row.letter.letter.queue.as_str(), row.letter.name.as_str());
        let named = self.names.get(name)?.map(|entry| entry.value().0);
        if named == Some(row.letter.number) {
            self.names.remove(name)?;
        }
        self.groups.remove(row)?;
        self.tallies.remove(row, fate);
        self.room.insert(row.place());
        if fate != Fate::Expired {
            let identity = Identity::of_stored(&row.letter);
            self.bury(identity.mark())?;
            // Whatever its fate: it may be on its way again, from another queue or a file.
            self.bury(identity.left_mark(identity.attempt))?;
        }
        Ok(())
    }

    /// The letter, if it is as it was when its handle was made.
    pub(super) fn unchanged(&self, handle: Handle) -> Result<Option<Row>, Error> {
        let row = self.rows.get(handle.number)?;
        Ok(row.filter(|row| row.letter.revision == handle.revision))
    }

    pub(super) fn is_buried(&self, mark: u128) -> Result<bool, Error> {
        Ok(self.tombstones.get(mark)?.is_some())
    }

    fn bury(&mut self, mark: u128) -> Result<(), Error> {
        self.unbury(mark)?;
        self.tombstones.insert(mark, self.now.0)?;
        self.tombstones_by_time.insert((self.now.0, mark), ())?;
        Ok(())
    }

    pub(super) fn unbury(&mut self, mark: u128) -> Result<(), Error> {
        let at = self.tombstones.remove(mark)?.map(|at| at.value());
        if let Some(at) = at {
            self.changed = true;
            self.tombstones_by_time.remove((at, mark))?;
        }
        Ok(())
    }

    /// Takes out at most `limit` letters that are past their retention, and as many
    /// tombstones, unless the clock jumped; how many letters, and whether there are more.
    pub(super) fn expire(&mut self, limit: usize) -> Result<(u64, bool), Error> {
        let clock = Clock::read(&self.numbers)?.seen_at(self.now);
        clock.write(&mut self.numbers)?;
        self.changed = true;
        if clock.stays_until(self.now).is_some() {
            return Ok((0, false));
        }
        let before = self.options.filed_before(self.now);
        let Some(to) = before.0.saturating_mul(1000).checked_sub(1) else {
            return Ok((0, false));
        };
        let numbers = self.rows.oldest(to, limit)?;
        for number in &numbers {
            if let Some(row) = self.rows.get(*number)? {
                self.settle(&row, Fate::Expired)?;
            }
        }
        let old = self.tombstones_by_time.range(..(before.0, 0))?;
        let marks: Result<Vec<u128>, _> = old
            .take(limit)
            .map(|entry| Ok::<_, Error>(entry?.0.value().1))
            .collect();
        let marks = marks?;
        for mark in &marks {
            self.unbury(*mark)?;
        }
        let more = numbers.len().max(marks.len()) >= limit;
        Ok((numbers.len() as u64, more))
    }
}

/// Microseconds since 1970.
pub(super) fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}
