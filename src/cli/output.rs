//! What commands print. Text from outside is escaped by whoever puts it in.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use crate::log::escape;

/// Prints to standard output. A reader that has enough (`| head`) is no error.
pub(super) fn print(text: impl Display) {
    let _ = try_print(text);
}

/// Prints to standard output, for who has more to print and would do it for nobody.
pub(super) fn try_print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush())
}

/// Prints a value as one line of JSON; see [`try_print`].
pub(super) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let json = serde_json::to_string(value)?;
    try_print(format_args!("{json}\n"))
}

/// Tells on standard error why a command failed.
pub(super) fn complain(message: &str) {
    let mut out = io::stderr().lock();
    for (i, line) in message.lines().enumerate() {
        let lead = if i == 0 { "stashgate: " } else { "" };
        let _ = writeln!(out, "{lead}{}", escape(line));
    }
}

/// A word as a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@%+=".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// `1234567` as `1,234,567`.
pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Seconds in the two units that matter: `2h 5m`.
pub(super) fn span(seconds: f64) -> String {
    if !(0.0..1e11).contains(&seconds) {
        return "ages".into();
    }
    let whole = seconds as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 1.0 => format!("{:.0}ms", seconds * 1000.0),
        (0, 0, 0) => format!("{whole}s"),
        (0, 0, _) => format!("{minutes}m {}s", whole % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        let written = [0, 999, 1000, 1_234_567].map(thousands);
        assert_eq!(written, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_span_has_the_units_that_matter() {
        let written = [0.25, 59.0, 61.0, 7500.0, 90_000.0, f64::INFINITY].map(span);
        assert_eq!(written, ["250ms", "59s", "1m 1s", "2h 5m", "1d 1h", "ages"]);
    }

    #[test]
    fn a_word_is_quoted_so_that_a_shell_reads_it_as_it_is() {
        assert_eq!(quoted("user.id"), "user.id");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("$(x)'; y"), r"'$(x)'\''; y'");
    }
}
