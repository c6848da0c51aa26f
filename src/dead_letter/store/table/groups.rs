//! Groups, kept up with each change.

use std::collections::HashMap;

use redb::{Error, ReadableTable, ReadableTableMetadata, StorageError, WriteTransaction};

use super::rows::{Row, Rows, damaged};
use super::schema::{GROUP_IDS, GROUPS, ORDER};
use crate::batch::UnixMillis;
use crate::dead_letter::Reason;
use crate::dead_letter::store::identity::short;
use crate::dead_letter::store::{Group, GroupKey, Letter, MOST_GROUPS};

/// Groups as a change finds them and leaves them.
pub(super) struct Groups<'t> {
    ids: redb::Table<'t, &'static str, u64>,
    rows: redb::Table<'t, u64, (u64, &'static [u8])>,
    order: redb::Table<'t, (u64, u64), ()>,
    /// Those that the change has to do with.
    touched: HashMap<u64, Touched>,
}

struct Touched {
    group: Group,
    /// The number of the letter that `detail` is of.
    newest: u64,
}

impl<'t> Groups<'t> {
    pub(super) fn open(txn: &'t WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            ids: txn.open_table(GROUP_IDS)?,
            rows: txn.open_table(GROUPS)?,
            order: txn.open_table(ORDER)?,
            touched: HashMap::new(),
        })
    }

    /// The group for a new letter; makes it if need be, with a number from `numbers`.
    pub(super) fn group_for(
        &mut self,
        letter: &Letter,
        numbers: &mut redb::Table<'_, &'static str, u64>,
    ) -> Result<u64, Error> {
        let mut key = GroupKey::of(&letter.letter);
        if let Some(id) = self.id(&key)? {
            return Ok(id);
        }
        if key.field.is_some() && self.ids.len()? >= MOST_GROUPS as u64 {
            key = key.among_others();
            if let Some(id) = self.id(&key)? {
                return Ok(id);
            }
        }
        let id = numbers.get("group")?.map_or(0, |last| last.value()) + 1;
        numbers.insert("group", id)?;
        self.ids.insert(encode(&key).as_str(), id)?;
        self.touched.insert(id, Touched::new(key));
        Ok(id)
    }

    fn id(&self, key: &GroupKey) -> Result<Option<u64>, Error> {
        Ok(self.ids.get(encode(key).as_str())?.map(|id| id.value()))
    }

    pub(super) fn add(&mut self, row: &Row) -> Result<(), Error> {
        self.order.insert((row.group, row.letter.number), ())?;
        let touched = self.touch(row.group)?;
        let group = &mut touched.group;
        group.events += 1;
        group.bytes += row.len;
        *group.attempts.entry(row.letter.letter.attempt).or_default() += 1;
        if row.letter.number > touched.newest {
            touched.newest = row.letter.number;
            group.detail = short(&row.letter.letter.detail);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, row: &Row) -> Result<(), Error> {
        self.order.remove((row.group, row.letter.number))?;
        let group = &mut self.touch(row.group)?.group;
        group.events = group.events.saturating_sub(1);
        group.bytes = group.bytes.saturating_sub(row.len);
        let attempt = row.letter.letter.attempt;
        if let Some(events) = group.attempts.get_mut(&attempt) {
            *events = events.saturating_sub(1);
            if *events == 0 {
                group.attempts.remove(&attempt);
            }
        }
        Ok(())
    }

    /// A letter's line became longer or shorter.
    pub(super) fn resize(&mut self, id: u64, from: u64, to: u64) -> Result<(), Error> {
        let group = &mut self.touch(id)?.group;
        group.bytes = (group.bytes + to).saturating_sub(from);
        Ok(())
    }

    fn touch(&mut self, id: u64) -> Result<&mut Touched, Error> {
        if !self.touched.contains_key(&id) {
            let row = self.rows.get(id)?;
            let row = row.ok_or_else(|| StorageError::Corrupted(format!("no group {id}")))?;
            let (newest, json) = row.value();
            let group = parse(json)?;
            self.touched.insert(id, Touched { group, newest });
        }
        let touched = self.touched.get_mut(&id);
        Ok(touched.expect("invariant: it was put there"))
    }

    /// Writes down what changed.
    pub(super) fn finish(mut self, letters: &Rows<'_>) -> Result<(), Error> {
        for (id, mut touched) in std::mem::take(&mut self.touched) {
            if touched.group.events == 0 {
                self.ids.remove(encode(&touched.group.key).as_str())?;
                self.rows.remove(id)?;
                continue;
            }
            self.set_ends(id, &mut touched, letters)?;
            let json = serde_json::to_vec(&touched.group);
            let json = json.map_err(|error| damaged("a group", &error))?;
            self.rows.insert(id, (touched.newest, json.as_slice()))?;
        }
        Ok(())
    }

    /// Finds the oldest letter and the newest.
    fn set_ends(&self, id: u64, touched: &mut Touched, letters: &Rows<'_>) -> Result<(), Error> {
        let mut numbers = self.order.range((id, 0)..=(id, u64::MAX))?;
        let first = numbers.next().transpose()?;
        let first = first.map_or(0, |(key, _)| key.value().1);
        let last = numbers.next_back().transpose()?;
        let last = last.map_or(first, |(key, _)| key.value().1);
        touched.group.first = UnixMillis(first / 1000);
        touched.group.last = UnixMillis(last / 1000);
        if last != touched.newest {
            let newest = letters.get(last)?;
            let detail = newest.map(|row| short(&row.letter.letter.detail));
            touched.group.detail = detail.unwrap_or_default();
            touched.newest = last;
        }
        Ok(())
    }
}

impl Touched {
    fn new(key: GroupKey) -> Self {
        Self {
            group: Group {
                key,
                events: 0,
                bytes: 0,
                attempts: Default::default(),
                first: UnixMillis(0),
                last: UnixMillis(0),
                detail: String::new(),
            },
            newest: 0,
        }
    }
}

/// A group's key as text; neither queues nor reasons have a NUL in them.
fn encode(key: &GroupKey) -> String {
    let (queue, reason) = (key.queue.as_str(), key.reason.as_str());
    match &key.field {
        Some(field) => format!("{queue}\0{reason}\0{field}"),
        None => format!("{queue}\0{reason}"),
    }
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(text: &str) -> Result<GroupKey, StorageError> {
    let mut parts = text.splitn(3, '\0');
    let queue = parts.next().and_then(|queue| queue.parse().ok());
    let reason = parts.next().and_then(Reason::named);
    let (Some(queue), Some(reason)) = (queue, reason) else {
        return Err(StorageError::Corrupted("the key of a group".into()));
    };
    let field = parts.next().map(str::to_owned);
    Ok(GroupKey {
        queue,
        reason,
        field,
    })
}

/// Reads a group.
pub(super) fn parse(json: &[u8]) -> Result<Group, StorageError> {
    serde_json::from_slice(json).map_err(|error| damaged("a group", &error))
}
