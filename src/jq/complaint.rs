//! What is wrong with an expression, for the person who wrote it.

use jaq_core::compile::{self, Undefined};
use jaq_core::load::lex::Expect;
use jaq_core::load::{self, Error};

/// Most characters of a line that are quoted on either side of the place.
const AROUND: usize = 60;
/// Most characters of what was found there.
const FOUND: usize = 20;

/// Why `code` cannot be read.
pub(super) fn unreadable(code: &str, errors: &load::Errors<&str, ()>) -> String {
    let first = errors.first().map(|(_, error)| match error {
        Error::Lex(errors) => errors.first().map(|(expected, place)| {
            let what = match expected {
                Expect::Token => "this character means nothing here".into(),
                Expect::Delim(_) => format!("a {} is missing", expected.as_str()),
                _ => format!("expected a {}", expected.as_str()),
            };
            (what, *place)
        }),
        Error::Parse(errors) => errors.first().map(|(expected, found)| {
            let expected = match expected {
                load::parse::Expect::Just(word) => format!("'{word}'"),
                load::parse::Expect::Nothing => "the end".into(),
                other => format!("a {}", other.as_str()),
            };
            (
                format!("expected {expected}, found {}", quoted(found)),
                *found,
            )
        }),
        Error::Io(errors) => errors.first().map(|(path, why)| (why.clone(), *path)),
    });
    match first.flatten() {
        Some((what, place)) => marked(code, &what, place),
        None => "the expression cannot be read".into(),
    }
}

/// What `code` names and nothing defines.
pub(super) fn undefined(code: &str, errors: &compile::Errors<&str, ()>) -> String {
    let first = errors.iter().flat_map(|(_, errors)| errors).next();
    let Some((name, undefined)) = first else {
        return "the expression cannot be compiled".into();
    };
    let what = match undefined {
        Undefined::Filter(0) => format!("there is no filter '{name}'"),
        Undefined::Filter(arguments) => {
            format!("there is no filter '{name}' with {arguments} arguments")
        }
        other => format!("there is no {} '{name}'", other.as_str()),
    };
    marked(code, &what, name)
}

fn quoted(found: &str) -> String {
    match found.char_indices().nth(FOUND) {
        _ if found.is_empty() => "the end".into(),
        Some((end, _)) => format!("'{}…'", &found[..end]),
        None => format!("'{found}'"),
    }
}

/// `what`, the position, and the line with a mark under `place`, a part of `code`.
fn marked(code: &str, what: &str, place: &str) -> String {
    let inside = code.as_bytes().as_ptr_range();
    let start = place.as_ptr();
    if start < inside.start || start > inside.end {
        return what.into();
    }
    let start = load::span(code, place).start;
    let before = &code[..start];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = code[line_start..].lines().next().unwrap_or_default();
    let column = before[line_start..].chars().count();
    let cut = column.saturating_sub(AROUND);
    let shown: String = line.chars().skip(cut).take(2 * AROUND).map(plain).collect();
    let position = match before.matches('\n').count() {
        0 => format!("position {}", column + 1),
        lines => format!("line {}, position {}", lines + 1, column + 1),
    };
    let mark = " ".repeat(column - cut);
    format!("{what}, at {position}:\n  {shown}\n  {mark}^")
}

/// Keeps the mark under its place.
fn plain(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}
