//! The client's reading side: acks, in whatever pieces they come.

use super::{ACK, SHORT, VERSION};

/// Reads acks. Holds at most five bytes.
#[derive(Debug, Default)]
pub struct Acks {
    frame: [u8; SHORT],
    filled: usize,
}

/// The server sent something that no ack begins with. Nothing can be read after
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is no lumberjack version 2 ack: it has the byte {0:#04x} where {1:?} belongs")]
pub struct NotAnAck(u8, char);

impl Acks {
    /// The next ack in `bytes`, which is left with what comes behind it. `None`:
    /// `bytes` is used up, and more has to come.
    pub fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<u32>, NotAnAck> {
        while let Some((&byte, rest)) = bytes.split_first() {
            match (self.filled, byte) {
                (0, VERSION) | (1, ACK) | (2.., _) => {}
                (0, wrong) => return Err(NotAnAck(wrong, char::from(VERSION))),
                (1, wrong) => return Err(NotAnAck(wrong, char::from(ACK))),
            }
            self.frame[self.filled] = byte;
            self.filled += 1;
            *bytes = rest;
            if self.filled == SHORT {
                self.filled = 0;
                let [_, _, a, b, c, d] = self.frame;
                return Ok(Some(u32::from_be_bytes([a, b, c, d])));
            }
        }
        Ok(None)
    }
}
