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
    // A UUID, or the hash of an event without an id: to be copied.
    Column::left("ID", 36),
    QUEUE,
    Column::left("REASON", 8),
    Column::left("FIELD", 7),
    Column::left("TRY", 3),
    Column::left("EVENT", 12),
];
const QUEUE: Column = Column::left("QUEUE", 8);

impl List {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let filter = self.which.filter();
        let (mut after, mut shown, mut letters) = (None, 0, Vec::new());
        while shown < self.limit {
            let query = Query {
                filter: &filter,
                after,
                limit: self.limit - shown,
            };
            let page: Page = api::get(&self.common.remote, "", &query)?;
            shown += page.letters.len() as u64;
            match self.common.json {
                true if page
                    .letters
                    .iter()
                    .try_for_each(output::print_json)
                    .is_err() =>
                {
                    break;
                }
                true => {}
                false => letters.extend(page.letters),
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if !self.common.json {
            self.print(&letters, after.is_some());
        }
        Ok(Exit::Done)
    }

    fn print(&self, letters: &[Summary], more: bool) {
        if letters.is_empty() {
            output::print("no dead letter fits\n");
            return;
        }
        output::print(view(letters, UnixMillis::now(), terminal_width()));
        if letters.iter().any(|letter| letter.parked) {
            output::print("\n* parked: refused as often as it may be\n");
        }
        if more {
            let further = self.limit.saturating_mul(5);
            output::print(format_args!(
                "\nthere are more: --limit {further} shows further ones, `groups` counts all\n"
            ));
        }
    }
}

/// The table; the queue is told where there are several.
fn view(letters: &[Summary], now: UnixMillis, width: Option<usize>) -> String {
    let several = letters.iter().any(|other| other.queue != letters[0].queue);
    let rows: Vec<_> = letters
        .iter()
        .map(|letter| row(letter, several, now))
        .collect();
    let columns = COLUMNS.into_iter();
    let columns = columns.filter(|column| several || column.head != QUEUE.head);
    table(&columns.collect::<Vec<_>>(), &rows, width)
}

fn row(letter: &Summary, with_queue: bool, now: UnixMillis) -> Vec<String> {
    let parked = if letter.parked { "*" } else { "" };
    let cells = [
        Some(ago(letter.last, now)),
        Some(escape(&letter.id).into_owned()),
        with_queue.then(|| letter.queue.to_string()),
        Some(letter.reason.as_str().to_owned()),
        Some(escape(letter.field.as_deref().unwrap_or("-")).into_owned()),
        Some(format!("{}{parked}", letter.attempt)),
        Some(escape(&letter.preview).into_owned()),
    ];
    cells.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letter::{Reason, Source};

    fn letter(queue: &str) -> Summary {
        Summary {
            number: 1,
            queue: queue.parse().expect("a name"),
            id: "0192f3c1-a2b3-7c4d-8e5f-000000000017".into(),
            reason: Reason::named("mapping_conflict").expect("a reason"),
            field: Some("user.id".into()),
            detail: String::new(),
            source: Source::Logstash,
            attempt: 3,
            parked: true,
            revision: 0,
            first: UnixMillis(0),
            last: UnixMillis(5_000),
            filed: UnixMillis(0),
            times: 1,
            event_bytes: 50,
            preview: "{\"service\":\"大きな請求\",\"user\":{\"id\":17}}".into(),
        }
    }

    #[test]
    fn an_id_can_be_copied_from_a_terminal_of_eighty_columns() {
        let now = UnixMillis(10_000);
        let text = view(&[letter("logstash")], now, Some(80));
        let expected = "\
LAST  ID                                    REASON    FIELD    TRY  EVENT
  5s  0192f3c1-a2b3-7c4d-8e5f-000000000017  mapping…  user.id  3*   {\"service\":…
";
        assert_eq!(text, expected);
        let text = view(&[letter("logstash"), letter("audit")], now, None);
        assert!(text.contains("QUEUE") && text.contains("audit"), "{text}");
    }
}
