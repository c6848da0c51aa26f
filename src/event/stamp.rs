//! The stamp: `@metadata._id` and `@metadata.accepted_at`, put into each event
//! when it is sent.
//!
//! `accepted_at` goes only to events without an `@timestamp` of their own. Logstash
//! gives every event an `@timestamp` before its filters run, so that a pipeline
//! could not see that one was missing and has to be filled in.
//!
//! The stable id is the batch id, the hash of what the client sent and the
//! event's position in the batch as it was sent, in base32hex (lower case, no
//! padding), which keeps the order of the bytes. Within a batch only the last
//! four digits, the position, differ.

use std::ops::Range;

use data_encoding::BASE32_DNSSEC;
use memchr::memchr_iter;

use super::members::members;
use super::metadata::OWN;
use crate::batch::{Timestamps, UnixMillis};
use crate::record::Header;

/// Digits of base32hex in their order.
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// Digits of a position: 20 bits.
const POSITION_LEN: usize = 4;

/// Stamps the events of one batch.
#[derive(Debug)]
pub struct Stamper {
    /// The ids of the batch without their last digits.
    id: String,
    /// For events without an `@timestamp` of their own.
    undated: Mark,
    /// For the others.
    dated: Mark,
    timestamps: Timestamps,
    rejected: Box<[u32]>,
    own_metadata: bool,
}

/// What is put into an event.
#[derive(Debug)]
struct Mark {
    /// What a plain event gets instead of its `{`:
    /// `{"@metadata":{"_id":"…","accepted_at":"…"},`; `{` if there is nothing to say.
    prefix: Vec<u8>,
    /// The member `_id` in `prefix`; empty without ids.
    id: Range<usize>,
    /// The member `accepted_at` in `prefix`; empty without it.
    accepted_at: Range<usize>,
}

impl Mark {
    fn new(id: Option<&str>, accepted_at: Option<UnixMillis>) -> Self {
        let mut prefix = OWN.to_vec();
        let mut put = |member: Option<String>| {
            let start = prefix.len();
            prefix.extend_from_slice(member.unwrap_or_default().as_bytes());
            let range = start..prefix.len();
            if !range.is_empty() {
                prefix.push(b',');
            }
            range
        };
        let id = put(id.map(|id| format!("\"_id\":\"{id}0000\"")));
        let accepted_at = put(accepted_at.map(|at| format!("\"accepted_at\":\"{at}\"")));
        match prefix.pop() {
            Some(b',') => prefix.extend_from_slice(b"},"),
            _ => prefix.truncate(1),
        }
        Self {
            prefix,
            id,
            accepted_at,
        }
    }
}

impl Stamper {
    /// `event_id`: whether `_id` is stamped. Foreign events have no stable id, so
    /// they never get one.
    pub fn new(header: &Header, event_id: bool) -> Self {
        let mut id = header.id.as_bytes().to_vec();
        id.extend_from_slice(&header.payload_hash.to_be_bytes());
        let id = BASE32_DNSSEC.encode(&id);
        let stamped = (event_id && !header.foreign).then_some(id.as_str());
        Self {
            undated: Mark::new(stamped, Some(header.accepted_at)),
            dated: Mark::new(stamped, None),
            timestamps: header.timestamps,
            id,
            rejected: header.rejected.clone(),
            own_metadata: header.own_metadata,
        }
    }

    /// Appends the events of `block` to `out`, stamped, one a line. `block` is
    /// the payload of the record, or whole lines of it of which the first is
    /// the event at position `first` among the accepted ones.
    pub fn stamp(&self, block: &[u8], first: u32, out: &mut Vec<u8>) {
        let lines = memchr_iter(b'\n', block).count();
        out.reserve(block.len() + lines * (self.undated.prefix.len() - 1));
        let mut positions = Positions::new(&self.rejected, first);
        let mut start = 0;
        for newline in memchr_iter(b'\n', block) {
            let line = &block[start..=newline];
            let position = positions.take();
            if self.own_metadata && line.starts_with(OWN) {
                self.splice(line, position, out);
            } else {
                self.prepend(line, position, out);
            }
            start = newline + 1;
        }
    }

    #[inline]
    fn mark(&self, line: &[u8]) -> &Mark {
        match self.timestamps {
            Timestamps::None => &self.undated,
            Timestamps::All => &self.dated,
            Timestamps::Some if members(line).any(|member| member.is("@timestamp")) => &self.dated,
            Timestamps::Some => &self.undated,
        }
    }

    /// Stamps an event without an `@metadata`.
    #[inline]
    fn prepend(&self, line: &[u8], position: u64, out: &mut Vec<u8>) {
        let mark = self.mark(line);
        let start = out.len();
        out.extend_from_slice(&mark.prefix);
        put_position(&mut out[start..], &mark.id, position);
        let rest = &line[1..];
        if rest.first() != Some(&b'"') && mark.prefix.len() > 1 && is_empty(line) {
            out.pop(); // the comma
        }
        out.extend_from_slice(rest);
    }

    /// Stamps an event that begins with [`OWN`]; what is there already stays.
    fn splice(&self, line: &[u8], position: u64, out: &mut Vec<u8>) {
        let mark = self.mark(line);
        let own = &line[OWN.len() - 1..];
        let lacks = |name| !members(own).any(|member| member.is(name));
        out.extend_from_slice(OWN);
        if !mark.id.is_empty() && lacks("_id") {
            let start = out.len();
            out.extend_from_slice(&mark.prefix[mark.id.clone()]);
            put_position(&mut out[start..], &(0..mark.id.len()), position);
            out.push(b',');
        }
        if !mark.accepted_at.is_empty() && lacks("accepted_at") {
            out.extend_from_slice(&mark.prefix[mark.accepted_at.clone()]);
            out.push(b',');
        }
        if out.last() == Some(&b',') && is_empty(own) {
            out.pop();
        }
        out.extend_from_slice(&line[OWN.len()..]);
    }

    /// The stable id of the event at position `accepted` among the accepted ones.
    pub fn id(&self, accepted: u32) -> String {
        let position = Positions::new(&self.rejected, accepted).take();
        let digits = digits(position).map(char::from);
        self.id.chars().chain(digits).collect()
    }
}

/// Writes the position's digits into the member `_id`, which is at `id` in `out`.
#[inline]
fn put_position(out: &mut [u8], id: &Range<usize>, position: u64) {
    if !id.is_empty() {
        let end = id.end - 1; // the quote
        out[end - POSITION_LEN..end].copy_from_slice(&digits(position));
    }
}

/// Whether an object has no members.
fn is_empty(object: &[u8]) -> bool {
    members(object).next().is_none()
}

fn digits(position: u64) -> [u8; POSITION_LEN] {
    let digit = |shift: u32| DIGITS[(position >> shift) as usize & 31];
    [digit(15), digit(10), digit(5), digit(0)]
}

/// The positions that accepted events had in the batch as it was sent.
struct Positions<'a> {
    next: u64,
    /// Rejected positions from `next` on.
    rejected: &'a [u32],
}

impl<'a> Positions<'a> {
    /// Begins with the accepted event number `first`.
    fn new(rejected: &'a [u32], first: u32) -> Self {
        let mut next = u64::from(first);
        let mut before = 0;
        while rejected.get(before).is_some_and(|&r| u64::from(r) <= next) {
            before += 1;
            next += 1;
        }
        Self {
            next,
            rejected: &rejected[before..],
        }
    }

    #[inline]
    fn take(&mut self) -> u64 {
        while let [rejected, rest @ ..] = self.rejected
            && u64::from(*rejected) == self.next
        {
            self.next += 1;
            self.rejected = rest;
        }
        self.next += 1;
        self.next - 1
    }
}
