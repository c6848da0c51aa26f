//! Events between their text and jaq's values. jaq's own reader makes `0` of `-0`, and its
//! writer writes what is no JSON.

use std::io::{self, Write};

use bytes::Bytes;
use jaq_json::{Map, Num, Rc, Val, read, write};

/// Deepest nesting of a result, as the door has it for events.
const MAX_DEPTH: usize = 128;

/// Reads an event; the gateway has checked that it is a JSON object that is not too
/// deep.
pub(super) fn read(event: &[u8]) -> Result<Val, String> {
    let mut reader = Reader { event, at: 0 };
    let value = reader.value()?;
    reader.skip_blanks();
    if reader.at < event.len() {
        return Err(reader.fault("expected the end"));
    }
    Ok(value)
}

struct Reader<'a> {
    event: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Val, String> {
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => self.string(),
            _ => self.scalar(),
        }
    }

    fn object(&mut self) -> Result<Val, String> {
        let mut members = Map::default();
        self.items(b'}', |reader| {
            reader.peek();
            let name = reader.string()?;
            reader.expect(b':')?;
            members.insert(name, reader.value()?);
            Ok(())
        })?;
        Ok(Val::obj(members))
    }

    fn array(&mut self) -> Result<Val, String> {
        let mut elements = Vec::new();
        self.items(b']', |reader| {
            elements.push(reader.value()?);
            Ok(())
        })?;
        Ok(Val::Arr(Rc::new(elements)))
    }

    /// Reads from an opening bracket through the closing one.
    fn items(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        self.at += 1;
        if self.take(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(close) {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn string(&mut self) -> Result<Val, String> {
        let text = &self.event[self.at..];
        let mut end = 1;
        let mut escaped = false;
        loop {
            match text.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    end += 2;
                }
                Some(_) => end += 1,
                None => return Err(self.fault("expected '\"'")),
            }
        }
        let value = if escaped {
            read::parse_single(&text[..=end]).map_err(|_| {
                self.fault("half a surrogate pair, which is no character, in the string")
            })?
        } else {
            Val::utf8_str(Bytes::copy_from_slice(&text[1..end]))
        };
        self.at += end + 1;
        Ok(value)
    }

    fn scalar(&mut self) -> Result<Val, String> {
        let text = &self.event[self.at..];
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
        let text = &text[..text.iter().position(ends).unwrap_or(text.len())];
        let value = match text {
            // An integer for jaq, which has no sign at zero.
            b"-0" => Val::Num(Num::Dec(Rc::new("-0".into()))),
            _ => read::parse_single(text).map_err(|_| self.fault("expected a value"))?,
        };
        self.at += text.len();
        Ok(value)
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.take(byte) {
            return Ok(());
        }
        Err(self.fault(&format!("expected '{}'", char::from(byte))))
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        self.skip_blanks();
        self.event.get(self.at).copied()
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.event.get(self.at) {
            self.at += 1;
        }
    }

    fn fault(&self, what: &str) -> String {
        format!("{what} at byte {}", self.at)
    }
}

/// Why a result cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("the result is longer than {0} bytes, the longest event")]
    TooLong(usize),
    #[error("the result is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("the result holds a number that JSON cannot write (not a number, or infinite)")]
    NotFinite,
    #[error("the result holds a string that is not UTF-8")]
    NotText,
    #[error("the result has a member whose name is not a string")]
    Name,
}

/// Writes `value` on one line, in at most `longest` bytes. Members stand in the order
/// that they have in `like`, where they are there too: jaq's `del` puts the last member
/// in the place of the one that goes.
pub(super) fn write(value: &Val, like: &Val, longest: usize) -> Result<Vec<u8>, Fault> {
    let mut writer = Writer {
        out: Vec::new(),
        longest,
    };
    writer.value(value, Some(like), 1)?;
    Ok(writer.out)
}

struct Writer {
    out: Vec<u8>,
    longest: usize,
}

impl Writer {
    fn value(&mut self, value: &Val, like: Option<&Val>, depth: usize) -> Result<(), Fault> {
        match value {
            Val::Obj(_) | Val::Arr(_) if depth > MAX_DEPTH => Err(Fault::TooDeep),
            Val::Obj(members) => self.object(members, like, depth),
            Val::Arr(elements) => self.array(elements, like, depth),
            Val::Num(Num::Float(number)) if !number.is_finite() => Err(Fault::NotFinite),
            Val::BStr(_) => Err(Fault::NotText),
            Val::TStr(text) if str::from_utf8(text).is_err() => Err(Fault::NotText),
            scalar => {
                let written = write::write(self, &write::Pp::default(), 0, scalar);
                written.map_err(|_| Fault::TooLong(self.longest))
            }
        }
    }

    fn object(&mut self, members: &Map, like: Option<&Val>, depth: usize) -> Result<(), Fault> {
        let none = Map::default();
        let like = match like {
            Some(Val::Obj(like)) => like,
            _ => &none,
        };
        let old = like.iter().filter_map(|(name, like)| {
            let value = members.get(name)?;
            Some((name, value, Some(like)))
        });
        let new = members.iter().filter(|(name, _)| !like.contains_key(*name));
        let new = new.map(|(name, value)| (name, value, None));
        self.put(b"{")?;
        for (i, (name, value, like)) in old.chain(new).enumerate() {
            if !matches!(name, Val::TStr(_)) {
                return Err(Fault::Name);
            }
            self.put(if i == 0 { b"" } else { b"," })?;
            self.value(name, None, depth)?;
            self.put(b":")?;
            self.value(value, like, depth + 1)?;
        }
        self.put(b"}")
    }

    fn array(&mut self, elements: &[Val], like: Option<&Val>, depth: usize) -> Result<(), Fault> {
        let like = match like {
            Some(Val::Arr(like)) => like.as_slice(),
            _ => &[],
        };
        self.put(b"[")?;
        for (i, value) in elements.iter().enumerate() {
            self.put(if i == 0 { b"" } else { b"," })?;
            self.value(value, like.get(i), depth + 1)?;
        }
        self.put(b"]")
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let fault = Fault::TooLong(self.longest);
        self.write_all(bytes).map_err(|_| fault)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.len() + bytes.len() > self.longest {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `value` is, with its article.
pub(super) fn kind(value: &Val) -> &'static str {
    match value {
        Val::Null => "null",
        Val::Bool(_) => "a boolean",
        Val::Num(_) => "a number",
        Val::BStr(_) | Val::TStr(_) => "a string",
        Val::Arr(_) => "an array",
        Val::Obj(_) => "an object",
    }
}
