//! Waiting for a peer that may be blocked: without limit, but not blindly.

use std::pin::pin;

use tokio::time::timeout;

use super::connect::ConnectError;
use super::endpoint::{Link, LinkState};
use super::outcome::Unknown;
use super::timing::Timing;

/// One connection's view of its endpoint while it waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vigil<'a> {
    pub(super) link: &'a Link,
    pub(super) timing: &'a Timing,
}

impl Vigil<'_> {
    /// Waits for `progress` as long as it takes. Meanwhile the endpoint is shown
    /// as blocked, and a probe connect asks now and then whether the host is
    /// there at all: a blocked Logstash still listens, a dead host does not.
    pub(super) async fn patiently<F: Future>(&self, progress: F) -> Result<F::Output, Unknown> {
        let mut progress = pin!(progress);
        if let Ok(done) = timeout(self.timing.blocked, &mut progress).await {
            return Ok(done);
        }
        self.link.shows(LinkState::Blocked);
        let mut patience = self.timing.alive.saturating_sub(self.timing.blocked);
        let outcome = loop {
            if let Ok(done) = timeout(patience, &mut progress).await {
                break Ok(done);
            }
            tokio::select! {
                done = &mut progress => break Ok(done),
                alive = self.ask_whether_alive() => if let Err(error) = alive {
                    break Err(Unknown::Dead(error));
                },
            }
            patience = self.timing.alive;
        };
        self.link.shows(LinkState::Open);
        outcome
    }

    async fn ask_whether_alive(&self) -> Result<(), ConnectError> {
        match self.link.endpoint().answers(self.timing.connect).await {
            // Our own trouble says nothing about the peer.
            Ok(()) | Err(ConnectError::Local(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
