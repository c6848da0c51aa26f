//! `stashgate dead-letters groups`

use std::collections::BTreeMap;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Common;
use super::api;
use super::table::{Column, table, terminal_width};
use super::tell::{self, ago};
use crate::batch::{QueueName, UnixMillis};
use crate::cli::http::Remote;
use crate::cli::output::{self, thousands};
use crate::cli::{Exit, Failure};
use crate::dead_letter::Reason;
use crate::log::escape;

/// Show what is wrong: letters by queue, reason and field, most first.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json: one group a line.

Example:
  stashgate dead-letters groups
  stashgate dead-letters groups --json | jq -r 'select(.events > 100) | .field'")]
pub(super) struct Groups {
    #[command(flatten)]
    common: Common,
}

/// A group, as the gateway lists it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Group {
    pub(super) queue: QueueName,
    pub(super) reason: Reason,
    pub(super) field: Option<String>,
    pub(super) events: u64,
    bytes: u64,
    parked: u64,
    first: UnixMillis,
    last: UnixMillis,
    attempts: BTreeMap<String, u64>,
    detail: String,
}

/// No query.
#[derive(Serialize)]
struct Nothing {}

#[derive(Deserialize)]
struct Answer {
    groups: Vec<Group>,
}

const COLUMNS: [Column; 7] = [
    Column::right("LETTERS"),
    Column::left("QUEUE", 8),
    Column::left("REASON", 8),
    Column::left("FIELD", 8),
    Column::right("FIRST"),
    Column::right("LAST"),
    Column::left("WHAT IS WRONG", 13),
];

/// The gateway's groups, most letters first.
pub(super) fn ask(remote: &Remote) -> Result<Vec<Group>, Failure> {
    let answer: Answer = api::get(remote, "/groups", &Nothing {})?;
    Ok(answer.groups)
}

impl Groups {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let groups = ask(&self.common.remote)?;
        if self.common.json {
            for group in &groups {
                output::print_json(group);
            }
            return Ok(Exit::Done);
        }
        if groups.is_empty() {
            output::print("there are no dead letters\n");
            return Ok(Exit::Done);
        }
        let now = UnixMillis::now();
        let rows: Vec<_> = groups.iter().map(|group| row(group, now)).collect();
        output::print(table(&COLUMNS, &rows, terminal_width()));
        let look = tell::command(&self.common.remote, &format!("list{}", first(&groups)));
        output::print(format_args!("\nto look at the first: {look}\n"));
        Ok(Exit::Done)
    }
}

fn row(group: &Group, now: UnixMillis) -> Vec<String> {
    let detail = escape(&group.detail);
    let detail = match group.parked {
        0 => detail.into_owned(),
        parked => format!("({} parked) {detail}", thousands(parked)),
    };
    vec![
        thousands(group.events),
        group.queue.to_string(),
        group.reason.as_str().to_owned(),
        escape(group.field.as_deref().unwrap_or("-")).into_owned(),
        ago(group.first, now),
        ago(group.last, now),
        detail,
    ]
}

/// The filter that means the first group.
fn first(groups: &[Group]) -> String {
    let Some(group) = groups.first() else {
        return String::new();
    };
    match &group.field {
        Some(field) => format!(" --field {}", super::filter::quoted(field)),
        None => format!(" --reason {}", group.reason.as_str()),
    }
}
