//! `stashgate dead-letters list`

use clap::Args;
use serde::Serialize;

use super::filter::Which;
use super::table::{Column, table, terminal_width};
use super::tell::ago;
use super::{Common, api};
use crate::batch::UnixMillis;
use crate::cli::output;
use crate::cli::{Exit, Failure};
use crate::dead_letter::workbench::{Cursor, Filter, Page, Summary};
use crate::log::escape;

/// Show letters, newest first.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json: one letter a line, without its event; `show` and `export` have that.

Examples:
  stashgate dead-letters list
  stashgate dead-letters list --reason mapping_conflict --from 2h --limit 100
  stashgate dead-letters list --where '.service == \"billing\"' --json | jq -r .id")]
pub(super) struct List {
    #[command(flatten)]
    which: Which,
    /// Most letters that are shown.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Query<'f> {
    #[serde(flatten)]
    filter: &'f Filter,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Cursor>,
    limit: u64,
}

const COLUMNS: [Column; 7] = [
    Column::right("LAST"),
    Column::left("ID", 12),
    Column::left("QUEUE", 8),
    Column::left("REASON", 8),
    Column::left("FIELD", 8),
    Column::left("ATTEMPT", 7),
    Column::left("EVENT", 12),
];

impl List {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let filter = self.which.filter();
        let (mut after, mut shown, mut rows) = (None, 0, Vec::new());
        let now = UnixMillis::now();
        while shown < self.limit {
            let query = Query {
                filter: &filter,
                after,
                limit: self.limit - shown,
            };
            let page: Page = api::get(&self.common.remote, "", &query)?;
            shown += page.letters.len() as u64;
            for letter in &page.letters {
                match self.common.json {
                    true => output::print_json(letter),
                    false => rows.push(row(letter, now)),
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if !self.common.json {
            self.print(&rows, after.is_some());
        }
        Ok(Exit::Done)
    }

    fn print(&self, rows: &[Vec<String>], more: bool) {
        if rows.is_empty() {
            output::print("no dead letter fits\n");
            return;
        }
        output::print(table(&COLUMNS, rows, terminal_width()));
        if more {
            let further = self.limit.saturating_mul(5);
            output::print(format_args!(
                "\nthere are more: --limit {further} shows further ones, `groups` counts all\n"
            ));
        }
    }
}

fn row(letter: &Summary, now: UnixMillis) -> Vec<String> {
    let attempt = match letter.parked {
        true => format!("{}, parked", letter.attempt),
        false => letter.attempt.to_string(),
    };
    vec![
        ago(letter.last, now),
        escape(&letter.id).into_owned(),
        letter.queue.to_string(),
        letter.reason.as_str().to_owned(),
        escape(letter.field.as_deref().unwrap_or("-")).into_owned(),
        attempt,
        escape(&letter.preview).into_owned(),
    ]
}
