//! Lumberjack version 2: what Beats and Logstash's beats input speak.
//!
//! Every frame begins with the version, the ASCII digit `2`, and a letter; numbers
//! are big-endian.
//!
//! ```text
//! window      '2' 'W'  count u32
//! event       '2' 'J'  sequence u32  length u32  `length` bytes: one JSON object
//! compressed  '2' 'C'  length u32                `length` bytes: zlib over whole event frames
//! ack         '2' 'A'  sequence u32
//! ```
//!
//! The client says how many events follow (a window), sends them, as they are or
//! compressed, and waits; the server answers with the sequence of the last event
//! that it has. Sequences start at 1 in each window (as libbeat does it), so that
//! an ack is a count too. An ack of 0 means that the server is alive and not done:
//! Logstash says it every 5 seconds while it is blocked. An ack below the count
//! vouches for the events up to it.
//!
//! - [`Encoder`] and [`Acks`] are the client's side.
//! - [`Decoder`] and [`ack`] are the server's side. It believes no length: what it
//!   holds is one event, as long as an event may be, and one read.
//!
//! Version 1 (frames of keys and values, `D`) is not spoken.

mod acks;
mod decode;
mod encode;
mod inflate;

pub use acks::{Acks, NotAnAck};
pub use decode::{DecodeError, Decoder, Item};
pub use encode::{Encoder, whole_events, window_len};

/// The first byte of every frame.
pub const VERSION: u8 = b'2';
const WINDOW: u8 = b'W';
const EVENT: u8 = b'J';
const COMPRESSED: u8 = b'C';
const ACK: u8 = b'A';

/// Length of a window's, a compressed frame's and an ack's header: version, letter
/// and one number.
const SHORT: usize = 6;
/// Length of an event's header: version, letter and two numbers.
const LONG: usize = 10;

/// The frame that acknowledges all events up to `sequence`; 0: alive, not done.
pub fn ack(sequence: u32) -> [u8; SHORT] {
    short(ACK, sequence)
}

/// The frame that begins a window of `events`.
pub fn window(events: u32) -> [u8; SHORT] {
    short(WINDOW, events)
}

fn short(letter: u8, number: u32) -> [u8; SHORT] {
    let [a, b, c, d] = number.to_be_bytes();
    [VERSION, letter, a, b, c, d]
}
