//! The empty probe: does the receiver close what we half-close?

use tokio::time::timeout;

use super::boot_clock::BootInstant;
use super::confirm::wait_for_fin;
use crate::forwarder::connect::ConnectError;
use crate::forwarder::endpoint::{Endpoint, Unfit};
use crate::forwarder::outcome::Unknown;
use crate::forwarder::timing::Timing;

pub(super) const DOES_NOT_CLOSE: Unfit = Unfit {
    error: "it does not close a half-closed connection",
    now: "the endpoint does not close a half-closed connection now, though it did before: \
        it seems to be blocked; waiting",
    ever: "the endpoint does not close a half-closed connection, so nothing could be confirmed, \
        and nothing is sent: either Logstash is blocked right now, or this is no Logstash tcp input; \
        then use the lumberjack protocol, or confirm = \"written\"",
};

/// What the probe found.
#[derive(Debug)]
pub(super) enum Probed {
    /// It closes: stretches can be confirmed.
    Closes,
    /// It did not close in time.
    DoesNotClose,
    /// It broke the connection.
    Broke(Unknown),
    /// There was no connection.
    Unreachable(ConnectError),
}

pub(super) async fn probe(endpoint: &Endpoint, timing: &Timing) -> Probed {
    let connection = match endpoint.dial(timing.connect).await {
        Ok(connection) => connection,
        Err(error) => return Probed::Unreachable(error),
    };
    if let Err(error) = connection.half_close() {
        return Probed::Broke(Unknown::Reset(error));
    }
    let farewell = wait_for_fin(&connection, BootInstant::now(), timing.json_lines.look);
    match timeout(timing.json_lines.probe, farewell).await {
        Ok(Ok(_)) => Probed::Closes,
        Ok(Err(unknown)) => Probed::Broke(unknown),
        Err(_) => Probed::DoesNotClose,
    }
}
