//! Whether the process works at all. An outage of Logstash must not restart the
//! gateway, so this asks only for what a restart would mend: a runtime or a
//! journal thread that does not move any more.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// How long a part may take to answer. Longer than a slow disk's worst sync.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks a part of the gateway whether it moves; answers when it did.
pub type Check = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The parts that have to move, by name.
pub struct Vitals(pub Vec<(&'static str, Check)>);

impl Vitals {
    /// Errors with the part that did not answer in time.
    pub(super) async fn check(&self) -> Result<(), String> {
        for (part, check) in &self.0 {
            tokio::time::timeout(PATIENCE, check())
                .await
                .map_err(|_| format!("the {part} has not answered for {} s", PATIENCE.as_secs()))?;
        }
        Ok(())
    }
}
