//! The real program, run as a process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::wait_for;

/// The program, with none of this machine's own settings.
pub fn stashgate(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stashgate"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("STASHGATE") || name_text == "RUST_LOG" {
            command.env_remove(&name);
        }
    }
    command.args(args);
    command
}

/// Runs it to its end.
pub fn output(command: &mut Command) -> Output {
    command.output().expect("run")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// `stashgate run` on free ports. Killed when it is dropped.
pub struct Gateway {
    child: Child,
    banner: Vec<String>,
}

impl Gateway {
    pub fn start(data_dir: &Path, logstash: SocketAddr) -> Self {
        let mut command = run_command(data_dir, logstash);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut banner = Vec::new();
        while let Some(Ok(line)) = lines.next() {
            let last = line.contains(" -> ");
            banner.push(line);
            if last {
                break;
            }
        }
        Self { child, banner }
    }

    /// The address of `admin`, `grpc`, `http` or `tcp.default`.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let lead = format!("  {listener} on ");
        let mut addresses = self
            .banner
            .iter()
            .filter_map(|line| line.strip_prefix(&lead));
        let address = addresses
            .next()
            .unwrap_or_else(|| panic!("no {listener} in {:?}", self.banner));
        address.parse().expect("an address")
    }

    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("an id");
        kill_process(Pid::from_raw(id).expect("an id"), signal).expect("signalled");
    }

    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the end", || self.child.try_wait().expect("waited"))
    }

    /// What `stashgate status` shows of it.
    pub fn status(&self, args: &[&str]) -> Output {
        let url = format!("http://{}", self.address("admin"));
        output(stashgate(&["status", "--url", &url]).args(args))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `stashgate run`, configured by the environment alone.
pub fn run_command(data_dir: &Path, logstash: SocketAddr) -> Command {
    let mut command = stashgate(&["run", "--log-level", "error"]);
    let any_port = "127.0.0.1:0";
    command
        .env("STASHGATE__DATA_DIR", data_dir)
        .env("STASHGATE__ADMIN__LISTEN", any_port)
        .env("STASHGATE__RECEIVERS__GRPC__LISTEN", any_port)
        .env("STASHGATE__RECEIVERS__HTTP__LISTEN", any_port)
        .env("STASHGATE__RECEIVERS__TCP__DEFAULT__LISTEN", any_port)
        .env("STASHGATE__SPOOL__JOURNAL__MIN_FREE_BYTES", "16MiB")
        .env(
            "STASHGATE__QUEUES__LOGSTASH__OUTPUT__PROTOCOL",
            "json_lines",
        )
        .env(
            "STASHGATE__QUEUES__LOGSTASH__OUTPUT__HOSTS",
            logstash.to_string(),
        );
    command
}
