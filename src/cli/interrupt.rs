//! Ctrl-C in commands that have something to say then.
//!
//! While nobody waits here a signal is remembered: whoever waits next is told.

use std::pin::pin;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{Exit, Failure};
use crate::shutdown::Signals;

/// How long the answer to a call that changes something is waited for after Ctrl-C: it
/// says what was done.
const GRACE: Duration = Duration::from_secs(2);

/// Waits for a command's work, and hears Ctrl-C and SIGTERM.
#[derive(Debug)]
pub(super) struct Interrupt {
    runtime: Runtime,
    signals: Signals,
    heard: bool,
}

impl Interrupt {
    /// From here on the signals do not end the process by themselves.
    pub(super) fn listen() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new(Exit::No, error);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let signals = runtime.block_on(async { Signals::listen() });
        Ok(Self {
            signals: signals.map_err(failed)?,
            runtime,
            heard: false,
        })
    }

    /// Whether somebody had enough: from here on all is broken off at once.
    pub(super) fn was_heard(&self) -> bool {
        self.heard
    }

    /// What `work` comes to. `None`: it was broken off.
    pub(super) fn until<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        self.within(Duration::ZERO, work)
    }

    /// The same for what should not be left half-way: it has a little time to come to its
    /// end.
    pub(super) fn finish<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        self.within(GRACE, work)
    }

    fn within<T>(&mut self, grace: Duration, work: impl Future<Output = T>) -> Option<T> {
        if self.heard {
            return None;
        }
        let (signals, heard) = (&mut self.signals, &mut self.heard);
        self.runtime.block_on(async {
            let mut work = pin!(work);
            tokio::select! {
                biased;
                _ = signals.next() => *heard = true,
                done = &mut work => return Some(done),
            }
            timeout(grace, work).await.ok()
        })
    }
}
