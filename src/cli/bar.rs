//! Progress bars that can be broken off: nothing of them stays on the terminal.

use std::io;
use std::io::IsTerminal;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

/// Columns that stay free. A terminal shows Ctrl-C as `^C` where the cursor stands, which
/// is behind the bar: in the last column it would break the line, and what is in the
/// first one is not cleared any more.
const MARGIN: u16 = 4;
/// Times a second that a bar is drawn at most.
const HZ: u8 = 20;
/// In fewer columns there is no room for figures and a bar.
const ROOM_FOR_A_BAR: u16 = 80;

/// Shows it on standard error, if that is a terminal. A line of it must never be longer
/// than the terminal is wide: end its template with `{wide_msg}`, which is cut.
pub(super) fn on_terminal(bar: ProgressBar) -> Option<ProgressBar> {
    let is_seen = io::stderr().is_terminal();
    is_seen.then(|| {
        let terminal = Box::new(Margin(Term::buffered_stderr()));
        bar.set_draw_target(ProgressDrawTarget::term_like_with_hz(terminal, HZ));
        bar
    })
}

/// `wide`, or `narrow` where there is no room for a bar.
pub(super) fn style(wide: &str, narrow: &str) -> ProgressStyle {
    let template = match Term::stderr().size().1 < ROOM_FOR_A_BAR {
        true => narrow,
        false => wide,
    };
    // The templates are constants; one that did not parse would show the default.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A terminal with a margin at its right side.
#[derive(Debug)]
struct Margin(Term);

impl TermLike for Margin {
    fn width(&self) -> u16 {
        self.0.size().1.saturating_sub(MARGIN)
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.0.write_line(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}
