//! `stashgate jq-child`: the process in which the gateway runs jq expressions.

use clap::Args;

use super::{Exit, Failure};
use crate::jq;

/// Run jq expressions for the gateway that starts this, on standard input and output.
#[derive(Debug, Args)]
pub(super) struct JqChild {}

impl JqChild {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        // The gateway hung up, which is how this ends, or nobody sees why.
        let _ = jq::serve();
        Ok(Exit::Done)
    }
}
