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
    pub(super) fn run(self, command: &clap::Command) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut visible(command), "stashgate", &mut script);
        output::print(String::from_utf8_lossy(&script));
        Ok(Exit::Done)
    }
}

/// The command without what is not for people: scripts for shells would offer it.
fn visible(command: &clap::Command) -> clap::Command {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    clap::Command::new("stashgate")
        .version(env!("CARGO_PKG_VERSION"))
        .args(command.get_arguments().cloned())
        .subcommands(shown.cloned())
}
