//! Flow control of HTTP/2.
//!
//! A stream that the gateway does not read (that is its backpressure) holds back
//! up to [`STREAM_WINDOW`] bytes. What it holds back counts against the
//! connection's window as well, so that window has to be larger than all streams
//! together may hold: otherwise unread streams would stall health checks and
//! other calls of the same connection.

use std::time::Duration;

/// Bytes a client may send on a stream before they are read.
pub(super) const STREAM_WINDOW: u32 = 512 << 10;
/// Streams served at once on a connection; the client queues what is beyond.
pub(super) const MAX_STREAMS: u32 = 64;
/// Bytes a client may send on a connection before they are read.
pub(super) const CONNECTION_WINDOW: u32 = (MAX_STREAMS + 1) * STREAM_WINDOW;
/// Longest frame a client may send, in bytes: large frames are fewer copies.
pub(super) const MAX_FRAME: u32 = STREAM_WINDOW;
/// How often a silent client is asked whether it is still there.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to answer.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(20);

const _: () = assert!(CONNECTION_WINDOW > MAX_STREAMS * STREAM_WINDOW);
const _: () = assert!(CONNECTION_WINDOW <= i32::MAX as u32);
