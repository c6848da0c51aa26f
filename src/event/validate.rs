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
use super::scan::Scanner;
use super::sieve::{Piece, Sieve};
use super::{Limits, Reject, RejectReason};
use crate::batch::Timestamps;

/// A block that passed the sieve.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Validated {
    /// The accepted events as a block, as [`crate::batch::Batch::payload`] says.
    pub block: Bytes,
    /// Number of events in `block`.
    pub events: u32,
    /// Whether an event of the block has an `@metadata` of its own.
    pub own_metadata: bool,
    /// Which events of the block have an `@timestamp` of their own.
    pub timestamps: Timestamps,
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
    let mut sieve = Sieve::new(limits, block);
    let mut scanner = Scanner::<true>::new(&input);
    loop {
        let start = scanner.at();
        match scanner.token() {
            None => return Ok(sieve.close(hash)),
            Some(b'\n') => scanner.go_to(scanner.at() + 1),
            Some(_) => {
                sieve.count()?;
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
                sieve.take(piece, scanned, scanner.seen());
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
    let mut sieve = Sieve::new(limits, Block::new(&nothing, bytes + events.len()));
    // The lengths tell ["ab", "c"] from ["a", "bc"].
    let mut hash = Xxh3::new();
    for source in events {
        hash.update(&(source.len() as u64).to_le_bytes());
        hash.update(source);
        sieve.count()?;
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
        sieve.take(piece, scanned, scanner.seen());
    }
    Ok(sieve.close(hash.digest()))
}

/// Validates a JSON document: one object, or an array of objects. An element
/// that is valid JSON but no acceptable event is rejected alone.
pub fn json_document(body: Bytes, limits: &Limits) -> Result<Validated, BlockError> {
    check_bytes(body.len(), limits)?;
    let utf8 = simdutf8::basic::from_utf8(&body).is_ok();
    let nothing = Bytes::new();
    // Between two events stands a comma at least: room for their line ends.
    let mut sieve = Sieve::new(limits, Block::new(&nothing, body.len() + 1));
    let mut scanner = Scanner::<false>::new(&body);
    match scanner.token() {
        Some(b'{') => element(&mut sieve, &mut scanner, &body, utf8)?,
        Some(b'[') => elements(&mut sieve, &mut scanner, &body, utf8)?,
        _ => return Err(malformed(&body, scanner.fault("expected '{' or '['"))),
    }
    if scanner.token().is_some() {
        return Err(malformed(&body, scanner.fault("expected the end")));
    }
    Ok(sieve.close(xxh3_64(&body)))
}

fn elements(
    sieve: &mut Sieve<'_>,
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
        element(sieve, scanner, body, utf8)?;
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
    sieve: &mut Sieve<'_>,
    scanner: &mut Scanner<'_, false>,
    body: &Bytes,
    utf8: bool,
) -> Result<(), BlockError> {
    sieve.count()?;
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
    sieve.take(piece, scanned, scanner.seen());
    Ok(())
}

/// Whether `event` is one JSON object in UTF-8 and not too deep; else what is wrong,
/// in words. The door asks more of an event.
pub fn object(event: &[u8]) -> Result<(), String> {
    let mut scanner = Scanner::<false>::new(event);
    let (scanned, text) = scan_alone(&mut scanner);
    let utf8 = simdutf8::compat::from_utf8(event).map_err(|error| {
        let at = error.valid_up_to();
        Fault::new(RejectReason::InvalidUtf8, "not UTF-8", at)
    });
    let checked = utf8.and(scanned).and_then(|()| {
        let fault = Fault::new(RejectReason::NotAnObject, "expected an object", text.start);
        scanner.seen().object.then_some(()).ok_or(fault)
    });
    checked.map_err(|fault| fault.detail(event.len()))
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
