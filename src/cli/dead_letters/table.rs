//! Tables that fit the terminal.

use console::{Alignment, Term, measure_text_width, pad_str, truncate_str};

/// Between two columns.
const GAP: &str = "  ";

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) head: &'static str,
    /// It gets no narrower, however narrow the terminal is.
    pub(super) least: usize,
    pub(super) align: Alignment,
}

impl Column {
    pub(super) const fn left(head: &'static str, least: usize) -> Self {
        let align = Alignment::Left;
        Self { head, least, align }
    }

    pub(super) const fn right(head: &'static str) -> Self {
        let (least, align) = (usize::MAX, Alignment::Right);
        Self { head, least, align }
    }
}

/// The terminal's width; `None` where the output is read by something else.
pub(super) fn terminal_width() -> Option<usize> {
    let term = Term::stdout();
    term.is_term().then(|| usize::from(term.size().1))
}

/// The rows below the heads, at most `width` wide as far as the columns allow: the last
/// columns give way first. Cells hold no control characters.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> String {
    let mut widths: Vec<_> = columns.iter().map(|c| c.head.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(measure_text_width(cell));
        }
    }
    if let Some(width) = width {
        fit(&mut widths, columns, width);
    }
    let heads = columns.iter().map(|c| c.head.to_owned()).collect();
    let lines = std::iter::once(&heads).chain(rows);
    lines.map(|row| line(columns, &widths, row)).collect()
}

fn fit(widths: &mut [usize], columns: &[Column], width: usize) {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    for at in (0..widths.len()).rev() {
        let all = widths.iter().sum::<usize>() + gaps;
        let least = columns[at].least.min(widths[at]);
        let too_many = all.saturating_sub(width);
        widths[at] = widths[at].saturating_sub(too_many).max(least);
    }
}

fn line(columns: &[Column], widths: &[usize], row: &[String]) -> String {
    let cells = columns.iter().zip(widths).zip(row);
    let cells = cells.map(|((column, width), cell)| {
        let cell = truncate_str(cell, *width, "…");
        pad_str(&cell, *width, column.align, None).into_owned()
    });
    let line = cells.collect::<Vec<_>>().join(GAP);
    format!("{}\n", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [
        Column::right("N"),
        Column::left("NAME", 4),
        Column::left("EVENT", 6),
    ];

    fn rows() -> Vec<Vec<String>> {
        let row = |n: &str, name: &str, event: &str| [n, name, event].map(str::to_owned).to_vec();
        vec![
            row("1", "übergroß", "{\"name\":\"大文字の名前です\"}"),
            row("412", "short", "{}"),
        ]
    }

    #[test]
    fn wide_letters_do_not_shift_what_follows() {
        let rows = rows().into_iter().map(|mut row| {
            row.swap(1, 2);
            row
        });
        let text = table(&COLUMNS, &rows.collect::<Vec<_>>(), None);
        let ends = text.lines().skip(1).map(|line| {
            let at = line.rfind("  ").expect("a gap");
            measure_text_width(&line[..at + 2])
        });
        assert_eq!(ends.collect::<Vec<_>>(), [34, 34], "{text}");
    }

    #[test]
    fn a_table_is_no_wider_than_the_terminal_and_its_last_column_gives_way_first() {
        for width in [17, 20, 30, 80] {
            let text = table(&COLUMNS, &rows(), Some(width));
            let widest = text.lines().map(measure_text_width).max();
            assert!(widest <= Some(width), "{width}:\n{text}");
        }
        let text = table(&COLUMNS, &rows(), Some(24));
        assert!(text.contains("übergroß") && text.contains('…'), "{text}");
    }
}
