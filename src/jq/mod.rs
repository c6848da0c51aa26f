//! jq expressions over events.
//!
//! An expression comes from a person and an event from anywhere, so neither is
//! trusted with the gateway's memory, time or secrets: both meet in a child
//! process, this program again (`stashgate jq-child`). [`Runner`] is the gateway's
//! side.
//!
//! - The child has no environment, can open no file, and its memory is bounded
//!   (`cage`). Modules, `input` and `$ENV` do not exist; `debug` and `stderr` write
//!   nowhere; `halt` is an error of the event.
//! - One that takes too long over an event, or dies of it, is replaced: that event has
//!   failed, the others go on.
//! - It ends when the caller goes away, and when the gateway does, however that ends.
//!
//! The language is that of jaq 3, which differs from jq in some points. What holds
//! for events:
//!
//! - What an expression does not touch comes out as it went in: numbers of any size
//!   and precision (`1e400`, `-0`, 20 digits), all characters, the order of members. New
//!   members come last. Of a name that occurs twice in an object the last value is taken,
//!   as Logstash does.
//! - Strings may be written with other escapes, and blanks between tokens go.
//! - Half a surrogate pair (`"\ud800"`) is valid JSON but no character; such an event
//!   has failed.
//! - Results that JSON cannot write, such as `nan` or `infinite`, have failed.
//!
//! `program` compiles and runs, `text` reads and writes events, `child` is the child's
//! loop, `process` the gateway's hold on a child, `frame` what the two say to each other.

use bytes::Bytes;

mod cage;
mod child;
mod complaint;
mod frame;
mod process;
mod program;
mod runner;
mod text;

pub use child::serve;
pub use runner::Runner;

/// What an expression says of an event, as `select` of jq would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The first output is neither `false` nor `null`.
    Keep,
    /// The first output is `false` or `null`, or there is none.
    Drop,
    /// There is no verdict; why, in words. May quote the event, unescaped.
    Failed(String),
}

/// What an expression made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewritten {
    /// Another event: one JSON object on one line, without a line break.
    Changed(Bytes),
    /// The same event. How it is written (blanks, escapes) makes no difference.
    Same,
    /// The expression gave nothing that can be an event; why, in words. May quote
    /// the event, unescaped.
    Failed(String),
}

/// Why a whole call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum JqError {
    /// The expression cannot be compiled: what is wrong, where, and the line of the
    /// expression with a mark under the place. Several lines, unescaped.
    #[error("{0}")]
    Expression(String),
    /// Too many events took too long or ended the child.
    #[error(
        "the expression {why}, and so on {} events; nothing of this was used. \
         Make it cheaper, or leave these events out", lost.len()
    )]
    TooSlow {
        /// What it did to the last of them.
        why: String,
        /// The events' places in the call.
        lost: Vec<usize>,
    },
    /// The child process cannot be started or shut in, or speaks nonsense.
    #[error("cannot run jq expressions: {0}")]
    Child(#[from] std::io::Error),
}
