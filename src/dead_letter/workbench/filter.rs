//! Which letters are meant.

use serde::{Deserialize, Serialize};

use super::super::store::{Letter, OTHER_FIELDS, Selection, Span};
use super::super::{Reason, Source};
use crate::batch::{QueueName, UnixMillis};

/// Which letters are meant: those that fit all that is said. As query parameters and as
/// JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Sent to this queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueName>,
    /// For this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// With this field to blame. [`OTHER_FIELDS`]: with one that has no group of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Found by this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Of this name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Filed then or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<UnixMillis>,
    /// Filed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<UnixMillis>,
    /// Those that were refused as often as they may be (`true`), or the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<bool>,
    /// A jq expression that is true for the event.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

impl Filter {
    /// The groups that it leaves.
    pub fn selection(&self) -> Selection {
        Selection {
            queue: self.queue.clone(),
            reason: self.reason,
            field: self.field.clone(),
            or_others: self.field.is_some(),
        }
    }

    /// The numbers that it leaves.
    pub fn span(&self) -> Span {
        let micros = |at: UnixMillis| at.0.saturating_mul(1000);
        Span {
            from: self.from.map_or(0, micros),
            to: self.to.map_or(u64::MAX, |to| micros(to).saturating_sub(1)),
        }
    }

    /// Whether `letter` fits all but the queue, the reason, the time and the expression.
    pub fn fits(&self, letter: &Letter, max_attempts: u32) -> bool {
        let parked = letter.letter.attempt >= max_attempts;
        self.source
            .is_none_or(|source| source == letter.letter.source)
            && self.id.as_ref().is_none_or(|id| *id == letter.name)
            && self.parked.is_none_or(|wanted| wanted == parked)
            && self.field.as_deref().is_none_or(|field| {
                field == OTHER_FIELDS || Some(field) == letter.letter.field.as_deref()
            })
    }
}
