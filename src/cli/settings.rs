//! The flags that say where settings come from.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure};
use crate::config::{Config, Sources};

/// Where settings come from.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// A TOML file. Without one the defaults hold: docs/configuration.md.
    #[arg(long, env = "STASHGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the journal and the dead letters; the same as --set data_dir=DIR.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// One setting, such as limits.max_batch_events=500; may be given again. It
    /// wins over the environment (STASHGATE__LIMITS__MAX_BATCH_EVENTS=500), which
    /// wins over the file.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// The settings as they come out.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let sources = Sources {
            file: self.config.clone(),
            environment: environment.collect(),
            flags: self.set.clone(),
        };
        let mut config =
            Config::load(&sources).map_err(|error| Failure::new(Exit::Config, error))?;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir = data_dir.clone();
        }
        Ok(config)
    }
}
