//! What is measured, and how it is started.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::process::free_address;
use crate::scenario::{Input, Output, Redis};

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

/// What the gateway is told.
pub(crate) struct Settings<'s> {
    /// The receiver that listens on `listen`.
    pub(crate) input: Input,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) output: Output,
    pub(crate) sink: SocketAddr,
    /// Where the scenario's Redis is.
    pub(crate) redis: Option<(&'s Redis, SocketAddr)>,
}

impl Settings<'_> {
    /// The ones that any scenario without a word of its own has.
    pub(crate) fn usual(
        input: Input,
        listen: SocketAddr,
        admin: SocketAddr,
        sink: SocketAddr,
    ) -> Self {
        Self {
            input,
            listen,
            admin,
            output: Output::JsonLines,
            sink,
            redis: None,
        }
    }
}

/// The gateway as anybody would run it: only addresses, folder, and what the scenario
/// is about are set.
pub(crate) fn gateway_command(
    program: &Path,
    folder: &Path,
    settings: &Settings<'_>,
) -> anyhow::Result<Command> {
    let unused = free_address;
    let at = |wanted: &[Input]| {
        if wanted.contains(&settings.input) {
            Ok(settings.listen)
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
         [queues.logstash.output]\nhosts = [\"{}\"]\nprotocol = \"{}\"\n{}",
        folder.join("data"),
        at(&[Input::GrpcStream, Input::GrpcUnary])?,
        at(&[Input::Http])?,
        at(&[Input::Tcp])?,
        settings.admin,
        settings.sink,
        settings.output.protocol(),
        spool(settings)?,
    );
    let file = folder.join("stashgate.toml");
    std::fs::write(&file, config)?;
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(file);
    Ok(command)
}

fn spool(settings: &Settings<'_>) -> anyhow::Result<String> {
    let Some((redis, address)) = settings.redis else {
        return Ok(String::new());
    };
    let more = toml::to_string(&redis.settings)?;
    Ok(format!(
        "[spool]\nkind = \"redis\"\n[spool.redis]\nurl = \"redis://{address}\"\n{more}"
    ))
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
