//! The rows of letters.

use redb::{Error, ReadableTable, StorageError, WriteTransaction};

use super::schema::{LETTERS, index};
use crate::dead_letter::store::Letter;
use crate::dead_letter::{Place, letter};

type Table<'t> = redb::Table<'t, u64, (u64, &'static [u8])>;

/// The letters of all places.
pub(super) struct Rows<'t>([Table<'t>; Place::ALL.len()]);

/// A letter with what belongs to its row.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) letter: Letter,
    pub(super) group: u64,
    /// Length of its line, in bytes.
    pub(super) len: u64,
}

impl Row {
    pub(super) fn place(&self) -> Place {
        self.letter.letter.source.place()
    }

    pub(super) fn parse((group, line): (u64, &[u8])) -> Result<Self, StorageError> {
        let letter = letter::read_stored(line);
        Ok(Self {
            letter: letter.map_err(|error| damaged("a letter", &error))?,
            group,
            len: line.len() as u64,
        })
    }
}

/// What cannot be read though the table gave it.
pub(super) fn damaged(what: &str, error: &serde_json::Error) -> StorageError {
    StorageError::Corrupted(format!("{what} cannot be read: {error}"))
}

impl<'t> Rows<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, Error> {
        let [door, forwarder, logstash] = LETTERS.map(|definition| txn.open_table(definition));
        Ok(Self([door?, forwarder?, logstash?]))
    }

    pub(super) fn get(&self, number: u64) -> Result<Option<Row>, Error> {
        for table in &self.0 {
            if let Some(row) = table.get(number)? {
                return Ok(Some(Row::parse(row.value())?));
            }
        }
        Ok(None)
    }

    /// Writes the row; the length of its line.
    pub(super) fn put(&mut self, group: u64, letter: &Letter) -> Result<u64, Error> {
        let line = letter::write_one(letter);
        self.put_line(group, letter, &line)?;
        Ok(line.len() as u64)
    }

    pub(super) fn put_line(
        &mut self,
        group: u64,
        letter: &Letter,
        line: &[u8],
    ) -> Result<(), Error> {
        let table = &mut self.0[index(letter.letter.source.place())];
        table.insert(letter.number, (group, line))?;
        Ok(())
    }

    pub(super) fn remove(&mut self, row: &Row) -> Result<(), Error> {
        self.0[index(row.place())].remove(row.letter.number)?;
        Ok(())
    }

    /// The numbers up to `to` of the oldest `limit` letters.
    pub(super) fn oldest(&self, to: u64, limit: usize) -> Result<Vec<u64>, Error> {
        let mut numbers = Vec::new();
        for table in &self.0 {
            for entry in table.range(..=to)?.take(limit) {
                numbers.push(entry?.0.value());
            }
        }
        numbers.sort_unstable();
        numbers.truncate(limit);
        Ok(numbers)
    }
}
