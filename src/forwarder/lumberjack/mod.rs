//! `lumberjack`: Logstash's beats input, which acknowledges what it has queued.
//!
//! ```text
//! open --write: cut a window--> W, J.. or C --> wait --ack n--> next window, or the stretch is over
//!  ^  \                                          |  ^
//!  |   45 s nothing to send: close               |  +-- ack 0: alive, wait on; ack k < n: k are done with
//!  |                                             v
//!  +---- slow start ---- RST, FIN, 30 s without a sign, a wrong ack: k are done with, the rest is unknown
//! ```
//!
//! - One window is in flight a connection: pipelined windows switch off Logstash's
//!   keepalive acks, and end in a reset and a second copy of everything (measured).
//! - Sequences start at 1 in each window, as libbeat does it. So an ack that comes
//!   late would be taken for one of the next window: whatever but an ack of 0 lies
//!   there before a window ends the session.
//! - A sign of life is any frame, and any byte that the kernel takes from us. While
//!   acks of 0 come, Logstash is blocked and waited for without limit: shown at
//!   once, and said in log and status after five minutes.
//! - A connection begins with a small window, which doubles up to 2,048 events and
//!   8 MiB: in six windows it is at full speed. One that took five seconds halves
//!   the next: a blocked Logstash that is stopped queues what it has of the window
//!   and acknowledges nothing, so what is sent twice then is less.
//! - A reset behind an ack of 0 is a stop, or an inactivity timeout; it blames no
//!   event.
//! - Logstash resets connections that are idle for 60 s. We close them at 45 s,
//!   between windows, where nothing can be lost, and open others.
//! - An event with a top-level `line` and no `message` would be rewritten by the
//!   input: see [`crate::event::rename_lone_line`].

mod exchange;
mod session;
mod timing;
mod watch;

pub(super) use session::{Session, open};
pub(super) use timing::Timing;

use std::time::Duration;

use super::wire::Terms;

/// Most events and bytes (before compression) of a window.
const MOST_EVENTS: usize = 2048;
const MOST_BYTES: usize = 8 << 20;

pub(super) fn terms() -> Terms {
    Terms {
        lanes: 1,
        stretch: Duration::ZERO,
        pace: Duration::ZERO,
        write_bytes: 1 << 20,
        write_events: MOST_EVENTS as u64,
        result: "confirmed",
        beyond_loopback: None,
    }
}
