//! Looking at letters.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::walk::Walk;
use super::{Cursor, Filter, Page, Summary, WorkError, Workbench};
use crate::batch::QueueName;
use crate::dead_letter::letter;
use crate::dead_letter::store::{Group, Letter, Order};

/// Most letters of a page.
const MOST_LISTED: usize = 500;
/// Length of a preview, in characters.
const PREVIEW: usize = 200;

/// A group, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupEntry {
    /// The group.
    #[serde(flatten)]
    pub group: Group,
    /// How many of its letters are parked.
    pub parked: u64,
}

impl Workbench {
    /// A page of letters, newest first: `limit` of them, or fewer, and yet more.
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page, WorkError> {
        let found = self.walk(Walk {
            filter,
            after,
            examine: usize::MAX,
            find: limit.clamp(1, MOST_LISTED),
            order: Order::NewestFirst,
        });
        let found = found.await?;
        let letters = found.letters.iter();
        Ok(Page {
            letters: letters.map(|letter| self.summary(letter)).collect(),
            examined: found.examined.len() as u64,
            next: found.next,
        })
    }

    /// The groups, those with most letters first.
    pub async fn groups(&self) -> Result<Vec<GroupEntry>, WorkError> {
        let max_attempts = self.settings.max_attempts;
        let mut groups = self.store.groups().await?;
        groups.sort_by_key(|group| Reverse(group.events));
        let groups = groups.into_iter().map(|group| GroupEntry {
            parked: group.attempts.range(max_attempts..).map(|(_, n)| n).sum(),
            group,
        });
        Ok(groups.collect())
    }

    /// The whole letters of a name, one a queue that has it, as JSON.
    pub async fn show(
        &self,
        queue: Option<&QueueName>,
        id: &str,
    ) -> Result<Vec<Box<RawValue>>, WorkError> {
        let filter = Filter {
            queue: queue.cloned(),
            id: Some(id.to_owned()),
            ..Filter::default()
        };
        let found = self.walk(Walk {
            filter: &filter,
            after: None,
            examine: usize::MAX,
            find: MOST_LISTED,
            order: Order::NewestFirst,
        });
        let letters = found.await?.letters.into_iter();
        Ok(letters.map(|letter| letter::to_json(&letter)).collect())
    }

    fn summary(&self, letter: &Letter) -> Summary {
        let dead = &letter.letter;
        let start = &dead.event[..dead.event.len().min(4 * PREVIEW)];
        Summary {
            number: letter.number,
            queue: dead.queue.clone(),
            id: letter.name.clone(),
            reason: dead.reason,
            field: dead.field.clone(),
            detail: dead.detail.chars().take(1000).collect(),
            source: dead.source,
            attempt: dead.attempt,
            parked: self.is_parked(letter),
            revision: letter.revision,
            first: letter.first_at,
            last: dead.at,
            filed: letter.filed_at(),
            times: letter.times,
            event_bytes: dead.event.len() as u64,
            preview: String::from_utf8_lossy(start)
                .chars()
                .take(PREVIEW)
                .collect(),
        }
    }
}
