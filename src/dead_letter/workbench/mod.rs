//! What a person does with dead letters: look at them, repair them, return them to
//! their queue, throw them away, take them out into a file and bring them back.
//!
//! Whatever goes over many letters goes in chunks, and nothing is remembered between
//! them: a call looks at so many letters, oldest first, and gives the [`Cursor`] for the
//! next. The cursor holds the highest number there was at the beginning, so that what
//! comes back meanwhile is not met again. After a crash one begins anew: what was done
//! is not there any more.
//!
//! An expression over a letter's event (`where`, a repair) runs in a child process
//! ([`crate::jq`]). A letter whose event is no JSON object fits no `where` and cannot be
//! repaired by an expression, only by export and import.

mod filter;
mod request;

pub use filter::{BadFilter, Filter};
pub use request::{Before, Cursor, Failure, Page, Question, Report, Sample, Summary};
