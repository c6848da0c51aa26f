//! Confirmation by close: half-close, FIN, and a listener that still answers.

use std::time::Duration;

use super::boot_clock::BootInstant;
use crate::forwarder::connect::ConnectError;
use crate::forwarder::connection::{Connection, Seen};
use crate::forwarder::endpoint::Endpoint;
use crate::forwarder::outcome::Unknown;
use crate::forwarder::vigil::Vigil;

/// Ends `connection` and finds out whether the peer processed all of it. If so,
/// returns the new connection that proved it.
pub(super) async fn by_close(
    connection: Connection,
    vigil: &Vigil<'_>,
) -> Result<Connection, Unknown> {
    let opened = BootInstant::now();
    if connection.look().map_err(Unknown::Reset)? == Seen::Closed {
        return Err(Unknown::ClosedEarly);
    }
    connection.half_close().map_err(Unknown::Reset)?;
    let farewell = wait_for_fin(&connection, opened, vigil.timing.json_lines.look);
    let last_open = vigil.patiently(farewell).await??;
    if !connection.is_acknowledged().map_err(Unknown::Reset)? {
        return Err(Unknown::Unacknowledged);
    }
    let window = vigil.timing.json_lines.window;
    reconnect(vigil.link.endpoint(), last_open, window).await
}

/// Waits until the peer closes; returns the moment of the last look that saw the
/// socket open. The clock is read before each look: the moment is never too late.
pub(super) async fn wait_for_fin(
    connection: &Connection,
    mut last_open: BootInstant,
    every: Duration,
) -> Result<BootInstant, Unknown> {
    loop {
        let now = BootInstant::now();
        if connection.look().map_err(Unknown::Reset)? == Seen::Closed {
            return Ok(last_open);
        }
        last_open = now;
        let seen = connection.look_when_ready(every).await;
        if seen.map_err(Unknown::Reset)? == Seen::Closed {
            return Ok(last_open);
        }
    }
}

async fn reconnect(
    endpoint: &Endpoint,
    last_open: BootInstant,
    window: Duration,
) -> Result<Connection, Unknown> {
    let patience = time_left(last_open, BootInstant::now(), window)?;
    let connection = endpoint.dial(patience).await.map_err(|error| match error {
        ConnectError::Local(_) => Unknown::Local(error),
        _ => Unknown::ListenerGone(error),
    })?;
    time_left(last_open, BootInstant::now(), window)?;
    Ok(connection)
}

/// What is left of the window; an error when it is over.
fn time_left(
    last_open: BootInstant,
    now: BootInstant,
    window: Duration,
) -> Result<Duration, Unknown> {
    let gap = now.since(last_open);
    window
        .checked_sub(gap)
        .filter(|left| !left.is_zero())
        .ok_or(Unknown::TooLate(gap))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_within_the_window_counts_and_a_pause_counts_as_time() {
        let window = Duration::from_millis(500);
        let at = |ms| BootInstant::at(Duration::from_millis(ms));
        let left = |last, now| time_left(at(last), at(now), window).ok();
        assert_eq!(left(1000, 1100), Some(Duration::from_millis(400)));
        assert_eq!(left(1000, 1499), Some(Duration::from_millis(1)));
        assert_eq!(left(1000, 1500), None);
        assert_eq!(left(1000, 61_000), None);
        let late = time_left(at(1000), at(61_000), window);
        assert!(matches!(late, Err(Unknown::TooLate(gap)) if gap == Duration::from_secs(60)));
    }
}
