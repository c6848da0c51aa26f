//! `stashgate dead-letters groups`

use std::collections::BTreeMap;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Common;
use super::api;
use super::table::{Column, table, terminal_width};
use super::tell::{self, ago};
use crate::batch::UnixMillis;
use crate::cli::http::Remote;
use crate::cli::output::{self, thousands};
use crate::cli::{Exit, Failure};
use crate::dead_letter::store::{GroupKey, OTHER_FIELDS};
use crate::dead_letter::{Reason, Unindexable};
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
    #[serde(flatten)]
    pub(super) key: GroupKey,
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

const COLUMNS: [Column; 8] = [
    Column::right("LETTERS"),
    PARKED,
    QUEUE,
    Column::left("REASON", 8),
    Column::left("FIELD", 8),
    Column::right("FIRST"),
    Column::right("LAST"),
    Column::left("WHAT IS WRONG", 13),
];
/// Under a table with a group of other fields.
const OTHERS: &str = "
* fields too many, or with names too long, for a group each: `list --field '*'` shows
  their letters, and --field with a field's name means those of that field only
";
const PARKED: Column = Column::right("PARKED");
const QUEUE: Column = Column::left("QUEUE", 8);

/// The gateway's groups, most letters first.
pub(super) fn ask(remote: &Remote) -> Result<Vec<Group>, Failure> {
    let answer: Answer = api::get(remote, "/groups", &Nothing {})?;
    Ok(answer.groups)
}

impl Groups {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let groups = ask(&self.common.remote)?;
        if self.common.json {
            // A reader that has enough is no error.
            let _ = groups.iter().try_for_each(output::print_json);
            return Ok(Exit::Done);
        }
        if groups.is_empty() {
            output::print("there are no dead letters\n");
            return Ok(Exit::Done);
        }
        output::print(view(&groups, UnixMillis::now(), terminal_width()));
        let is_other = |group: &Group| group.key.field.as_deref() == Some(OTHER_FIELDS);
        if groups.iter().any(is_other) {
            output::print(OTHERS);
        }
        let look = tell::command(&self.common.remote, &format!("list{}", first(&groups)));
        output::print(format_args!("\nto look at the first: {look}\n"));
        Ok(Exit::Done)
    }
}

/// The table; what is parked is told if anything is, the queue where there are several.
fn view(groups: &[Group], now: UnixMillis, width: Option<usize>) -> String {
    let parked = groups.iter().any(|group| group.parked > 0);
    let several = groups
        .iter()
        .any(|other| other.key.queue != groups[0].key.queue);
    let left_out = |column: &Column| {
        (column.head == PARKED.head && !parked) || (column.head == QUEUE.head && !several)
    };
    let columns = COLUMNS.into_iter().filter(|column| !left_out(column));
    let rows = groups.iter().map(|group| row(group, parked, several, now));
    table(
        &columns.collect::<Vec<_>>(),
        &rows.collect::<Vec<_>>(),
        width,
    )
}

fn row(group: &Group, with_parked: bool, with_queue: bool, now: UnixMillis) -> Vec<String> {
    let cells = [
        Some(thousands(group.events)),
        with_parked.then(|| thousands(group.parked)),
        with_queue.then(|| group.key.queue.to_string()),
        Some(group.key.reason.as_str().to_owned()),
        Some(escape(group.key.field.as_deref().unwrap_or("-")).into_owned()),
        Some(ago(group.first, now)),
        Some(ago(group.last, now)),
        Some(escape(short(group)).into_owned()),
    ];
    cells.into_iter().flatten().collect()
}

/// What is wrong, without the words of the server that stand behind it; `show` has them.
fn short(group: &Group) -> &str {
    match group.key.reason {
        // Nothing else is known of these, nor said by a server of those.
        Reason::Unindexable(Unindexable::Other)
        | Reason::Rejected(_)
        | Reason::Undeliverable(_) => &group.detail,
        Reason::Unindexable(_) => own_words(&group.detail),
    }
}

/// What stands before the first `: some_exception`; all if nothing does.
fn own_words(detail: &str) -> &str {
    let is_class = |rest: &str| {
        let word = rest.split([':', ';']).next().unwrap_or_default();
        let plain = word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        plain && word.ends_with("_exception")
    };
    let mut colons = detail.match_indices(": ");
    let end = colons.find(|(at, colon)| is_class(&detail[at + colon.len()..]));
    end.filter(|_| !is_class(detail))
        .map_or(detail, |(at, _)| &detail[..at])
}

/// The filter that means the first group.
fn first(groups: &[Group]) -> String {
    let Some(group) = groups.first() else {
        return String::new();
    };
    match &group.key.field {
        Some(field) => format!(" --field {}", output::quoted(field)),
        None => format!(" --reason {}", group.key.reason.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(queue: &str) -> Group {
        Group {
            key: GroupKey {
                queue: queue.parse().expect("a name"),
                reason: Reason::Unindexable(Unindexable::MappingConflict),
                field: Some("user.id".into()),
            },
            events: 412,
            bytes: 0,
            parked: 0,
            first: UnixMillis(0),
            last: UnixMillis(5_000),
            attempts: BTreeMap::new(),
            detail: "field `user.id` is long, got a string: mapper_parsing_exception: x".into(),
        }
    }

    #[test]
    fn what_is_wrong_can_be_read_on_a_terminal_of_eighty_columns() {
        let now = UnixMillis(10_000);
        let text = view(&[group("logstash")], now, Some(80));
        let expected = "\
LETTERS  REASON            FIELD    FIRST  LAST  WHAT IS WRONG
    412  mapping_conflict  user.id    10s    5s  field `user.id` is long, got a…
";
        assert_eq!(text, expected);
        let text = view(&[group("logstash"), group("audit")], now, None);
        assert!(text.contains("QUEUE") && text.contains("audit"), "{text}");
    }

    #[test]
    fn the_servers_words_are_left_out_where_there_are_others() {
        for (detail, shown) in [
            (
                "field `user.id` is long, got a string: mapper_parsing_exception: failed to parse; \
                 caused by illegal_argument_exception: For input string: \"a\"",
                "field `user.id` is long, got a string",
            ),
            (
                "field `a: b` is long: document_parsing_exception",
                "field `a: b` is long",
            ),
            (
                "illegal_argument_exception: no pipeline; caused by x: null_pointer_exception: y",
                "illegal_argument_exception: no pipeline; caused by x: null_pointer_exception: y",
            ),
            ("index `a` is closed", "index `a` is closed"),
            ("", ""),
        ] {
            assert_eq!(own_words(detail), shown);
        }
    }
}
