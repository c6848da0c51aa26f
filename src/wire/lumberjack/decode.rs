//! The server's reading side: windows and events, in whatever pieces they come.

use bytes::{Buf, Bytes, BytesMut};

use super::inflate::Inflate;
use super::{COMPRESSED, EVENT, LONG, SHORT, VERSION, WINDOW};

/// With less room than this, room for [`READ`] is made.
const LEAST_READ: usize = 4 << 10;
const READ: usize = 64 << 10;
/// An event longer than this is taken for no event at all; a shorter one that is
/// still too long is passed over.
const LONGEST_PASSED: u32 = 256 << 20;

/// Takes a client's bytes apart. Whoever calls [`Decoder::item`] until it gives
/// nothing more, before each read, lets it hold one event and one read at most.
#[derive(Debug)]
pub struct Decoder {
    /// Longest event, in bytes.
    longest: usize,
    input: BytesMut,
    /// Kept from one compressed frame to the next.
    inflate: Option<Box<Inflate>>,
    /// Whether the next bytes belong to a compressed frame.
    compressed: bool,
    window: Window,
}

/// What of a window is still to come.
#[derive(Debug, Default)]
struct Window {
    events: u32,
    passing: Option<Passing>,
}

/// An event that is too long, whose end has not come yet.
#[derive(Debug)]
struct Passing {
    sequence: u32,
    length: u32,
    left: usize,
    beginning: Bytes,
}

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// So many events follow; they may be 0.
    Window(u32),
    /// An event of the window.
    Event {
        /// Its sequence, which an ack refers to.
        sequence: u32,
        /// What should be one JSON object; not looked at.
        json: Bytes,
    },
    /// An event that is longer than events may be.
    Overlong {
        /// Its sequence.
        sequence: u32,
        /// Its first bytes, as many as an event may have.
        beginning: Bytes,
        /// Its length, in bytes.
        length: u32,
    },
}

/// Bytes that are not lumberjack version 2. Nothing can be read after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame of an older client.
    #[error(
        "the client speaks lumberjack version 1; only version 2 is taken (Beats 1.0 and later)"
    )]
    VersionOne,
    /// Something else: another protocol, TLS for instance, or garbage.
    #[error("this is no lumberjack: a frame begins with the byte {0:#04x}")]
    NotLumberjack(u8),
    /// A frame that no client sends.
    #[error("a frame {:?} is unknown", char::from(*.0))]
    Unknown(u8),
    /// A known frame in a place where it may not be.
    #[error("a frame {:?} that does not belong there", char::from(*.0))]
    Misplaced(u8),
    /// A length that no event has.
    #[error("an event of {0} bytes")]
    TooLong(u32),
    /// A compressed frame that is not whole, or not zlib, or holds half a frame.
    #[error("a compressed frame that cannot be decompressed")]
    Corrupt,
}

/// What the beginning of the input is.
enum Parsed {
    Item(Item),
    /// A compressed frame of so many bytes begins.
    Compressed(u32),
    /// More has to come.
    Incomplete,
}

impl Decoder {
    /// `longest`: how long an event may be, in bytes.
    pub fn new(longest: usize) -> Self {
        Self {
            longest,
            input: BytesMut::new(),
            inflate: None,
            compressed: false,
            window: Window::default(),
        }
    }

    /// How long an event may be from the next one on, in bytes.
    pub fn set_longest(&mut self, longest: usize) {
        self.longest = longest;
    }

    /// Where to read to.
    pub fn buffer(&mut self) -> &mut BytesMut {
        if self.input.capacity() - self.input.len() < LEAST_READ {
            self.input.reserve(READ);
        }
        &mut self.input
    }

    /// Whether all that was read belonged to windows that are over.
    pub fn is_between_windows(&self) -> bool {
        self.window.events == 0 && !self.compressed && self.input.is_empty()
    }

    /// How many events of the window are still to come.
    pub fn events_left(&self) -> u32 {
        self.window.events
    }

    /// The next item. `None`: more has to be read.
    pub fn item(&mut self) -> Result<Option<Item>, DecodeError> {
        loop {
            let parsed = match &mut self.inflate {
                Some(inflate) if self.compressed => {
                    self.window.parse(&mut inflate.plain, self.longest)?
                }
                _ => self.window.parse(&mut self.input, self.longest)?,
            };
            match parsed {
                Parsed::Item(item) => return Ok(Some(item)),
                Parsed::Compressed(_) if self.compressed => {
                    return Err(DecodeError::Misplaced(COMPRESSED));
                }
                Parsed::Compressed(len) => self.begin(len as usize),
                Parsed::Incomplete if !self.go_on()? => return Ok(None),
                Parsed::Incomplete => {}
            }
        }
    }

    fn begin(&mut self, len: usize) {
        let inflate = self.inflate.get_or_insert_with(|| Box::new(Inflate::new()));
        inflate.begin(len);
        self.compressed = true;
    }

    /// Whether there is more to parse without another read.
    fn go_on(&mut self) -> Result<bool, DecodeError> {
        match &mut self.inflate {
            Some(inflate) if self.compressed && !inflate.is_over() => inflate.step(&mut self.input),
            Some(inflate) if self.compressed => {
                if !inflate.plain.is_empty() || self.window.passing.is_some() {
                    return Err(DecodeError::Corrupt);
                }
                self.compressed = false;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl Window {
    /// Takes what is whole off the beginning of `input`.
    fn parse(&mut self, input: &mut BytesMut, longest: usize) -> Result<Parsed, DecodeError> {
        if self.passing.is_some() {
            return Ok(self
                .pass_over(input)
                .map_or(Parsed::Incomplete, Parsed::Item));
        }
        let Some(letter) = letter(input)? else {
            return Ok(Parsed::Incomplete);
        };
        match letter {
            WINDOW => self.window(input),
            COMPRESSED if self.events > 0 => Ok(match number(input, 2) {
                Some(len) => {
                    input.advance(SHORT);
                    Parsed::Compressed(len)
                }
                None => Parsed::Incomplete,
            }),
            EVENT if self.events > 0 => self.event(input, longest),
            COMPRESSED | EVENT => Err(DecodeError::Misplaced(letter)),
            other => Err(DecodeError::Unknown(other)),
        }
    }

    fn window(&mut self, input: &mut BytesMut) -> Result<Parsed, DecodeError> {
        if self.events > 0 {
            return Err(DecodeError::Misplaced(WINDOW));
        }
        let Some(count) = number(input, 2) else {
            return Ok(Parsed::Incomplete);
        };
        input.advance(SHORT);
        self.events = count;
        Ok(Parsed::Item(Item::Window(count)))
    }

    fn event(&mut self, input: &mut BytesMut, longest: usize) -> Result<Parsed, DecodeError> {
        let (Some(sequence), Some(length)) = (number(input, 2), number(input, 6)) else {
            return Ok(Parsed::Incomplete);
        };
        let len = length as usize;
        if length > LONGEST_PASSED.max(u32::try_from(longest).unwrap_or(u32::MAX)) {
            return Err(DecodeError::TooLong(length));
        }
        if len <= longest {
            if input.len() < LONG + len {
                return Ok(Parsed::Incomplete);
            }
            input.advance(LONG);
            self.events -= 1;
            let json = input.split_to(len).freeze();
            return Ok(Parsed::Item(Item::Event { sequence, json }));
        }
        if input.len() < LONG + longest {
            return Ok(Parsed::Incomplete);
        }
        input.advance(LONG);
        let beginning = Bytes::copy_from_slice(&input[..longest]);
        let left = len;
        self.passing = Some(Passing {
            sequence,
            length,
            left,
            beginning,
        });
        Ok(self
            .pass_over(input)
            .map_or(Parsed::Incomplete, Parsed::Item))
    }

    /// Goes on with an event that is too long.
    fn pass_over(&mut self, input: &mut BytesMut) -> Option<Item> {
        let passing = self.passing.as_mut()?;
        let here = passing.left.min(input.len());
        input.advance(here);
        passing.left -= here;
        if passing.left > 0 {
            return None;
        }
        let Passing {
            sequence,
            length,
            beginning,
            ..
        } = self.passing.take()?;
        self.events -= 1;
        Some(Item::Overlong {
            sequence,
            beginning,
            length,
        })
    }
}

/// The letter of the frame at the beginning of `input`, if it has come.
fn letter(input: &[u8]) -> Result<Option<u8>, DecodeError> {
    match *input {
        [] | [VERSION] => Ok(None),
        [VERSION, letter, ..] => Ok(Some(letter)),
        [b'1', ..] => Err(DecodeError::VersionOne),
        [other, ..] => Err(DecodeError::NotLumberjack(other)),
    }
}

fn number(input: &[u8], at: usize) -> Option<u32> {
    let bytes = input.get(at..at + 4)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}
