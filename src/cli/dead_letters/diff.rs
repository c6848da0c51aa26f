//! What a repair changes in an event, as lines with `-` and `+`.

use std::fmt::Write;
use std::time::Duration;

use console::Style;
use similar::{ChangeTag, TextDiff};

use super::pretty::pretty;
use crate::log::escape;

/// Lines around a change.
const CONTEXT: usize = 3;
/// Most lines of a diff.
const MOST_LINES: usize = 60;
/// Most characters of a line.
const MOST_CHARS: usize = 500;
/// How long is looked for the smallest difference.
const PATIENCE: Duration = Duration::from_millis(500);

/// The difference of two events, each line set in. With colours if `coloured`.
pub(super) fn diff(before: &str, after: &str, coloured: bool) -> String {
    let (before, after) = (pretty(before), pretty(after));
    let mut config = TextDiff::configure();
    let diff = config.timeout(PATIENCE).diff_lines(&before, &after);
    let mut lines = Vec::new();
    for (i, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if i > 0 {
            lines.push("      ...".to_owned());
        }
        let changes = group.iter().flat_map(|op| diff.iter_changes(op));
        lines.extend(changes.map(|change| line(change.tag(), change.value(), coloured)));
    }
    let more = lines.len().saturating_sub(MOST_LINES);
    lines.truncate(MOST_LINES);
    let mut text = lines.join("\n") + "\n";
    if more > 0 {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "      ... {more} more lines");
    }
    text
}

fn line(tag: ChangeTag, value: &str, coloured: bool) -> String {
    let (sign, style) = match tag {
        ChangeTag::Delete => ('-', Style::new().red()),
        ChangeTag::Insert => ('+', Style::new().green()),
        ChangeTag::Equal => (' ', Style::new()),
    };
    let value = value.trim_end_matches('\n');
    let mut shown: String = value.chars().take(MOST_CHARS).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    let text = format!("    {sign} {}", escape(&shown));
    style.force_styling(coloured).apply_to(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_and_its_surroundings_are_shown() {
        let members: Vec<_> = (0..20).map(|n| format!("\"m{n}\":{n}")).collect();
        let event = |id: &str| format!("{{{},\"id\":{id}}}", members.join(","));
        let shown = diff(&event("7"), &event("\"7\""), false);
        let expected = "        \"m17\": 17,\n        \"m18\": 18,\n        \"m19\": 19,\n    -   \"id\": 7\n    +   \"id\": \"7\"\n      }\n";
        assert_eq!(shown, expected);
        assert!(diff("{}", "{\"a\":1}", true).contains("\u{1b}[32m"));
    }

    #[test]
    fn what_a_terminal_acts_on_is_shown_escaped() {
        let shown = diff("{\"a\":\"x\u{9b}2J\"}", "{\"a\":\"\u{202e}y\"}", false);
        assert!(!shown.contains(['\u{9b}', '\u{202e}']), "{shown}");
        assert!(shown.contains("\\u{9b}2J"), "{shown}");
    }

    #[test]
    fn a_difference_without_end_is_cut() {
        let many = |n: u32| format!("[{}1]", format!("{n},").repeat(100_000));
        let long = diff(&many(1), &many(2), false);
        assert!(long.lines().count() == MOST_LINES + 1, "{}", long.len());
        let wide = diff(
            "{}",
            &format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20)),
            false,
        );
        assert!(wide.len() < 2_000);
    }
}
