//! The empty probe: does the receiver close what we half-close?

use tokio::time::timeout;

use super::confirm::wait_for_fin;
use crate::forwarder::boot_clock::BootInstant;
use crate::forwarder::connect::ConnectError;
use crate::forwarder::connection::Connection;
use crate::forwarder::endpoint::Endpoint;
use crate::forwarder::outcome::Unknown;
use crate::forwarder::timing::Timing;

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
    let connection = match Connection::open(endpoint.address, timing.connect).await {
        Ok(connection) => connection,
        Err(error) => return Probed::Unreachable(error),
    };
    if let Err(error) = connection.half_close() {
        return Probed::Broke(Unknown::Reset(error));
    }
    let farewell = wait_for_fin(&connection, BootInstant::now(), timing.look);
    match timeout(timing.probe, farewell).await {
        Ok(Ok(_)) => Probed::Closes,
        Ok(Err(unknown)) => Probed::Broke(unknown),
        Err(_) => Probed::DoesNotClose,
    }
}
