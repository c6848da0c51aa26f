//! Protocol codecs without I/O: bytes in, frames out, and the other way round.
//! The forwarder and the receivers do the talking.

pub mod http;
pub mod lumberjack;
