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

/// A value that is valid JSON, and what was seen on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value {
    /// Whether it is an object.
    pub(super) object: bool,
    /// Whether an object has a member `@metadata` at the top.
    pub(super) metadata: bool,
    /// Whether there are raw line breaks (`\n`, `\r`) between its tokens.
    pub(super) line_breaks: bool,
    /// The first number or name that is too long.
    pub(super) too_long: Option<Fault>,
}

/// Reads values one after the other. With `LINES` a `\n` between tokens is not
/// white space but the end of the event.
#[derive(Debug)]
pub(super) struct Scanner<'a, const LINES: bool> {
    bytes: &'a [u8],
    /// Position of the next byte to read.
    pub(super) at: usize,
    specials: Specials,
    value: Value,
}

/// The open containers: bit 0 is the innermost, 1 stands for an object.
#[derive(Default)]
struct Nesting {
    objects: u128,
    depth: u32,
}

impl<'a, const LINES: bool> Scanner<'a, LINES> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            specials: Specials::new(bytes),
            value: Value::NOTHING_SEEN,
        }
    }

    /// Skips white space and gives the next byte without taking it; 0, which
    /// begins no token, at the end.
    #[inline(always)]
    pub(super) fn token(&mut self) -> u8 {
        match self.bytes.get(self.at) {
            Some(&byte) if byte > b' ' => byte,
            _ => self.token_after_blanks(),
        }
    }

    #[inline]
    fn token_after_blanks(&mut self) -> u8 {
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' => {}
                b'\n' if LINES => return byte,
                b'\n' | b'\r' => self.value.line_breaks = true,
                _ => return byte,
            }
            self.at += 1;
        }
        0
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Reads one value, and stops behind its last byte.
    pub(super) fn value(&mut self) -> Result<Value, Fault> {
        let object = self.token() == b'{';
        self.value = Value {
            object,
            ..Value::NOTHING_SEEN
        };
        let mut nesting = Nesting::default();
        loop {
            self.begin(&mut nesting)?;
            if !self.complete(&mut nesting)? {
                return Ok(self.value);
            }
        }
    }

    /// Reads a scalar, an empty container, or the opening bracket (and the first
    /// name) of containers down to the first scalar.
    #[inline(always)]
    fn begin(&mut self, nesting: &mut Nesting) -> Result<(), Fault> {
        loop {
            match self.token() {
                b'"' => return self.string(),
                b'{' => {
                    self.open(nesting, true)?;
                    if self.token() == b'}' {
                        return Ok(());
                    }
                    self.name(nesting, "expected a name or '}'")?;
                }
                b'[' => {
                    self.open(nesting, false)?;
                    if self.token() == b']' {
                        return Ok(());
                    }
                }
                b'-' | b'0'..=b'9' => return self.number(),
                b't' => return self.literal(b"true", "expected 'true'"),
                b'f' => return self.literal(b"false", "expected 'false'"),
                b'n' => return self.literal(b"null", "expected 'null'"),
                _ => return Err(self.fault("expected a value")),
            }
        }
    }

    /// After a value: closes containers; true when another value must follow.
    #[inline(always)]
    fn complete(&mut self, nesting: &mut Nesting) -> Result<bool, Fault> {
        while nesting.depth > 0 {
            let in_object = nesting.objects & 1 == 1;
            match self.token() {
                b',' if in_object => {
                    self.at += 1;
                    self.name(nesting, "expected a name")?;
                    return Ok(true);
                }
                b',' => {
                    self.at += 1;
                    return Ok(true);
                }
                b'}' if in_object => {}
                b']' if !in_object => {}
                _ if in_object => return Err(self.fault("expected ',' or '}'")),
                _ => return Err(self.fault("expected ',' or ']'")),
            }
            self.at += 1;
            nesting.objects >>= 1;
            nesting.depth -= 1;
        }
        Ok(false)
    }

    #[inline(always)]
    fn open(&mut self, nesting: &mut Nesting, object: bool) -> Result<(), Fault> {
        if nesting.depth == MAX_DEPTH {
            let what = "nested deeper than 128 levels";
            return Err(Fault::new(TooDeep, what, self.at));
        }
        nesting.objects = nesting.objects << 1 | u128::from(object);
        nesting.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Reads a member's name and the colon behind it.
    #[inline(always)]
    fn name(&mut self, nesting: &Nesting, expected: &'static str) -> Result<(), Fault> {
        if self.token() != b'"' {
            return Err(self.fault(expected));
        }
        let start = self.at + 1;
        self.string()?;
        let end = self.at - 1;
        if end - start > MAX_NAME_BYTES {
            self.too_long("a name longer than 50,000 bytes", start - 1);
        }
        // Only a name that begins with '@', plain or escaped, can be `@metadata`.
        if nesting.depth == 1 && matches!(self.bytes[start], b'@' | b'\\') {
            self.value.metadata |= name_is(&self.bytes[start..end], "@metadata");
        }
        if self.token() != b':' {
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
                Some(b'\\') => from = self.escape()?,
                Some(b'\n') if LINES => return Err(self.fault("expected '\"'")),
                Some(_) => return Err(self.fault("a raw control character in a string")),
                None => return Err(self.fault("expected '\"'")),
            }
        }
    }

    /// Checks the escape at the current position; gives the position behind it.
    fn escape(&self) -> Result<usize, Fault> {
        let rest = &self.bytes[self.at + 1..];
        match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(self.at + 2),
            Some(b'u') => {
                let digits = rest[1..].iter().take(4);
                match digits.take_while(|digit| digit.is_ascii_hexdigit()).count() {
                    4 => Ok(self.at + 6),
                    n => Err(Fault::new(
                        InvalidJson,
                        "expected a hexadecimal digit",
                        self.at + 2 + n,
                    )),
                }
            }
            _ => Err(Fault::new(
                InvalidJson,
                "an unknown escape in a string",
                self.at + 1,
            )),
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
    fn number(&mut self) -> Result<(), Fault> {
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
        if self.at - start > MAX_NUMBER_DIGITS {
            self.check_digits(start);
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

    #[cold]
    fn check_digits(&mut self, start: usize) {
        let number = &self.bytes[start..self.at];
        if number.iter().filter(|byte| byte.is_ascii_digit()).count() > MAX_NUMBER_DIGITS {
            self.too_long("a number of more than 10,000 digits", start);
        }
    }

    /// Notes what is too long, and goes on: the value may be part of a document
    /// whose other events are good.
    #[cold]
    fn too_long(&mut self, what: &'static str, at: usize) {
        let fault = Fault::new(TokenTooLong, what, at);
        self.value.too_long.get_or_insert(fault);
    }

    #[cold]
    pub(super) fn fault(&self, what: &'static str) -> Fault {
        Fault::new(InvalidJson, what, self.at)
    }
}

impl Value {
    const NOTHING_SEEN: Self = Self {
        object: false,
        metadata: false,
        line_breaks: false,
        too_long: None,
    };
}
