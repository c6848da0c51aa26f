//! stashgate: a durable, high-throughput ingest gateway in front of Logstash.
//!
//! Services send batches of JSON events; the gateway makes each batch durable,
//! answers, and forwards it to Logstash, however long Logstash is away. Data
//! flows one way:
//!
//! ```text
//! receiver  ->  spool  ->  forwarder  ->  Logstash
//! ```
//!
//! The map, in the order in which an event travels:
//!
//! - [`receiver`] takes batches from clients (gRPC, HTTP, TCP, lumberjack) and answers.
//! - [`event`] is all that touches the bytes of an event: validation at the
//!   door, the stamp on the way out.
//! - [`batch`] is the unit of everything; [`record`] is a batch as stored.
//! - [`spool`] keeps batches until they are confirmed: on the disk ([`spool::journal`]), or
//!   in a Redis that gateways share ([`spool::redis`]).
//! - [`forwarder`] leases batches and brings them to Logstash.
//! - [`wire`] holds the protocols' codecs, without I/O.
//! - [`dead_letter`] keeps what cannot be processed, with the reason, where a person
//!   repairs it and returns it to the spool.
//! - [`jq`] runs expressions over events, in a process of their own.
//! - [`replay`] puts what was delivered once into its queue again.
//! - [`ledger`] holds the sums that show that nothing was lost.
//!
//! The stages do not know each other; [`gateway`] joins them. Around them stand
//! [`config`], [`tls`], [`metrics`], [`status`], [`admin`], [`log`] and [`cli`]. On the other
//! side of the wire is [`client`].

pub mod admin;
pub mod batch;
pub mod cli;
pub mod client;
pub mod config;
pub mod dead_letter;
pub mod event;
pub mod forwarder;
pub mod gateway;
pub mod jq;
pub mod ledger;
pub mod log;
pub mod metrics;
mod net;
pub mod proto;
pub mod receiver;
pub mod record;
pub mod replay;
pub mod shutdown;
pub mod spool;
pub mod status;
pub mod tls;
pub mod wire;

#[cfg(test)]
#[path = "../tests/support/pki.rs"]
#[allow(dead_code)]
mod pki;
