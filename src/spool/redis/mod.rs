//! Many gateways share one spool in Redis or Valkey.
//!
//! [`nodes`] finds the server that serves a queue's list, and says in one table
//! what each of its errors means. [`element`] says what stands in a list.

pub mod element;
pub mod nodes;
