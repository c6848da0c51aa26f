//! Whether the process works at all. An outage of Logstash must not restart the
//! gateway, so this asks only for what a restart would mend: a runtime that does
//! not answer, or a journal thread that does not move any more.

use std::time::Duration;

/// A thread that stood still for so long does not come back. Longer than the
/// worst sync of a busy disk, which a restart would only make worse.
const STANDSTILL: Duration = Duration::from_secs(60);

/// Errors if the journal, which last moved `ago`, stands still.
pub(super) fn check(ago: Duration) -> Result<(), String> {
    if ago < STANDSTILL {
        Ok(())
    } else {
        let seconds = ago.as_secs();
        Err(format!(
            "the journal has not moved for {seconds} s: see to the disk, then restart"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_is_healthy_and_a_dead_one_is_not() {
        assert_eq!(check(Duration::from_secs(20)), Ok(()));
        let said = check(Duration::from_secs(90)).expect_err("unhealthy");
        assert!(said.contains("for 90 s"), "{said}");
    }
}
