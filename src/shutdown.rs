//! What the process hears when it is to stop, or to read its configuration
//! again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT. The first asks for a drain, the second for an end at
/// once: whoever sends it does not want to wait.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from the system's default, which is to die.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// SIGHUP: the configuration is to be read again. Several that come while nobody
/// waits count as one. Not part of [`Signals`], so that what does not reload
/// still ends with its terminal.
#[derive(Debug)]
pub struct Reloads(Signal);

impl Reloads {
    /// Takes the signal over from the system's default, which is to die.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        // `None` would mean that no signal comes any more, which does not happen.
        let _ = self.0.recv().await;
    }
}
