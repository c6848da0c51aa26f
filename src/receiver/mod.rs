//! Takes batches from clients and answers when they are durable.
//!
//! - [`intake`] is the one way in: room, validation, append, dead letters.
//!   Every receiver uses it, and nothing else of the gateway.
//! - [`reply`] is the one table of errors: what a refusal is called in gRPC, in
//!   HTTP and in the metrics, and whether to try again.
//! - [`grpc`], [`http`], [`tcp`] and [`lumberjack`] translate a protocol into calls of the
//!   intake. Each has one `serve`, which takes a bound listener and returns when
//!   the intake is closing and everything in hand is answered. How long that may
//!   take is the caller's to bound.
//! - `http2` holds the flow control of the two receivers that speak HTTP/2.

pub mod grpc;
pub mod http;
mod http2;
pub mod intake;
pub mod lumberjack;
pub mod reply;
pub mod tcp;

pub use intake::Intake;
