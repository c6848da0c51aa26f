//! `stashgate completions SHELL`

use clap::Args;
use clap_complete::Shell;

use super::{Exit, Failure, output};

/// Print completions for a shell.
///
/// For bash: stashgate completions bash > /etc/bash_completion.d/stashgate
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, command: &mut clap::Command) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "stashgate", &mut script);
        output::print(String::from_utf8_lossy(&script));
        Ok(Exit::Done)
    }
}
