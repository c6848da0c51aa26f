//! What ghz and the sink found, as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What matters here of ghz's JSON report; times in nanoseconds.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GhzReport {
    count: u64,
    total: u64,
    average: u64,
    #[serde(rename(deserialize = "statusCodeDistribution"), default)]
    statuses: BTreeMap<String, u64>,
    #[serde(rename(deserialize = "errorDistribution"), default)]
    pub(crate) errors: BTreeMap<String, u64>,
    #[serde(default)]
    latency_distribution: Option<Vec<Latency>>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Latency {
    percentage: u8,
    latency: u64,
}

impl GhzReport {
    /// Calls that ended well.
    pub(crate) fn succeeded(&self) -> u64 {
        self.statuses.get("OK").copied().unwrap_or_default()
    }

    /// Calls that did not.
    pub(crate) fn failed(&self) -> u64 {
        self.count - self.succeeded()
    }

    fn millis(&self, percentage: u8) -> f64 {
        let mut latencies = self.latency_distribution.iter().flatten();
        let found = latencies.find(|l| l.percentage == percentage);
        found.map_or(f64::NAN, |l| l.latency as f64 / 1e6)
    }
}

/// One configuration's run.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) batch_events: usize,
    pub(crate) concurrency: u64,
    /// Events whose call ended well.
    pub(crate) answered: u64,
    /// Different ids at the sink.
    pub(crate) arrived: u64,
    pub(crate) duplicates: u64,
    /// The gateway's, from the first call to the last arrival.
    pub(crate) cpu_seconds: f64,
    pub(crate) ghz: GhzReport,
}

/// A table in Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| configuration | calls | failed | events/s | p50 ms | p95 ms | p99 ms | gateway CPU s per million | answered | arrived | twice |\n\
         | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n",
    );
    for row in rows {
        let ghz = &row.ghz;
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "| {} | {} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {} | {} |",
            row.name,
            ghz.count,
            ghz.failed(),
            row.answered as f64 / (ghz.total as f64 / 1e9),
            ghz.millis(50),
            ghz.millis(95),
            ghz.millis(99),
            row.cpu_seconds / (row.answered as f64 / 1e6),
            row.answered,
            row.arrived,
            row.duplicates,
        );
    }
    out
}

/// Writes the table and its figures into `folder`.
pub(crate) fn write(rows: &[Row], table: &str, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("summary.md"), table)?;
    let json = serde_json::to_string_pretty(rows)?;
    std::fs::write(folder.join("summary.json"), json + "\n")?;
    Ok(())
}
