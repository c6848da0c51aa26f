//! The expression of a replay, asked about whole batches.

use super::pick::{Picked, events, pick};
use super::{Ended, Record};
use crate::jq::{JqError, Runner};

/// See the module.
#[derive(Debug)]
pub(super) struct Filter {
    runner: Runner,
    expression: String,
}

impl Filter {
    pub(super) fn new(runner: &Runner, expression: &str) -> Self {
        Self {
            runner: runner.clone(),
            expression: expression.to_owned(),
        }
    }

    /// What it leaves of each of `records`, in their order.
    pub(super) async fn pick(&self, records: Vec<Record>) -> Result<Vec<Picked>, Ended> {
        let all: Vec<_> = records
            .iter()
            .flat_map(|(_, block)| events(block))
            .collect();
        let verdicts = self.runner.keep(&self.expression, &all).await;
        let verdicts = verdicts.map_err(unpicked)?;
        let mut rest = &verdicts[..];
        let picked = records.iter().map(|(header, block)| {
            let (of_it, behind) = rest.split_at(events(block).count().min(rest.len()));
            rest = behind;
            pick(header, block, of_it)
        });
        Ok(picked.collect())
    }
}

/// A machine that has no process to spare now may have one later; an expression does not
/// become better.
fn unpicked(error: JqError) -> Ended {
    match error {
        JqError::Child(_) => Ended::NotNow(error.to_string()),
        JqError::Expression(_) | JqError::TooSlow { .. } => Ended::Failed(error.to_string()),
    }
}
