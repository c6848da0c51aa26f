//! Control characters made visible.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// `text` without characters that a terminal acts on: control characters (line
/// breaks too) and those that change the direction of writing are escaped.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            // Writing to a string cannot fail.
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
}

/// Escapes each entry but for the line break that ends it. A log entry arrives
/// in one write.
#[derive(Debug)]
pub(super) struct EscapingWriter<W>(pub(super) W);

impl<W: Write> Write for EscapingWriter<W> {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(entry);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        self.0.write_all(escape(line).as_bytes())?;
        if line.len() < text.len() {
            self.0.write_all(b"\n")?;
        }
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_escaped() {
        assert_eq!(
            escape("a\u{1b}[2Jb\r\nc\u{202e}\u{9b}"),
            "a\\u{1b}[2Jb\\r\\nc\\u{202e}\\u{9b}"
        );
        assert!(matches!(escape("plain, übergroß"), Cow::Borrowed(_)));
    }

    #[test]
    fn an_entry_stays_one_line() {
        let mut writer = EscapingWriter(Vec::new());
        writer
            .write_all(b"peer said: x\n2026 INFO forged\n")
            .expect("written");
        assert_eq!(writer.0, b"peer said: x\\n2026 INFO forged\n");
    }
}
