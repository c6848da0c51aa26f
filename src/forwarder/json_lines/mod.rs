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
//!   lanes take turns, so an address sees up to twice `connections`. Each close
//!   leaves a port in TIME_WAIT for 60 s, so a stretch lasts its 250 ms even when
//!   the queue is empty meanwhile, and longer where an address has more than 25
//!   connections.
//! - Before any data, and after each failure, an empty half-close has to be
//!   answered with a FIN ([`probe`]): a receiver that never closes would keep a
//!   stretch for ever.
//!
//! - What the peer read and dropped before it closed cleanly counts as confirmed:
//!   nothing on the wire tells. Logstash does this past its codec's
//!   `decode_size_limit_bytes` (512 MiB, 20 MiB in codec 3.2.0), and takes lines
//!   after it along; so `limits.max_event_bytes` has to stay below it.
//!
//! `confirm = "written"` asks only whether the peer's kernel has the bytes
//! ([`written`]) and loses events when Logstash stops.
//!
//! [`Connection::look`]: super::connection::Connection::look

mod boot_clock;
mod confirm;
mod probe;
mod session;
#[cfg(test)]
mod tests;
mod timing;
mod written;

pub(super) use session::{Session, open};
pub(super) use timing::Timing;

use super::wire::Terms;
use crate::batch::QueueName;
use crate::config::{Confirm, Output};

/// Why `confirm = "close"` needs the address of Logstash itself.
const MAY_BE_ANOTHER_NODE: &str = "confirm = \"close\" holds only if this address is Logstash itself: \
    behind a virtual address, NAT or proxy the reconnect may reach another node, and events may be lost; \
    use the lumberjack protocol there, or say direct = true if the address is direct";

pub(super) fn terms(queue: &QueueName, output: &Output, timing: &Timing) -> Terms {
    if output.confirm == Confirm::Written {
        tracing::warn!(%queue,
            "confirm = \"written\" is lossy: what Logstash received and did not process when it stops is lost");
    }
    let connections = match output.ordered {
        true => 1,
        false => output.connections as u32,
    };
    let closes = output.confirm == Confirm::Close;
    let pace = timing.pace.saturating_mul(connections);
    Terms {
        lanes: if closes { 2 } else { 1 },
        stretch: timing.stretch.max(pace),
        pace,
        write_bytes: 256 << 10,
        write_events: u64::MAX,
        result: if closes { "confirmed" } else { "written" },
        beyond_loopback: (closes && !output.direct).then_some(MAY_BE_ANOTHER_NODE),
    }
}
