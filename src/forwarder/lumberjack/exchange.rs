//! One window: written, and waited for.

use tokio::time::sleep_until;

use super::watch::Watch;
use crate::forwarder::connection::Connection;
use crate::forwarder::outcome::Unknown;
use crate::wire::lumberjack::{Acks, whole_events};

/// Acks in one read.
const READ: usize = 64 * 6;

/// A window on its way.
pub(super) struct Exchange<'a> {
    pub(super) connection: &'a Connection,
    pub(super) acks: &'a mut Acks,
    /// Its frames.
    pub(super) frames: &'a [u8],
    /// Its events.
    pub(super) count: u32,
    /// Events that the peer vouched for, over all windows.
    pub(super) acknowledged: &'a mut u64,
}

impl Exchange<'_> {
    /// Ends when all of the window is acknowledged.
    pub(super) async fn run(mut self, watch: &mut Watch<'_>) -> Result<(), Unknown> {
        let (mut covered, mut written, mut sent) = (0, 0, false);
        let mut buffer = [0; READ];
        while covered < self.count || !sent {
            tokio::select! {
                biased;
                read = self.connection.read(&mut buffer) => {
                    let read = read.map_err(Unknown::Reset)?;
                    covered = self.take(&buffer[..read], covered, written, watch)?;
                }
                more = self.connection.write(&self.frames[written..]), if !sent => {
                    sent = written == self.frames.len();
                    written += more.map_err(Unknown::Reset)?;
                    watch.got_on();
                }
                () = sleep_until(watch.due()) => watch.judge()?,
            }
        }
        Ok(())
    }

    /// Goes by the acks in `bytes`, after `written` bytes of the window; how many of
    /// its events are covered now.
    fn take(
        &mut self,
        mut bytes: &[u8],
        mut covered: u32,
        written: usize,
        watch: &mut Watch<'_>,
    ) -> Result<u32, Unknown> {
        if bytes.is_empty() {
            return Err(Unknown::ClosedEarly);
        }
        while let Some(ack) = read_ack(self.acks, &mut bytes)? {
            if ack == 0 {
                watch.kept_waiting();
            } else if ack <= self.count && ack > self.got(written) {
                return Err(Unknown::Protocol(format!(
                    "it acknowledged the sequence {ack}, which it had not got"
                )));
            } else if covered < ack && ack <= self.count {
                *self.acknowledged += u64::from(ack - covered);
                covered = ack;
                watch.got_on();
            } else {
                let count = self.count;
                return Err(Unknown::Protocol(format!(
                    "it acknowledged the sequence {ack}, behind {covered}, in a window of {count}"
                )));
            }
        }
        Ok(covered)
    }

    /// Events that the peer may have when `written` bytes were written.
    fn got(&self, written: usize) -> u32 {
        match written == self.frames.len() {
            true => self.count,
            false => whole_events(&self.frames[..written]),
        }
    }
}

pub(super) fn read_ack(acks: &mut Acks, bytes: &mut &[u8]) -> Result<Option<u32>, Unknown> {
    acks.read(bytes)
        .map_err(|error| Unknown::Protocol(error.to_string()))
}
