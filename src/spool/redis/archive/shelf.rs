//! One list of an archive, read from a position on.
//!
//! Positions count from the first element that a list ever had, so that one whose head is
//! taken away meanwhile is not misread: what is gone is counted.

use std::collections::BTreeMap;

use bytes::Bytes;
use deadpool_redis::redis::{Cmd, FromRedisValue, Pipeline, Value, cmd};
use serde::{Deserialize, Serialize};

use super::day::Day;
use crate::spool::redis::nodes::{Fault, Nodes};

/// How many lists are asked for at a time.
const ASKED: usize = 1000;

/// How far a list was read, and how far it is to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListMark {
    /// The queue's list, from which it is named.
    list: String,
    key: String,
    /// `2026/11/05`.
    day: String,
    at: u64,
    until: u64,
}

impl ListMark {
    /// Whether both are of the same list.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// The same list, read up to `at`.
    pub(super) fn up_to(self, at: u64) -> Self {
        Self { at, ..self }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Shelf {
    list: String,
    key: String,
    pub(super) day: Day,
    /// Whether the settle script fills it, and the bound takes from it.
    is_ours: bool,
    /// How many elements were taken from its head, as far as is known.
    gone: u64,
    at: u64,
    until: u64,
}

impl Shelf {
    /// Those lists of `days` that are there, the oldest day first, with what they hold
    /// now; and how many keys of such a name are something else.
    pub(super) async fn find_all(
        nodes: &Nodes,
        lists: &[String],
        days: impl Iterator<Item = Day>,
    ) -> Result<(Vec<Self>, u64), Fault> {
        let mut asked = days.flat_map(|day| {
            let of_list = move |list: &String| {
                let keys = day.keys(list).into_iter();
                keys.map(|key| Self::new(list.clone(), key, day))
                    .collect::<Vec<_>>()
            };
            lists.iter().flat_map(of_list).collect::<Vec<_>>()
        });
        let (mut found, mut no_lists) = (Vec::new(), 0);
        loop {
            let some: Vec<Self> = asked.by_ref().take(ASKED).collect();
            if some.is_empty() {
                return Ok((found, no_lists));
            }
            for mut shelf in there(nodes, some).await? {
                let length = cmd("LLEN").arg(&shelf.key).clone();
                let (gone, length): (u64, u64) = match shelf.ask(nodes, &length).await {
                    // Anybody may have such a name; that is no reason to read nothing.
                    Err(Fault::Refused(why)) if !shelf.is_ours && why.contains("WRONGTYPE") => {
                        tracing::warn!(key = %shelf.key, "no list, though its name is that of a day: what is in it is not read");
                        no_lists += 1;
                        continue;
                    }
                    counted => counted?,
                };
                (shelf.gone, shelf.at, shelf.until) = (gone, gone, gone + length);
                // It may have expired just now.
                found.extend((length > 0).then_some(shelf));
            }
        }
    }

    /// The list of a mark. `None`: nobody wrote such a mark.
    pub(super) fn resume(mark: &ListMark) -> Option<Self> {
        let day = Day::read(&mark.day)?;
        Some(Self {
            at: mark.at,
            until: mark.until,
            ..Self::new(mark.list.clone(), mark.key.clone(), day)
        })
    }

    pub(super) fn mark(&self) -> ListMark {
        ListMark {
            list: self.list.clone(),
            key: self.key.clone(),
            day: self.day.to_string(),
            at: self.at,
            until: self.until,
        }
    }

    fn new(list: String, key: String, day: Day) -> Self {
        Self {
            is_ours: key == format!("{{{list}}}-{day}"),
            list,
            key,
            day,
            gone: 0,
            at: 0,
            until: 0,
        }
    }

    /// Where it is to be read on.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn is_read(&self) -> bool {
        self.at >= self.until
    }

    /// At most `most` elements from where it was read to, and how many are gone that
    /// stood there.
    pub(super) async fn read(
        &mut self,
        nodes: &Nodes,
        most: u64,
    ) -> Result<(u64, Vec<Bytes>), Fault> {
        loop {
            let missed = self.gone.saturating_sub(self.at).min(self.until - self.at);
            let at = self.at + missed;
            let most = most.min(self.until - at);
            if most == 0 {
                self.at = at;
                return Ok((missed, Vec::new()));
            }
            let first = at - self.gone;
            let mut question = cmd("LRANGE");
            question.arg(&self.key).arg(first).arg(first + most - 1);
            let (gone, elements): (u64, Vec<Bytes>) = self.ask(nodes, &question).await?;
            if gone < self.gone || (gone == self.gone && elements.is_empty()) {
                // All of it went away, or is another list now.
                let missed = self.until - self.at;
                self.at = self.until;
                return Ok((missed, Vec::new()));
            }
            if gone == self.gone {
                self.at = at + elements.len() as u64;
                return Ok((missed, elements));
            }
            // Read at the wrong place: something was taken away in between.
            self.gone = gone;
        }
    }

    /// Asks about the list and, in the same moment, how many elements are gone.
    async fn ask<T: FromRedisValue>(
        &self,
        nodes: &Nodes,
        question: &Cmd,
    ) -> Result<(u64, T), Fault> {
        let mut conn = nodes.connect(&self.key).await?;
        if !self.is_ours {
            return Ok((0, conn.call(question).await?));
        }
        let mut both = Pipeline::new();
        both.atomic();
        let books = format!("{{{}}}:archive", self.list);
        both.cmd("HGET")
            .arg(books)
            .arg(format!("gone:{}", self.day));
        both.add_command(question.clone());
        let (gone, answer): (Option<u64>, T) = conn.run(&both).await?;
        Ok((gone.unwrap_or(0), answer))
    }
}

/// Those that are there, or may be. All are asked for at once, of the servers that have
/// the lists; in a cluster, the agent's lists may be on any.
async fn there(nodes: &Nodes, shelves: Vec<Shelf>) -> Result<Vec<Shelf>, Fault> {
    let mut by_list: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, shelf) in shelves.iter().enumerate() {
        by_list.entry(shelf.list.clone()).or_default().push(at);
    }
    let mut may_be = vec![false; shelves.len()];
    for (list, of_it) in by_list {
        let mut question = Pipeline::with_capacity(of_it.len());
        for at in &of_it {
            question.cmd("EXISTS").arg(&shelves[*at].key);
        }
        let mut conn = nodes.connect(&list).await?;
        for (at, answer) in of_it.into_iter().zip(conn.each(&question).await?) {
            may_be[at] = !matches!(answer, Ok(Value::Int(0)));
        }
    }
    let both = shelves.into_iter().zip(may_be);
    Ok(both
        .filter_map(|(shelf, may_be)| may_be.then_some(shelf))
        .collect())
}
