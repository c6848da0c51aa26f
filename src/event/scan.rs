//! Checks JSON (RFC 8259): one iterative pass over bytes, no recursion, no
//! allocation.
//!
//! - At most [`MAX_DEPTH`] levels; the open containers are bits of one word.
//! - A number has at most [`MAX_NUMBER_DIGITS`] digits and a name at most
//!   [`MAX_NAME_BYTES`] bytes as written: beyond that Logstash's JSON parser
//!   (Jackson) gives up.
//! - Strings are not checked for UTF-8: whoever calls does that for the whole
//!   block, which is cheaper. Every byte of meaning to JSON is ASCII, so the
//!   structure does not depend on it.
//! - A lone surrogate (`"\ud800"`) is taken: the grammar of RFC 8259 allows it,
//!   and so does Jackson.
//! - A name may occur twice in an object, as for Jackson (the last one wins).

use super::members::name_is;
use super::reject::Fault;
use super::reject::RejectReason::{InvalidJson, TokenTooLong, TooDeep};
use super::specials::Specials;

/// Deepest nesting of an event; the event's own braces are level 1.
pub(super) const MAX_DEPTH: u32 = 128;
/// Most digits of a number, as Logstash sets it for Jackson.
pub(super) const MAX_NUMBER_DIGITS: usize = 10_000;
/// Longest name of a member, in bytes as written; Jackson's default.
pub(super) const MAX_NAME_BYTES: usize = 50_000;

/// What was seen on the way through a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether the value is an object.
    pub(super) object: bool,
    /// How many members `@metadata` it has.
    pub(super) metadata: u32,
    /// Whether it has a member `@timestamp`.
    pub(super) timestamp: bool,
    /// Whether there are raw line breaks (`\n`, `\r`) between its tokens.
    pub(super) line_breaks: bool,
    /// The last number or name that is too long.
    pub(super) too_long: Option<Fault>,
}

/// Reads values one after the other. With `LINES` a `\n` between tokens is not
/// white space but the end of the event.
#[derive(Debug)]
pub(super) struct Scanner<'a, const LINES: bool> {
    cursor: Cursor<'a, LINES>,
    seen: Seen,
}

impl<'a, const LINES: bool> Scanner<'a, LINES> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let specials = Specials::new(bytes, 0);
        let at = 0;
        Self {
            cursor: Cursor {
                bytes,
                at,
                specials,
            },
            seen: Seen::default(),
        }
    }

    /// Reads one value, and stops behind its last byte, or where the fault is.
    #[inline(never)]
    pub(super) fn value(&mut self) -> Result<(), Fault> {
        self.seen = Seen::default();
        // A copy whose address nobody takes stays in registers.
        let mut cursor = self.cursor;
        let result = cursor.value(&mut self.seen);
        self.cursor = cursor;
        result
    }

    /// What was seen in the value that was read last.
    pub(super) fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Position of the next byte to read.
    #[inline]
    pub(super) fn at(&self) -> usize {
        self.cursor.at
    }

    /// Goes on at another position.
    #[inline]
    pub(super) fn go_to(&mut self, at: usize) {
        self.cursor.at = at;
    }

    /// Skips white space and gives the next byte without taking it; `None` at
    /// the end.
    #[inline]
    pub(super) fn token(&mut self) -> Option<u8> {
        self.cursor.at = skip_blanks::<LINES>(self.cursor.bytes, self.cursor.at).0;
        self.cursor.bytes.get(self.cursor.at).copied()
    }

    /// A syntax error here.
    pub(super) fn fault(&self, what: &'static str) -> Fault {
        self.cursor.fault(what)
    }
}

#[derive(Debug, Clone, Copy)]
struct Cursor<'a, const LINES: bool> {
    bytes: &'a [u8],
    at: usize,
    specials: Specials,
}

/// The open containers: bit 0 is the innermost, 1 stands for an object.
#[derive(Default)]
struct Nesting {
    objects: u128,
    depth: u32,
}

impl Nesting {
    #[inline(always)]
    fn open(&mut self, object: bool) {
        self.objects = self.objects << 1 | u128::from(object);
        self.depth += 1;
    }

    #[inline(always)]
    fn close(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }
}

impl<const LINES: bool> Cursor<'_, LINES> {
    #[inline(always)]
    fn value(&mut self, seen: &mut Seen) -> Result<(), Fault> {
        seen.object = self.is_next(b'{', seen);
        let mut nesting = Nesting::default();
        loop {
            self.begin(&mut nesting, seen)?;
            if !self.complete(&mut nesting, seen)? {
                return Ok(());
            }
        }
    }

    /// The next byte; 0, which begins no token, at the end.
    #[inline(always)]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Skips white space; false when there is none.
    #[inline(always)]
    fn skip(&mut self, seen: &mut Seen) -> bool {
        if self.peek() > b' ' {
            return false;
        }
        let (at, line_breaks) = skip_blanks::<LINES>(self.bytes, self.at);
        let skipped = at > self.at;
        self.at = at;
        seen.line_breaks |= line_breaks;
        skipped
    }

    /// Whether the next token begins with `byte`, white space apart.
    #[inline(always)]
    fn is_next(&mut self, byte: u8, seen: &mut Seen) -> bool {
        self.peek() == byte || self.skip(seen) && self.peek() == byte
    }

    /// Reads a scalar, an empty container, or the opening bracket (and the first
    /// name) of containers down to the first scalar.
    #[inline(always)]
    fn begin(&mut self, nesting: &mut Nesting, seen: &mut Seen) -> Result<(), Fault> {
        loop {
            match self.peek() {
                b'"' => return self.string(),
                b'{' => {
                    self.open(nesting, true)?;
                    if self.is_next(b'}', seen) {
                        return Ok(());
                    }
                    self.name(nesting, seen, "expected a name or '}'")?;
                }
                b'[' => {
                    self.open(nesting, false)?;
                    if self.is_next(b']', seen) {
                        return Ok(());
                    }
                }
                b'-' | b'0'..=b'9' => return self.number(seen),
                b't' => return self.literal(b"true", "expected 'true'"),
                b'f' => return self.literal(b"false", "expected 'false'"),
                b'n' => return self.literal(b"null", "expected 'null'"),
                _ if self.skip(seen) => {}
                _ => return Err(self.fault("expected a value")),
            }
        }
    }

    /// After a value: closes containers; true when another value must follow.
    #[inline(always)]
    fn complete(&mut self, nesting: &mut Nesting, seen: &mut Seen) -> Result<bool, Fault> {
        while nesting.depth > 0 {
            let in_object = nesting.objects & 1 == 1;
            match self.peek() {
                b',' => {
                    self.at += 1;
                    if in_object {
                        self.name(nesting, seen, "expected a name")?;
                    }
                    return Ok(true);
                }
                b'}' if in_object => nesting.close(),
                b']' if !in_object => nesting.close(),
                _ if self.skip(seen) => continue,
                _ if in_object => return Err(self.fault("expected ',' or '}'")),
                _ => return Err(self.fault("expected ',' or ']'")),
            }
            self.at += 1;
        }
        Ok(false)
    }

    #[inline(always)]
    fn open(&mut self, nesting: &mut Nesting, object: bool) -> Result<(), Fault> {
        if nesting.depth == MAX_DEPTH {
            let what = "nested deeper than 128 levels";
            return Err(Fault::new(TooDeep, what, self.at));
        }
        nesting.open(object);
        self.at += 1;
        Ok(())
    }

    /// Reads a member's name and the colon behind it.
    #[inline(always)]
    fn name(
        &mut self,
        nesting: &Nesting,
        seen: &mut Seen,
        expected: &'static str,
    ) -> Result<(), Fault> {
        if !self.is_next(b'"', seen) {
            return Err(self.fault(expected));
        }
        let start = self.at + 1;
        self.string()?;
        let end = self.at - 1;
        if end - start > MAX_NAME_BYTES {
            seen.too_long("a name longer than 50,000 bytes", start - 1);
        }
        // Only a name that begins with '@', plain or escaped, is of interest.
        if nesting.depth == 1 && matches!(self.bytes[start], b'@' | b'\\') {
            seen.name(&self.bytes[start..end]);
        }
        if !self.is_next(b':', seen) {
            return Err(self.fault("expected ':'"));
        }
        self.at += 1;
        Ok(())
    }

    #[inline(always)]
    fn string(&mut self) -> Result<(), Fault> {
        let mut from = self.at + 1;
        loop {
            self.at = self.specials.next(self.bytes, from);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => from = escape(self.bytes, self.at)?,
                Some(b'\n') if LINES => return Err(self.fault("expected '\"'")),
                Some(_) => return Err(self.fault("a raw control character in a string")),
                None => return Err(self.fault("expected '\"'")),
            }
        }
    }

    #[inline(always)]
    fn literal(&mut self, literal: &[u8], expected: &'static str) -> Result<(), Fault> {
        if !self.bytes[self.at..].starts_with(literal) {
            return Err(self.fault(expected));
        }
        self.at += literal.len();
        Ok(())
    }

    #[inline(always)]
    fn number(&mut self, seen: &mut Seen) -> Result<(), Fault> {
        let start = self.at;
        if self.bytes[start] == b'-' {
            self.at += 1;
        }
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        if self.at - start > MAX_NUMBER_DIGITS && has_too_many_digits(&self.bytes[start..self.at]) {
            seen.too_long("a number of more than 10,000 digits", start);
        }
        Ok(())
    }

    #[inline(always)]
    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.fault("expected a digit"));
        }
        Ok(())
    }

    #[inline(always)]
    fn fault(&self, what: &'static str) -> Fault {
        Fault::new(InvalidJson, what, self.at)
    }
}

impl Seen {
    /// Notes a member of the event itself, by its name as written.
    fn name(&mut self, written: &[u8]) {
        self.metadata += u32::from(name_is(written, "@metadata"));
        self.timestamp |= name_is(written, "@timestamp");
    }

    /// Notes what is too long; the scan goes on, as the value may be part of a
    /// document whose other events are good.
    #[cold]
    #[inline(never)]
    fn too_long(&mut self, what: &'static str, at: usize) {
        self.too_long = Some(Fault::new(TokenTooLong, what, at));
    }
}

/// The first position from `at` on that holds no white space, and whether a
/// line break was passed.
fn skip_blanks<const LINES: bool>(bytes: &[u8], mut at: usize) -> (usize, bool) {
    let mut line_breaks = false;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' => {}
            b'\n' if LINES => break,
            b'\n' | b'\r' => line_breaks = true,
            _ => break,
        }
        at += 1;
    }
    (at, line_breaks)
}

/// Checks the escape whose backslash is at `at`; gives the position behind it.
fn escape(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let invalid = |what, at| Err(Fault::new(InvalidJson, what, at));
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let digits = bytes[at + 2..].iter().take(4);
            match digits.take_while(|digit| digit.is_ascii_hexdigit()).count() {
                4 => Ok(at + 6),
                n => invalid("expected a hexadecimal digit", at + 2 + n),
            }
        }
        _ => invalid("an unknown escape in a string", at + 1),
    }
}

#[cold]
#[inline(never)]
fn has_too_many_digits(number: &[u8]) -> bool {
    number.iter().filter(|byte| byte.is_ascii_digit()).count() > MAX_NUMBER_DIGITS
}
