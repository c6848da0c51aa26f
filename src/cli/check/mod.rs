//! `stashgate check`

mod disk;
mod endpoint;
mod redis;

use std::fmt;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use clap::Args;

use super::settings::Settings;
use super::{Exit, Failure, output};
use crate::config::Config;
use crate::log::escape;
use crate::spool::journal::tools;

/// Print the settings as they come out, and try them.
///
/// Tells whether the disk can be written and how long a sync takes, whether the
/// addresses to listen on are free, whether Redis answers and what it promises, and
/// whether each Logstash answers. A Logstash or Redis that does not answer is a
/// warning: the gateway waits for it. Beside a gateway that runs in the same data_dir,
/// addresses may be taken.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    settings: Settings,
}

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    Good(String),
    Warning(String),
    /// The gateway cannot work like this.
    Bad(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, text) = match self {
            Self::Good(text) => ("ok", text),
            Self::Warning(text) => ("warning", text),
            Self::Bad(text) => ("BAD", text),
        };
        write!(f, "{word:<8} {}", escape(text))
    }
}

impl Check {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let config = self.settings.load()?;
        let settings = toml::to_string(&config).map_err(|e| Failure::new(Exit::Config, e))?;
        output::print(format_args!("{settings}\n"));

        let mut usable = true;
        let mut tell = |finding: Finding| {
            usable &= !matches!(finding, Finding::Bad(_));
            output::print(format_args!("{finding}\n"));
        };
        disk::check(&config).into_iter().for_each(&mut tell);
        let runs = tools::is_in_use(&config.data_dir.join("journal"));
        addresses(&config, runs).for_each(&mut tell);
        remote(&config).into_iter().for_each(&mut tell);
        config
            .weaknesses()
            .into_iter()
            .map(Finding::Warning)
            .for_each(&mut tell);

        let verdict = if usable { "usable" } else { "NOT usable" };
        let beside = if runs {
            "; a gateway runs in this data_dir now"
        } else {
            ""
        };
        output::print(format_args!("\nthe settings are {verdict}{beside}\n"));
        Ok(if usable { Exit::Done } else { Exit::No })
    }
}

/// What is asked over the network.
fn remote(config: &Config) -> Vec<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ask = async {
        let mut found = redis::check(config).await;
        found.extend(endpoint::check(config).await);
        found
    };
    match runtime {
        Ok(runtime) => runtime.block_on(ask),
        Err(error) => vec![Finding::Bad(format!(
            "the system gives no event loop: {error}"
        ))],
    }
}

fn addresses(config: &Config, runs: bool) -> impl Iterator<Item = Finding> {
    config
        .listen_addresses()
        .into_iter()
        .map(move |(setting, address)| is_free(&setting, address, runs))
}

fn is_free(setting: &str, address: SocketAddr, runs: bool) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::Good(format!("{setting}: {address} is free")),
        Err(error) if runs && error.kind() == ErrorKind::AddrInUse => Finding::Good(format!(
            "{setting}: {address} is taken, as a gateway runs in this data_dir now"
        )),
        Err(error) => Finding::Bad(format!("{setting}: cannot listen on {address}: {error}")),
    }
}
