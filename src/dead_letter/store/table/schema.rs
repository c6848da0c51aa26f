//! What is in the file.
//!
//! | Table | Key | Value |
//! | --- | --- | --- |
//! | `letters/PLACE` | number | its group, its line |
//! | `names` | queue, name | number, and whether the id is shared |
//! | `order` | group, number | |
//! | `group_ids` | queue, reason and field | group |
//! | `groups` | group | its newest letter, the group as JSON |
//! | `hours` | hour since 1970 | letters filed in it that are held |
//! | `reasons` | reason | letters held |
//! | `tombstones` | mark | when it was settled, in milliseconds since 1970 |
//! | `tombstones_by_time` | the same the other way round | |
//! | `books` | place | the books as JSON, without `held` |
//! | `numbers` | `last` letter, `group`, `format` | the number given last |
//! | | `seen`, `stays` | when was looked for old letters last, to the hour, and until when all stay after a jump of the clock; in milliseconds since 1970 |
//!
//! The letters of each place have a table of their own because its length, which the
//! tree keeps by itself, is what the books are checked against.

use redb::{Error, TableDefinition, WriteTransaction};

use crate::dead_letter::Place;

pub(super) type Letters = TableDefinition<'static, u64, (u64, &'static [u8])>;

/// The letters of each place, in the order of [`Place::ALL`].
pub(super) const LETTERS: [Letters; Place::ALL.len()] = [
    TableDefinition::new("letters/door"),
    TableDefinition::new("letters/forwarder"),
    TableDefinition::new("letters/logstash"),
];
pub(super) const NAMES: TableDefinition<(&str, &str), (u64, bool)> = TableDefinition::new("names");
pub(super) const ORDER: TableDefinition<(u64, u64), ()> = TableDefinition::new("order");
pub(super) const GROUP_IDS: TableDefinition<&str, u64> = TableDefinition::new("group_ids");
pub(super) const GROUPS: TableDefinition<u64, (u64, &[u8])> = TableDefinition::new("groups");
pub(super) const HOURS: TableDefinition<u64, u64> = TableDefinition::new("hours");
pub(super) const REASONS: TableDefinition<&str, u64> = TableDefinition::new("reasons");
pub(super) const TOMBSTONES: TableDefinition<u128, u64> = TableDefinition::new("tombstones");
pub(super) const TOMBSTONES_BY_TIME: TableDefinition<(u64, u128), ()> =
    TableDefinition::new("tombstones_by_time");
pub(super) const BOOKS: TableDefinition<&str, &[u8]> = TableDefinition::new("books");
pub(super) const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// The form of all this; another number in the file is another release's.
pub(super) const FORMAT: u64 = 1;

/// Microseconds of an hour.
const HOUR: u64 = 3_600_000_000;

/// The hour in which a letter was filed.
pub(super) fn hour(number: u64) -> u64 {
    number / HOUR
}

pub(super) fn index(place: Place) -> usize {
    place as usize
}

/// Makes all tables.
pub(super) fn make(txn: &WriteTransaction) -> Result<(), Error> {
    for letters in LETTERS {
        txn.open_table(letters)?;
    }
    txn.open_table(NAMES)?;
    txn.open_table(ORDER)?;
    txn.open_table(GROUP_IDS)?;
    txn.open_table(GROUPS)?;
    txn.open_table(HOURS)?;
    txn.open_table(REASONS)?;
    txn.open_table(TOMBSTONES)?;
    txn.open_table(TOMBSTONES_BY_TIME)?;
    txn.open_table(BOOKS)?;
    txn.open_table(NUMBERS)?.insert("format", FORMAT)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use redb::TableHandle;

    use super::*;

    #[test]
    fn each_place_has_the_table_of_its_name() {
        for place in Place::ALL {
            let name = format!("letters/{}", place.as_str());
            assert_eq!(LETTERS[index(place)].name(), name);
        }
    }
}
