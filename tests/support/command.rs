//! The program's commands, run to their end.

#![allow(dead_code)]

use std::process::{Command, Output};

/// The program, with none of this machine's own settings.
pub(crate) fn stashgate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stashgate"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("STASHGATE") || text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.args(args);
    command
}

/// What became of it: the code, and what it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("run");
    Ended {
        code: status.code(),
        out: String::from_utf8(stdout).expect("text"),
        err: String::from_utf8(stderr).expect("text"),
    }
}
