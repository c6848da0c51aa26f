//! What gateway and child say to each other: frames of a kind (1 byte), a length
//! (4 bytes, little endian) and a body.
//!
//! ```text
//! gateway                       child
//! Keep | Rewrite        ->
//!                       <-      Ready | Refused | Broken
//! Original?, Event      ->
//!                       <-      Kept | Dropped | Changed | Same | Failed
//! ```
//!
//! The gateway does not wait for an answer before it sends the next event. The
//! child writes each answer at once, so that the gateway knows which event is in hand.

use std::io::{self, Read};

/// Bytes before the body.
pub(super) const HEAD: usize = 5;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The expression, for verdicts.
    Keep = 1,
    /// 8 bytes with the longest result (little endian), the expression.
    Rewrite,
    /// The event as it was first refused, where it differs from what follows.
    Original,
    /// The event.
    Event,
    /// The expression is compiled.
    Ready,
    /// The expression is wrong; why.
    Refused,
    /// The child cannot work here; why.
    Broken,
    /// The event is kept.
    Kept,
    /// The event is dropped.
    Dropped,
    /// Another event.
    Changed,
    /// The event as it was.
    Same,
    /// The expression failed; why.
    Failed,
}

impl Kind {
    const ALL: [Self; 12] = [
        Self::Keep,
        Self::Rewrite,
        Self::Original,
        Self::Event,
        Self::Ready,
        Self::Refused,
        Self::Broken,
        Self::Kept,
        Self::Dropped,
        Self::Changed,
        Self::Same,
        Self::Failed,
    ];
}

/// A frame's first bytes.
pub(super) fn head(kind: Kind, body: usize) -> io::Result<[u8; HEAD]> {
    let length = u32::try_from(body).map_err(|_| invalid("a frame longer than 4 GiB"))?;
    let [a, b, c, d] = length.to_le_bytes();
    Ok([kind as u8, a, b, c, d])
}

/// What follows a frame's first bytes.
pub(super) fn read_head(head: [u8; HEAD]) -> io::Result<(Kind, usize)> {
    let [kind, a, b, c, d] = head;
    let known = Kind::ALL.into_iter().find(|known| *known as u8 == kind);
    let kind = known.ok_or_else(|| invalid("an unknown frame"))?;
    Ok((kind, u32::from_le_bytes([a, b, c, d]) as usize))
}

/// A whole frame.
pub(super) fn frame(kind: Kind, body: &[u8]) -> io::Result<Vec<u8>> {
    Ok([&head(kind, body.len())?, body].concat())
}

/// Reads a frame; an error at the end of the input.
pub(super) fn read(input: &mut impl Read) -> io::Result<(Kind, Vec<u8>)> {
    let mut head = [0; HEAD];
    input.read_exact(&mut head)?;
    let (kind, length) = read_head(head)?;
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    Ok((kind, body))
}

pub(super) fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
