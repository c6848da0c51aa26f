//! The door: one pass over bytes that came from outside.
//!
//! - An event is accepted when it is valid UTF-8, a JSON object, not too long
//!   and not too deep; any other is a [`Reject`], and the rest goes on.
//! - UTF-8 is checked for the whole input at once; only where that fails is it
//!   checked event by event.
//! - A block of lines without faults is given back as it came. Else one buffer,
//!   as long as the input, takes the accepted events: the number of allocations
//!   does not depend on the number of accepted events.
//! - When an event has more than one fault, the first of these is told: too
//!   large, not UTF-8, not JSON or too deep, a token too long, no object, a
//!   wrong `@metadata`.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::block::Block;
use super::members::end_of_value;
use super::reject::Fault;
use super::scan::{Scanner, Seen};
use super::{Limits, Reject, RejectReason, metadata};

/// A block that passed the door.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validated {
    /// The accepted events as a block, as [`crate::batch::Batch::payload`] says.
    pub block: Bytes,
    /// Number of events in `block`.
    pub events: u32,
    /// Whether an event of the block has an `@metadata` of its own.
    pub own_metadata: bool,
    /// xxh3-64 of what the client sent.
    pub hash: u64,
    /// What was not accepted, in the order in which it was sent.
    pub rejects: Vec<Reject>,
}

/// Why a block as a whole is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// More events than a batch may have.
    #[error(
        "the batch has more than {limit} events; send smaller batches, or raise limits.max_batch_events"
    )]
    TooManyEvents {
        /// `max_batch_events`.
        limit: usize,
    },
    /// More bytes than a batch may have.
    #[error(
        "the batch has more than {limit} bytes; send smaller batches, or raise limits.max_batch_bytes"
    )]
    TooManyBytes {
        /// `max_batch_bytes`.
        limit: usize,
    },
    /// A JSON document that cannot be split into events.
    #[error("the body is not valid JSON: {detail}")]
    Malformed {
        /// What is wrong, with the byte position.
        detail: String,
    },
}

/// Validates a block of one event a line (`\n` or `\r\n`; blank lines are no
/// events). A block without faults is returned as it came, not copied.
pub fn ndjson(input: Bytes, limits: &Limits) -> Result<Validated, BlockError> {
    check_bytes(input.len(), limits)?;
    let hash = xxh3_64(&input);
    let utf8 = simdutf8::basic::from_utf8(&input).is_ok();
    let block = Block::new(&input, input.len() + 1);
    let mut door = Door::new(limits, block);
    let mut scanner = Scanner::<true>::new(&input);
    loop {
        let start = scanner.at();
        match scanner.token() {
            None => return Ok(door.close(hash)),
            Some(b'\n') => scanner.go_to(scanner.at() + 1),
            Some(_) => {
                door.count()?;
                let (scanned, text) = scan_alone(&mut scanner);
                let (end, next) = end_of_line(&input, scanner.at());
                scanner.go_to(next);
                let whole_line = text == (start..end) && end < next;
                let cr = input[start..end].last() == Some(&b'\r');
                let piece = Piece {
                    source: &input,
                    sent: start..end - usize::from(cr),
                    text,
                    whole_line,
                    utf8,
                };
                door.take(piece, scanned, scanner.seen());
            }
        }
    }
}

/// Where the line that goes on at `at` ends, and where the next one begins.
#[inline]
fn end_of_line(input: &[u8], at: usize) -> (usize, usize) {
    if input.get(at) == Some(&b'\n') {
        return (at, at + 1);
    }
    match memchr(b'\n', &input[at..]) {
        Some(newline) => (at + newline, at + newline + 1),
        None => (input.len(), input.len()),
    }
}

/// Validates events that came one by one; each may be pretty-printed.
pub fn list(events: &[Bytes], limits: &Limits) -> Result<Validated, BlockError> {
    if events.len() > limits.max_batch_events {
        let limit = limits.max_batch_events;
        return Err(BlockError::TooManyEvents { limit });
    }
    let bytes = events.iter().map(Bytes::len).sum();
    check_bytes(bytes, limits)?;
    let nothing = Bytes::new();
    let mut door = Door::new(limits, Block::new(&nothing, bytes + events.len()));
    // The lengths tell ["ab", "c"] from ["a", "bc"].
    let mut hash = Xxh3::new();
    for source in events {
        hash.update(&(source.len() as u64).to_le_bytes());
        hash.update(source);
        door.count()?;
        let mut scanner = Scanner::<false>::new(source);
        let (scanned, text) = scan_alone(&mut scanner);
        let sent = 0..source.len();
        let utf8 = simdutf8::basic::from_utf8(source).is_ok();
        let piece = Piece {
            source,
            sent,
            text,
            whole_line: false,
            utf8,
        };
        door.take(piece, scanned, scanner.seen());
    }
    Ok(door.close(hash.digest()))
}

/// Validates a JSON document: one object, or an array of objects. An element
/// that is valid JSON but no acceptable event is rejected alone.
pub fn json_document(body: Bytes, limits: &Limits) -> Result<Validated, BlockError> {
    check_bytes(body.len(), limits)?;
    let utf8 = simdutf8::basic::from_utf8(&body).is_ok();
    let nothing = Bytes::new();
    // Between two events stands a comma at least: room for their line ends.
    let mut door = Door::new(limits, Block::new(&nothing, body.len() + 1));
    let mut scanner = Scanner::<false>::new(&body);
    match scanner.token() {
        Some(b'{') => element(&mut door, &mut scanner, &body, utf8)?,
        Some(b'[') => elements(&mut door, &mut scanner, &body, utf8)?,
        _ => return Err(malformed(&body, scanner.fault("expected '{' or '['"))),
    }
    if scanner.token().is_some() {
        return Err(malformed(&body, scanner.fault("expected the end")));
    }
    Ok(door.close(xxh3_64(&body)))
}

fn elements(
    door: &mut Door<'_>,
    scanner: &mut Scanner<'_, false>,
    body: &Bytes,
    utf8: bool,
) -> Result<(), BlockError> {
    scanner.go_to(scanner.at() + 1);
    if scanner.token() == Some(b']') {
        scanner.go_to(scanner.at() + 1);
        return Ok(());
    }
    loop {
        element(door, scanner, body, utf8)?;
        let next = scanner.token();
        if !matches!(next, Some(b',' | b']')) {
            return Err(malformed(body, scanner.fault("expected ',' or ']'")));
        }
        scanner.go_to(scanner.at() + 1);
        if next == Some(b']') {
            return Ok(());
        }
    }
}

fn element(
    door: &mut Door<'_>,
    scanner: &mut Scanner<'_, false>,
    body: &Bytes,
    utf8: bool,
) -> Result<(), BlockError> {
    door.count()?;
    scanner.token();
    let start = scanner.at();
    let scanned = scanner.value();
    match scanned {
        Err(fault) if fault.reason == RejectReason::TooDeep => {
            scanner.go_to(end_of_value(body, start).unwrap_or(body.len()));
        }
        Err(fault) => return Err(malformed(body, fault)),
        Ok(_) => {}
    }
    let text = start..scanner.at();
    let piece = Piece {
        source: body,
        sent: text.clone(),
        text,
        whole_line: false,
        utf8,
    };
    door.take(piece, scanned, scanner.seen());
    Ok(())
}

fn check_bytes(bytes: usize, limits: &Limits) -> Result<(), BlockError> {
    let limit = limits.max_batch_bytes;
    if bytes > limit {
        return Err(BlockError::TooManyBytes { limit });
    }
    Ok(())
}

fn malformed(body: &[u8], fault: Fault) -> BlockError {
    let detail = fault.detail(body.len());
    BlockError::Malformed { detail }
}

/// Reads a value that must be alone up to the end of the line (`LINES`) or of
/// the input. Gives its place too.
#[inline]
fn scan_alone<const LINES: bool>(
    scanner: &mut Scanner<'_, LINES>,
) -> (Result<(), Fault>, Range<usize>) {
    scanner.token();
    let start = scanner.at();
    let scanned = scanner.value();
    let text = start..scanner.at();
    let alone = scanned.and_then(|()| match scanner.token() {
        None => Ok(()),
        Some(b'\n') if LINES => Ok(()),
        Some(_) => Err(scanner.fault("expected the end of the event")),
    });
    (alone, text)
}

/// An event, found but not judged.
struct Piece<'a> {
    source: &'a Bytes,
    /// Where the event is in `source`, as it was sent.
    sent: Range<usize>,
    /// The same without blanks around it.
    text: Range<usize>,
    /// Whether `text` and the `\n` behind it are a line of their own.
    whole_line: bool,
    /// Whether `source` is known to be valid UTF-8.
    utf8: bool,
}

/// Counts, judges and gathers events.
struct Door<'a> {
    limits: &'a Limits,
    block: Block<'a>,
    seen: usize,
    events: u32,
    own_metadata: bool,
    rejects: Vec<Reject>,
}

impl<'a> Door<'a> {
    fn new(limits: &'a Limits, block: Block<'a>) -> Self {
        Self {
            limits,
            block,
            seen: 0,
            events: 0,
            own_metadata: false,
            rejects: Vec::new(),
        }
    }

    /// Counts an event before any work is done for it.
    fn count(&mut self) -> Result<(), BlockError> {
        let limit = self.limits.max_batch_events;
        if self.seen == limit {
            return Err(BlockError::TooManyEvents { limit });
        }
        self.seen += 1;
        Ok(())
    }

    /// Puts an event into the block, or among the rejects.
    #[inline]
    fn take(&mut self, piece: Piece<'_>, scanned: Result<(), Fault>, seen: &Seen) {
        let verdict = self.judge(&piece, scanned, seen);
        match verdict.and_then(|()| self.put(&piece, seen)) {
            Ok(()) => self.events += 1,
            Err(fault) => self.reject(piece, fault),
        }
    }

    #[inline]
    fn judge(
        &self,
        piece: &Piece<'_>,
        scanned: Result<(), Fault>,
        seen: &Seen,
    ) -> Result<(), Fault> {
        let Range { start, end } = piece.sent;
        if end - start > self.limits.max_event_bytes {
            let at = start + self.limits.max_event_bytes;
            let what = "longer than max_event_bytes";
            return Err(Fault::new(RejectReason::TooLarge, what, at));
        }
        if !piece.utf8
            && let Err(error) = simdutf8::compat::from_utf8(&piece.source[start..end])
        {
            let at = start + error.valid_up_to();
            return Err(Fault::new(RejectReason::InvalidUtf8, "not UTF-8", at));
        }
        scanned?;
        if let Some(fault) = seen.too_long {
            return Err(fault);
        }
        if !seen.object {
            let at = piece.text.start;
            let what = "expected an object";
            return Err(Fault::new(RejectReason::NotAnObject, what, at));
        }
        Ok(())
    }

    #[inline]
    fn put(&mut self, piece: &Piece<'_>, seen: &Seen) -> Result<(), Fault> {
        let Range { start, end } = piece.text;
        let event = &piece.source[start..end];
        let own = seen.metadata > 0;
        let rewrite = own && (seen.metadata > 1 || !metadata::is_in_order(event));
        if piece.whole_line && !seen.line_breaks && !rewrite {
            self.block.keep(start..end + 1);
        } else {
            let out = self.block.copy();
            let line = out.len();
            if rewrite {
                metadata::rewrite(event, out).map_err(|fault| fault.behind(start))?;
            } else {
                out.extend_from_slice(event);
            }
            if seen.line_breaks {
                replace_line_breaks(&mut out[line..]);
            }
            out.push(b'\n');
        }
        self.own_metadata |= own;
        Ok(())
    }

    #[cold]
    fn reject(&mut self, piece: Piece<'_>, fault: Fault) {
        let Fault { reason, .. } = fault;
        let fault = fault.from(piece.sent.start);
        self.rejects.push(Reject {
            index: (self.seen - 1) as u32,
            reason,
            detail: fault.detail(piece.sent.len()),
            event: piece.source.slice(piece.sent),
        });
    }

    fn close(self, hash: u64) -> Validated {
        Validated {
            block: self.block.finish(),
            events: self.events,
            own_metadata: self.own_metadata,
            hash,
            rejects: self.rejects,
        }
    }
}

/// Makes blanks of raw line breaks. No string holds one, so these are between
/// tokens.
#[inline(never)]
fn replace_line_breaks(event: &mut [u8]) {
    for byte in event {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}
