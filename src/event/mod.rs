//! Everything that touches the bytes of an event: validation at the door, and
//! the stamp on the way out. From the door on a batch is a block of
//! newline-delimited JSON that nobody parses again.
//!
//! - `validate` is the door: it splits a block, a list or a document into
//!   events; `sieve` judges each of them; `block` gathers the accepted ones.
//! - `scan` checks the JSON of one event; `specials` finds the ends of strings.
//! - `members` walks an object that was checked; `metadata` puts an event's own
//!   `@metadata` in order.
//! - `detach` takes a member off an object and leaves the rest as it is.
//! - `lone_line` keeps Logstash's beats input from rewriting an event.
//! - `returned` marks an event that is sent once more.
//! - `stamp` puts the stable id and the acceptance time into each event.

mod block;
mod detach;
mod lone_line;
mod members;
mod metadata;
mod reject;
mod returned;
mod scan;
mod sieve;
mod specials;
mod stamp;
mod validate;

pub use detach::{Detached, detach, kind_at, member};
pub use lone_line::rename_lone_line;
pub use metadata::{MAX_ID_BYTES, attempt, own_id};
pub use reject::{Reject, RejectReason};
pub use returned::{Marks, returned};
pub use stamp::Stamper;
pub use validate::{BlockError, Validated, json_document, list, ndjson, object};

/// What a batch may measure. From the configuration, section `[limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest event, in bytes.
    pub max_event_bytes: usize,
    /// Longest batch, in bytes, after decompression.
    pub max_batch_bytes: usize,
    /// Most events in a batch.
    pub max_batch_events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_event_bytes: 1 << 20,
            max_batch_bytes: 8 << 20,
            max_batch_events: 10_000,
        }
    }
}
