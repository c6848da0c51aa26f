//! What a person does with dead letters: look at them, repair them, return them to
//! their queue, throw them away, take them out into a file and bring them back.
//!
//! Whatever goes over many letters goes in chunks, and nothing is remembered between
//! them: a call looks at so many letters, oldest first, and gives the [`Cursor`] for the
//! next. The cursor holds the highest number there was at the beginning, so that what
//! comes back meanwhile is not met again. After a crash one begins anew: what was done
//! is not there any more.
//!
//! An expression over a letter's event (`where`, a repair) runs in a child process
//! ([`crate::jq`]). A letter whose event is no JSON object fits no `where` and cannot be
//! repaired by an expression, only by export and import.
//!
//! - `walk` finds the letters that are meant.
//! - `look` shows them; `change` repairs and discards; `send` returns; `port` exports
//!   and imports.

mod change;
mod filter;
mod look;
mod port;
mod request;
mod send;
mod walk;

pub use filter::Filter;
pub use look::GroupEntry;
pub use port::Export;
pub use request::{Cursor, Failure, Page, Question, Report, Sample, Summary};

pub use super::store::Handle;
use super::store::{Letter, Store, StoreError};
use crate::batch::QueueName;
use crate::event::Limits;
use crate::jq::{JqError, Runner};
use crate::spool::Spool;

/// The workbench. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Workbench {
    store: Store,
    spool: Spool,
    jq: Runner,
    settings: Settings,
}

/// How the workbench works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often an event may be refused before it is parked.
    pub max_attempts: u32,
    /// What an event that is returned may measure.
    pub limits: Limits,
    /// The queues that take what is returned.
    pub queues: Vec<QueueName>,
}

/// Why nothing was done, or not all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// What was asked for makes no sense. Nothing was done.
    #[error("{0}")]
    Bad(String),
    /// It cannot be done now. Nothing was done.
    #[error("{0}")]
    Unavailable(String),
    /// The store did not answer to a change: it may be done.
    #[error("{0}")]
    Unknown(String),
}

impl Workbench {
    /// A workbench over what `store` holds; what is returned goes into `spool`.
    pub fn new(store: Store, spool: Spool, jq: Runner, settings: Settings) -> Self {
        Self {
            store,
            spool,
            jq,
            settings,
        }
    }

    fn is_parked(&self, letter: &Letter) -> bool {
        letter.letter.attempt >= self.settings.max_attempts
    }
}

impl From<StoreError> for WorkError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Why nobody knows whether letters were changed.
fn unknown(error: StoreError) -> WorkError {
    WorkError::Unknown(error.to_string())
}

/// Why an expression was not run over `letters`.
fn not_run(error: JqError, letters: &[Letter]) -> WorkError {
    let JqError::TooSlow { lost, .. } = &error else {
        return error.into();
    };
    let lost = lost.iter().filter_map(|at| letters.get(*at));
    let names: Vec<_> = lost.map(|letter| letter.name.as_str()).collect();
    WorkError::Bad(format!("{error}: {}", names.join(", ")))
}

impl From<JqError> for WorkError {
    fn from(error: JqError) -> Self {
        match error {
            JqError::Child(_) => Self::Unavailable(error.to_string()),
            JqError::Expression(_) | JqError::TooSlow { .. } => Self::Bad(error.to_string()),
        }
    }
}
