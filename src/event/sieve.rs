//! Judges the events that were found and sorts them: the accepted ones into the
//! block, the others among the rejects.

use std::ops::Range;

use bytes::Bytes;

use super::block::Block;
use super::reject::Fault;
use super::scan::Seen;
use super::validate::{BlockError, Validated};
use super::{Limits, Reject, RejectReason, metadata};
use crate::batch::Timestamps;

/// An event, found but not judged.
pub(super) struct Piece<'a> {
    pub(super) source: &'a Bytes,
    /// Where the event is in `source`, as it was sent.
    pub(super) sent: Range<usize>,
    /// The same without blanks around it.
    pub(super) text: Range<usize>,
    /// Whether `text` and the `\n` behind it are a line of their own.
    pub(super) whole_line: bool,
    /// Whether `source` is known to be valid UTF-8.
    pub(super) utf8: bool,
}

/// Counts, judges and sorts the events of a batch.
pub(super) struct Sieve<'a> {
    limits: &'a Limits,
    block: Block<'a>,
    seen: usize,
    events: u32,
    own_metadata: bool,
    /// How many of the accepted events have an `@timestamp`.
    dated: u32,
    rejects: Vec<Reject>,
}

impl<'a> Sieve<'a> {
    pub(super) fn new(limits: &'a Limits, block: Block<'a>) -> Self {
        Self {
            limits,
            block,
            seen: 0,
            events: 0,
            own_metadata: false,
            dated: 0,
            rejects: Vec::new(),
        }
    }

    /// Counts an event before any work is done for it.
    pub(super) fn count(&mut self) -> Result<(), BlockError> {
        let limit = self.limits.max_batch_events;
        if self.seen == limit {
            return Err(BlockError::TooManyEvents { limit });
        }
        self.seen += 1;
        Ok(())
    }

    /// Puts an event into the block, or among the rejects.
    #[inline]
    pub(super) fn take(&mut self, piece: Piece<'_>, scanned: Result<(), Fault>, seen: &Seen) {
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
        self.dated += u32::from(seen.timestamp);
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

    pub(super) fn close(self, hash: u64) -> Validated {
        Validated {
            block: self.block.finish(),
            events: self.events,
            own_metadata: self.own_metadata,
            timestamps: Timestamps::of(self.dated, self.events),
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
