//! Dead letters: events that cannot be processed, kept with the reason where a
//! person can find them, repair them and send them again.
//!
//! ```text
//! receivers, forwarder, Logstash's dead letter queue
//!     |  DeadLetters::keep: answered when durable
//!     v
//!   inbox  ->  filing  ->  store  <->  workbench  ->  spool
//! ```
//!
//! - [`DeadLetters`] (`inbox`) takes letters as quickly as the disk does; it is what the
//!   other stages know.
//! - [`filing`] brings them from there into the store, each place's at its own pace.
//! - [`store`] keeps them sorted: by number, by id, in groups; [`moving`] brings them from
//!   one that was used before.
//! - [`workbench`] is what a person does with them: look, repair, return, discard,
//!   export, import.
//! - [`refusal`] reads what Logstash tells of events that Elasticsearch refused;
//!   [`redis_list`] takes such events from a Redis list.
//! - `kinds` has the words: reason, source, place.
//!
//! Three things bound what is kept, for each [`Place`] by itself: the inbox's and the
//! store's budget in bytes, and the retention.

pub mod filing;
mod inbox;
mod kinds;
mod letter;
pub mod moving;
pub mod redis_list;
pub mod refusal;
mod stats;
pub mod store;
pub mod workbench;

pub use inbox::{DeadLetters, KeepError};
pub use kinds::{DeadLetter, Place, Reason, Source, Undeliverable, Unindexable};
pub use stats::{DeadLetterStats, PlaceStats};
