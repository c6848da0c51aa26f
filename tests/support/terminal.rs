//! The program on a terminal: a real pseudo-terminal, and the screen that a person sees.

#![allow(dead_code)]

use std::io::{ErrorKind, Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, spawn};

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

use super::gateway::eventually;

const ROWS: u16 = 50;
/// What a terminal sends for Ctrl-C.
pub(crate) const CTRL_C: &str = "\x03";

/// The program, run on a terminal of its own.
pub(crate) struct Terminal {
    pty: Arc<Pty>,
    child: Child,
    columns: u16,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

/// What is left when it has ended.
pub(crate) struct Left {
    pub(crate) code: Option<i32>,
    /// What stands on the screen.
    pub(crate) screen: String,
    pub(crate) is_cursor_shown: bool,
    /// Every byte that it ever wrote.
    pub(crate) written: String,
}

impl Terminal {
    /// `stashgate ARGS` on a terminal of so many columns, with these settings; standard input
    /// is the terminal, unless it is something else.
    pub(crate) fn start(
        columns: u16,
        args: &[&str],
        settings: &[(&str, &str)],
        stdin: Option<Stdio>,
    ) -> Self {
        let (pty, pts) = open().expect("a terminal");
        pty.resize(Size::new(ROWS, columns)).expect("its size");
        let mut command = Command::new(env!("CARGO_BIN_EXE_stashgate")).args(args);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("STASHGATE") || ["RUST_LOG", "NO_COLOR"].contains(&&*text) {
                command = command.env_remove(&name);
            }
        }
        command = command.env("TERM", "xterm-256color");
        command = command.envs(settings.iter().copied());
        if let Some(stdin) = stdin {
            command = command.stdin(stdin);
        }
        let child = command.spawn(pts).expect("starts");
        let (pty, shown) = (Arc::new(pty), Arc::default());
        let reader = spawn({
            let (pty, shown) = (Arc::clone(&pty), Arc::clone(&shown));
            move || read_all(&pty, &shown)
        });
        Self {
            pty,
            child,
            columns,
            shown,
            reader,
        }
    }

    /// Types something.
    pub(crate) fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("typed");
    }

    /// Waits until the screen is like this.
    pub(crate) async fn shows(&self, what: &str, is_like: impl Fn(&str) -> bool) {
        eventually(what, || is_like(&self.screen())).await;
    }

    pub(crate) fn screen(&self) -> String {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        screen(&shown, self.columns).screen().contents()
    }

    /// The child's standard input, if that is a pipe.
    pub(crate) fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("a pipe")
    }

    /// Waits until it has ended.
    pub(crate) fn end(mut self) -> Left {
        let code = self.child.wait().expect("ends").code();
        self.reader.join().expect("read");
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let parser = screen(&shown, self.columns);
        Left {
            code,
            screen: parser.screen().contents(),
            is_cursor_shown: !parser.screen().hide_cursor(),
            written: String::from_utf8_lossy(&shown).into_owned(),
        }
    }
}

fn screen(shown: &[u8], columns: u16) -> vt100::Parser {
    let size = |n: u16| NonZeroU16::new(n).expect("more than none");
    let mut parser = vt100::Parser::new(size(ROWS), size(columns), 0);
    parser.process(shown);
    parser
}

/// A terminal whose programs are gone gives an error.
fn read_all(pty: &Pty, shown: &Mutex<Vec<u8>>) {
    let mut pty = pty;
    let mut buffer = [0; 4096];
    loop {
        match pty.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.extend_from_slice(&buffer[..read]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
