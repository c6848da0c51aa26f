//! What goes wrong over and over is said once a minute.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_secs(60);

/// See the module. One for each thing that may be said.
#[derive(Debug, Default)]
pub(super) struct Seldom(Option<Instant>);

impl Seldom {
    /// Whether to say it now.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|last| last.elapsed() >= PAUSE);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}
