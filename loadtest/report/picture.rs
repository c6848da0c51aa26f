//! The table as a picture: one bar a row, CPU time per event.

use std::fmt::Write as _;

use super::Summary;

const ROW: f64 = 26.0;
const LABEL: f64 = 330.0;
const BARS: f64 = 420.0;

/// An SVG of the CPU time per event of each row.
pub(crate) fn bars(rows: &[Summary]) -> String {
    let largest = rows
        .iter()
        .map(|row| row.cpu_seconds_per_million_events)
        .fold(1e-9, f64::max);
    let (width, height) = (LABEL + BARS + 90.0, 40.0 + ROW * rows.len() as f64);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"22\" font-weight=\"bold\">CPU time per event, microseconds (less is better)</text>\n"
    );
    for (i, row) in rows.iter().enumerate() {
        let y = 34.0 + ROW * i as f64;
        let length = BARS * row.cpu_seconds_per_million_events / largest;
        let colour = if row.subject == "gateway" {
            "#2b6cb0"
        } else {
            "#a0aec0"
        };
        let _ = writeln!(
            out,
            "<text x=\"10\" y=\"{:.0}\">{}, {}</text>\
             <rect x=\"{LABEL}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"18\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"{:.0}\">{:.3}</text>",
            y + 14.0,
            escape(&row.scenario),
            row.subject,
            LABEL + length + 6.0,
            y + 14.0,
            row.cpu_seconds_per_million_events,
        );
    }
    out.push_str("</svg>\n");
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
