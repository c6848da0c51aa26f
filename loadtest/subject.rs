//! What is measured, and how it is started.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::process::free_address;
use crate::scenario::{Input, Output};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// stashgate.
    Gateway,
    /// The relay that only passes on.
    Relay,
    /// The relay that syncs a file first.
    DurableRelay,
}

impl What {
    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Relay => "relay",
            Self::DurableRelay => "relay that syncs",
        }
    }
}

/// The gateway as anybody would run it: only addresses and folder are set.
pub(crate) fn gateway_command(
    program: &Path,
    folder: &Path,
    input: Input,
    output: Output,
    listen: SocketAddr,
    admin: SocketAddr,
    sink: SocketAddr,
) -> anyhow::Result<Command> {
    let unused = free_address;
    let at = |wanted: &[Input]| {
        if wanted.contains(&input) {
            Ok(listen)
        } else {
            unused()
        }
    };
    let config = format!(
        "data_dir = {:?}\n\
         [receivers.grpc]\nlisten = \"{}\"\n\
         [receivers.http]\nlisten = \"{}\"\n\
         [receivers.tcp.default]\nlisten = \"{}\"\n\
         [admin]\nlisten = \"{}\"\n\
         [queues.logstash.output]\nprotocol = \"{}\"\nhosts = [\"{sink}\"]\n",
        folder.join("data"),
        at(&[Input::GrpcStream, Input::GrpcUnary])?,
        at(&[Input::Http])?,
        at(&[Input::Tcp])?,
        admin,
        output.protocol(),
    );
    let file = folder.join("stashgate.toml");
    std::fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(file);
    Ok(command)
}

pub(crate) fn relay_command(
    listen: SocketAddr,
    to: SocketAddr,
    file: Option<&Path>,
) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("relay")
        .arg("--listen")
        .arg(listen.to_string())
        .arg("--to")
        .arg(to.to_string());
    if let Some(file) = file {
        command.arg("--file").arg(file);
    }
    Ok(command)
}
