//! How a command ended, for scripts. The table is in the help and the README.

use std::fmt::Display;
use std::process::ExitCode;

/// Shown under the help.
pub(super) const TABLE: &str = "\
Exit codes:
  0  done; for `run`: stopped cleanly after SIGTERM or SIGINT
  1  the answer is no: `check` found the settings unusable, `journal check` found damage,
     `demo` lost an event, `send` has lines that were not accepted, `hold` or `resume` knows
     nothing of this name, `dead-letters` could not do it with some letters or knows none of this
     id, `replay` has not sent all there was
  2  the arguments are wrong
  3  the configuration is wrong
  4  it cannot begin: an address or the data folder is taken, or the disk fails;
     `dead-letters export` cannot write its file
  5  no gateway answers, or it refuses the token, or its dead letters cannot be used now
  6  stopped at once by a second signal; what was in hand is sent again after the next start
  130  `dead-letters` or `replay` was broken off by Ctrl-C or SIGTERM";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It ran, and the answer is no.
    No = 1,
    /// The arguments are wrong. `clap` uses the same code.
    Usage = 2,
    /// The configuration is wrong.
    Config = 3,
    /// It cannot begin: an address, the data folder, the disk.
    Start = 4,
    /// No gateway answers as it should.
    Unreachable = 5,
    /// A second signal ended it at once.
    Forced = 6,
    /// Ctrl-C broke it off. What a shell says of a command that does not hear it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What the process answers.
    pub exit: Exit,
    message: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }
}
