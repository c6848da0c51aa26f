//! `http`: Logstash's http input, which answers when it has queued what it got.
//!
//! ```text
//! open --write: cut a window--> POST, a JSON array --> wait --2xx--> next window, or the stretch is over
//!  ^  \                                                  |
//!  |   45 s nothing to send: close                       |
//!  +---- slow start ---- any other answer, RST, FIN, 10 min without a sign: see below
//! ```
//!
//! One POST is in flight a connection and never a second one: Logstash works on the
//! requests of a connection at the same time. No `Expect`: with it a 429 keeps
//! the connection and has no end. The head of an answer is all that is gone by;
//! the body is read only behind a 2xx that says how long it is, so that the connection
//! can serve again. After anything else the connection is dropped.
//!
//! | answer | what it means | what becomes of the window |
//! | --- | --- | --- |
//! | 2xx | it is queued | confirmed |
//! | 429 | no room, or longer than 10 s without an end: some of it may be queued | sent again after the backoff |
//! | 413 | too long, nothing is queued | sent again in smaller windows, to this address for good; a single event: as 400 |
//! | 401, 403, 404, other 3xx and 4xx | wrong credentials or path, nothing is queued | sent again after the backoff; the endpoint is `unsuitable` until it takes something |
//! | 400, 500 | it choked on an event; those before it may be queued | sent again; the same batch again and again: bisected |
//! | 408, other 5xx | a proxy without a backend, or the like | sent again after the backoff |
//! | none: RST, FIN | nobody knows | sent again; counts against what was sent, unless it was kept waiting before |
//!
//! A blocked Logstash lets requests hang and answers 429 after 10 s, though what it
//! has of the request is still queued in the end. So that little is sent twice then, a
//! connection begins with a small window, which doubles up to 8,192 events and 8 MiB with
//! each quick answer.
//!
//! Malformed JSON would be answered by 200, and be lost: only what was validated at
//! the door is sent.

mod exchange;
mod request;
mod session;
mod timing;

pub(super) use session::{Session, open};
pub(super) use timing::Timing;

use std::time::Duration;

use super::wire::Terms;

/// Most events and bytes of a window.
const MOST_EVENTS: usize = 8192;
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
