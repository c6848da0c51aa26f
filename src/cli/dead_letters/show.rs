//! `stashgate dead-letters show`

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::Args;
use data_encoding::BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::pretty::pretty;
use super::{Common, api, tell};
use crate::batch::{QueueName, UnixMillis};
use crate::cli::output::{self, quoted};
use crate::cli::{Exit, Failure};
use crate::log::escape;

/// Show all that is known of a letter, its event included.
#[derive(Debug, Args)]
#[command(after_help = "\
With --json: the whole letter on one line, in the form that `export` writes.

Examples:
  stashgate dead-letters show 0192f3c1a2b3c4d5
  stashgate dead-letters show 0192f3c1a2b3c4d5 --json | jq .event")]
pub(super) struct Show {
    /// The letter's id, as `list` shows it.
    #[arg(value_name = "ID")]
    id: String,
    /// Only the one that was sent to this queue.
    #[arg(long, value_name = "QUEUE")]
    queue: Option<QueueName>,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Query<'q> {
    id: &'q str,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<&'q QueueName>,
}

#[derive(Deserialize)]
struct Answer {
    letters: Vec<Box<RawValue>>,
}

impl Show {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let query = Query {
            id: &self.id,
            queue: self.queue.as_ref(),
        };
        let remote = &self.common.remote;
        let answer: Answer = api::get(remote, "/show", &query)?;
        for (i, letter) in answer.letters.iter().enumerate() {
            if self.common.json {
                output::print(format_args!("{}\n", letter.get()));
                continue;
            }
            let letter = Letter(api::read(remote, letter.get().as_bytes())?);
            output::print(if i == 0 { "" } else { "\n" });
            output::print(view(&letter));
            output::print(self.next(&letter));
        }
        Ok(Exit::Done)
    }

    /// What to do next.
    fn next(&self, letter: &Letter) -> String {
        let queue = letter.text("queue");
        let which = format!("--id {} --queue {}", quoted(&self.id), quoted(&queue));
        let lines = [
            mend(letter, &which),
            format!("return {which}"),
            format!("discard {which}"),
        ];
        let lines = lines.map(|rest| format!("  {}\n", tell::command(&self.common.remote, &rest)));
        format!(
            "\nwhat can be done; without --yes, repair and discard only tell what they would do:\n{}",
            lines.concat()
        )
    }
}

/// A repair to begin with: by an expression, or by hand where no expression can.
fn mend(letter: &Letter, which: &str) -> String {
    if !letter.0.contains_key("event") {
        return format!("export letter.ndjson {which}   # put an `event` into it, and import it");
    }
    match letter.text("field") {
        field if is_path(&field) => format!("repair {which} '.{field} |= tostring'"),
        _ => format!("repair {which} 'del(.unwanted)'"),
    }
}

/// Whether jq takes it as a path when a dot stands before it.
fn is_path(field: &str) -> bool {
    let word = |word: &str| {
        let mut chars = word.chars();
        let first = chars.next();
        first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    field.split('.').all(word)
}

/// A letter as it is exported: its members as they stand.
struct Letter(BTreeMap<String, Box<RawValue>>);

impl Letter {
    fn read<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.0.get(name)?.get()).ok()
    }

    fn text(&self, name: &str) -> String {
        self.read(name).unwrap_or_default()
    }

    fn time(&self, name: &str) -> String {
        let at = self.read::<UnixMillis>(name);
        at.map(|at| at.to_string()).unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.read(name).unwrap_or_default()
    }

    /// The event (or the original) for a person.
    fn event(&self, name: &str) -> Option<String> {
        if let Some(object) = self.0.get(name) {
            return Some(pretty(object.get()));
        }
        if let Some(text) = self.read::<String>(&format!("{name}_text")) {
            return Some(text);
        }
        let base64 = self.read::<String>(&format!("{name}_base64"))?;
        let bytes = BASE64.decode(base64.as_bytes()).ok()?;
        let shown = format!("{}", bytes.escape_ascii());
        Some(shown)
    }
}

fn view(letter: &Letter) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_view(&mut text, letter);
    text
}

fn write_view(out: &mut String, letter: &Letter) -> std::fmt::Result {
    let field = letter.text("field");
    let times = letter.number("times");
    let refused = match times {
        0 | 1 => letter.time("at"),
        times => format!(
            "{times} times, first {}, last {}",
            letter.time("first_at"),
            letter.time("at")
        ),
    };
    let filed = UnixMillis(letter.number("number") / 1000).to_string();
    let repaired = letter.number("revision");
    for (name, value) in [
        ("id", letter.text("name")),
        ("queue", letter.text("queue")),
        ("reason", letter.text("reason")),
        ("field", field),
        ("what is wrong", letter.text("detail")),
        ("found by", letter.text("source")),
        ("attempt", letter.number("attempt").to_string()),
        ("refused", refused),
        ("filed", filed),
    ] {
        if !value.is_empty() {
            writeln!(out, "{name:<14} {}", escape(&value))?;
        }
    }
    if repaired > 0 {
        writeln!(out, "{:<14} {repaired} times", "repaired")?;
    }
    write_event(out, "event", letter.event("event"))?;
    write_event(out, "original", letter.event("original"))
}

fn write_event(out: &mut String, name: &str, event: Option<String>) -> std::fmt::Result {
    let Some(event) = event else {
        return Ok(());
    };
    writeln!(out, "\n{name}:")?;
    for line in event.split('\n') {
        writeln!(out, "  {}", escape(line))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_field_is_put_into_a_command() {
        assert!(is_path("user.id") && is_path("_a.b2"));
        for field in ["", "a..b", "2a", "a-b", "a'; rm", "a.b$"] {
            assert!(!is_path(field), "{field}");
        }
    }
}
