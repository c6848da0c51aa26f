//! `json_lines`: Logstash's tcp input, which acknowledges nothing.
//!
//! That a kernel has our bytes proves nothing: a Logstash that is being stopped
//! loses what it received and did not process. What holds (measured): after a
//! half-close Logstash reads to the end, processes, and closes; and a Logstash
//! that is being stopped closes its listener about two seconds before it closes
//! any connection. So, with `confirm = "close"`:
//!
//! ```text
//!            +--------------------------- the new connection serves a later stretch ---+
//!            v                                                                         |
//!  probe -> open --lease, write--> end of stretch --half-close--> wait for FIN --> connect again
//!            |                    (250 ms, 32 MiB)  no deadline    |               within 500 ms
//!            | FIN or RST                       RST, unacknowledged|               |        |
//!            v                                                     v      refused, late   success
//!         unknown: requeue <---------------------------------------+<----------+           |
//!                                                                                 confirmed: ack
//! ```
//!
//! - The 500 ms begin at the last look that still saw the socket open, and are
//!   measured by `CLOCK_BOOTTIME`; a pause of this process makes the outcome
//!   unknown, never confirmed. Each look is a system call: see [`Connection::look`].
//! - The reconnect goes to the address of the connection, never to the name.
//! - A peer that closes in the few microseconds between the last look before the
//!   half-close and the half-close itself looks like one that closes after it.
//!   A peer that stops is found out by its listener all the same.
//! - A slot sends a stretch on one connection while another waits for its FIN: two
//!   [`lane`]s take turns, so an address sees up to twice `connections`. Each close leaves a port in TIME_WAIT for 60 s, so a
//!   stretch lasts its 250 ms even when the queue is empty meanwhile, and longer
//!   where an address has more than 25 connections.
//! - Before any data, and after each failure, an empty half-close has to be
//!   answered with a FIN ([`probe`]): a receiver that never closes would keep a
//!   stretch for ever.
//!
//! `confirm = "written"` asks only whether the peer's kernel has the bytes
//! ([`written`]) and loses events when Logstash stops.
//!
//! [`Connection::look`]: super::connection::Connection::look

mod alone;
mod bisect;
mod confirm;
mod fill;
mod lane;
mod leasing;
mod ordered;
mod probe;
#[cfg(test)]
mod tests;
mod written;

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

pub(super) use ordered::run_ordered;

use super::endpoint::Endpoint;
use super::work::Work;
use crate::config::Confirm;
use lane::Lane;

/// The right to send, and when the next stretch may begin.
#[derive(Debug)]
struct Turn {
    next: Instant,
}

/// Starts one slot of `endpoint`.
pub(super) fn start_slot(work: &Arc<Work>, endpoint: &Arc<Endpoint>) {
    let turn = Arc::new(Mutex::new(Turn {
        next: Instant::now(),
    }));
    let lanes = match work.output.confirm {
        Confirm::Close => 2,
        Confirm::Written => 1,
    };
    for _ in 0..lanes {
        let lane = Lane::new(work.clone(), endpoint.clone());
        work.tasks.spawn(lane.run(turn.clone()));
    }
}
