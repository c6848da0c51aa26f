//! What `send` has done.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::cli::Exit;
use crate::cli::output::{span, thousands};

/// The sums, in lines unless said otherwise.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Whether every line that is not blank was accepted.
    pub(super) all_accepted: bool,
    /// Lines read, blank ones included.
    pub(super) lines: u64,
    pub(super) accepted: u64,
    /// Not accepted by the gateway, each for its own fault.
    pub(super) rejected: u64,
    /// Of these: kept by the gateway as dead letters.
    pub(super) kept: u64,
    /// Longer than anything a gateway takes; not sent.
    pub(super) too_long: u64,
    /// In batches that the gateway refused as a whole.
    pub(super) refused: u64,
    /// Sent, without an answer.
    pub(super) unanswered: u64,
    /// Batches that were made durable.
    pub(super) batches: u64,
    pub(super) seconds: f64,
    /// Why the input was not read to its end.
    pub(super) stopped: Option<String>,
}

impl Summary {
    pub(super) fn close(&mut self, took: Duration) {
        self.seconds = took.as_secs_f64();
        let faults = self.rejected + self.too_long + self.refused + self.unanswered;
        self.all_accepted = faults == 0 && self.stopped.is_none();
    }

    pub(super) fn exit(&self) -> Exit {
        if self.all_accepted {
            Exit::Done
        } else {
            Exit::No
        }
    }

    pub(super) fn json(&self) -> String {
        // A struct of numbers and strings is always JSON.
        let text = serde_json::to_string(self).unwrap_or_default();
        format!("{text}\n")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.accepted as f64 / self.seconds.max(0.001);
        writeln!(
            f,
            "{} events accepted in {} ({}/s)",
            thousands(self.accepted),
            span(self.seconds),
            thousands(rate as u64)
        )?;
        let mut fault = |count: u64, what: &str| match count {
            0 => Ok(()),
            _ => writeln!(f, "{} {what}", thousands(count)),
        };
        let lost = self.rejected - self.kept;
        fault(self.kept, "rejected, kept by the gateway as dead letters")?;
        fault(lost, "rejected and not kept")?;
        fault(self.too_long, "too long, not sent")?;
        fault(self.refused, "in batches that were refused")?;
        fault(self.unanswered, "sent without an answer")?;
        match &self.stopped {
            Some(why) => writeln!(f, "stopped: {why}"),
            None => Ok(()),
        }
    }
}
