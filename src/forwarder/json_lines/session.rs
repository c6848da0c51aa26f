//! A connection with what its stretch needs.

use std::time::Duration;

use tokio::time::sleep_until;

use super::probe::{DOES_NOT_CLOSE, Probed, probe};
use super::{confirm, written};
use crate::config::Confirm;
use crate::event::Stamper;
use crate::forwarder::connection::{Connection, Seen};
use crate::forwarder::endpoint::Endpoint;
use crate::forwarder::outcome::Unknown;
use crate::forwarder::timing::Timing;
use crate::forwarder::vigil::Vigil;
use crate::forwarder::work::Work;
use crate::record::Header;

#[derive(Debug)]
pub(in crate::forwarder) struct Session {
    connection: Connection,
    confirm: Confirm,
    event_id: bool,
}

/// One try. `None`: it failed, and `endpoint` was told.
pub(in crate::forwarder) async fn open(work: &Work, endpoint: &Endpoint) -> Option<Session> {
    let confirm = work.output.confirm;
    if confirm == Confirm::Close && !is_proven(endpoint, &work.timing).await {
        return None;
    }
    match endpoint.dial(work.timing.connect).await {
        Ok(connection) => Some(Session {
            connection,
            confirm,
            event_id: work.output.event_id,
        }),
        Err(error) => {
            endpoint.unreachable(&error);
            None
        }
    }
}

/// Whether the endpoint is known to close; finds out if need be. One lane asks
/// while the others wait.
async fn is_proven(endpoint: &Endpoint, timing: &Timing) -> bool {
    if endpoint.is_proven() {
        return true;
    }
    let _gate = endpoint.gate.lock().await;
    sleep_until(endpoint.due()).await;
    if endpoint.is_proven() {
        return true;
    }
    match probe(endpoint, timing).await {
        Probed::Closes => endpoint.proven(),
        Probed::DoesNotClose => endpoint.not_proven(&DOES_NOT_CLOSE),
        Probed::Broke(unknown) => endpoint.lost(&unknown, true),
        Probed::Unreachable(error) => endpoint.unreachable(&error),
    }
    endpoint.is_proven()
}

impl Session {
    pub(in crate::forwarder) fn is_open(&self) -> bool {
        matches!(self.connection.look(), Ok(Seen::Open))
    }

    pub(in crate::forwarder) fn age(&self) -> Duration {
        self.connection.age()
    }

    pub(in crate::forwarder) async fn ended(&self) -> Unknown {
        self.connection.ended().await
    }

    pub(in crate::forwarder) fn encode(
        &self,
        header: &Header,
        lines: &[u8],
        first: u32,
        buffer: &mut Vec<u8>,
    ) {
        Stamper::new(header, self.event_id).stamp(lines, first, buffer);
    }

    pub(in crate::forwarder) async fn write(
        &self,
        encoded: &[u8],
        vigil: &Vigil<'_>,
    ) -> Result<(), Unknown> {
        self.connection.write_all(encoded, vigil).await
    }

    pub(in crate::forwarder) async fn confirm(self, vigil: &Vigil<'_>) -> Result<Self, Unknown> {
        self.say_what_was_ignored(vigil.link.endpoint());
        let connection = match self.confirm {
            Confirm::Close => confirm::by_close(self.connection, vigil).await,
            Confirm::Written => written::by_kernel(self.connection, vigil).await,
        }?;
        Ok(Self { connection, ..self })
    }

    fn say_what_was_ignored(&self, endpoint: &Endpoint) {
        let bytes = self.connection.ignored();
        if bytes > 0 && endpoint.speaks_for_the_first_time() {
            tracing::warn!(queue = %endpoint.queue, endpoint = %endpoint.label, bytes,
                "the endpoint sends data, which a Logstash tcp input never does; it is ignored: is this the right port?");
        }
    }
}
