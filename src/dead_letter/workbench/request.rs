//! What is asked of the workbench, and what it answers: the JSON of the admin API.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Filter;
use crate::batch::{QueueName, UnixMillis};
use crate::dead_letter::{Reason, Source};

/// Where a chunk ended: the number of the last letter that was looked at, and the
/// highest number there was at the beginning. Written as `LAST-BOUND`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    /// Letters up to this number were looked at.
    pub last: u64,
    /// Letters beyond this number are left alone.
    pub bound: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.last, self.bound)
    }
}

impl FromStr for Cursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split_once('-').and_then(|(last, bound)| {
            let (last, bound) = (last.parse().ok()?, bound.parse().ok()?);
            Some(Self { last, bound })
        });
        numbers.ok_or("not a cursor: give the `next` of the answer before, as it was")
    }
}

impl TryFrom<String> for Cursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

/// What is to be done with letters: a repair, a return, a discard.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Question {
    /// Which letters.
    pub filter: Filter,
    /// Go on here; `None`: begin.
    pub after: Option<Cursor>,
    /// Look at so many letters at most; the workbench has a bound of its own.
    pub limit: Option<usize>,
    /// Do it; else only tell what would be done.
    pub apply: bool,
    /// The repair.
    pub expression: Option<String>,
    /// Return to this queue instead of the letter's own.
    pub to_queue: Option<QueueName>,
}

/// What was done with a chunk of letters, or would be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Letters that were looked at.
    pub examined: u64,
    /// Of them, those that are meant.
    pub matched: u64,
    /// Of them, those with which it was done, or would be.
    pub done: u64,
    /// Of those that are meant, those that are as they should be already (a repair that
    /// changes nothing).
    pub unchanged: u64,
    /// Of those that are meant, those that were left alone because they are parked.
    pub parked: u64,
    /// Of those that are meant, those with which it could not be done.
    pub failed: u64,
    /// The first of those, with the reason.
    pub failures: Vec<Failure>,
    /// The first of a repair: before and after.
    pub samples: Vec<Sample>,
    /// Where to go on; `None`: that was all.
    pub next: Option<Cursor>,
}

/// A letter with which it could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its queue.
    pub queue: QueueName,
    /// Its name.
    pub id: String,
    /// Why not, in words.
    pub why: String,
}

/// An event before and after a repair.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// The letter's queue.
    pub queue: QueueName,
    /// The letter's name.
    pub id: String,
    /// The event as it is.
    pub before: Box<RawValue>,
    /// The event as the repair makes it.
    pub after: Box<RawValue>,
}

/// A page of letters, newest first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Page {
    /// The letters.
    pub letters: Vec<Summary>,
    /// How many were looked at for it.
    pub examined: u64,
    /// Where the next page begins; `None`: that was all.
    pub next: Option<Cursor>,
}

/// A letter in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its number.
    pub number: u64,
    /// Its queue.
    pub queue: QueueName,
    /// Its name.
    pub id: String,
    /// The class of what is wrong.
    pub reason: Reason,
    /// The field to blame.
    pub field: Option<String>,
    /// What is wrong, in words.
    pub detail: String,
    /// Who found out.
    pub source: Source,
    /// Which attempt it was.
    pub attempt: u32,
    /// Whether that was the last one.
    pub parked: bool,
    /// How often it was repaired.
    pub revision: u32,
    /// When it was refused first.
    pub first: UnixMillis,
    /// When it was refused last.
    pub last: UnixMillis,
    /// When it was filed.
    pub filed: UnixMillis,
    /// How often it was refused in this attempt.
    pub times: u64,
    /// Length of the event, in bytes.
    pub event_bytes: u64,
    /// The event's beginning, as text.
    pub preview: String,
}
