//! Many gateways share one spool in Redis or Valkey.
//!
//! [`nodes`] finds the server that serves a queue's list, and says in one table
//! what each of its errors means.

pub mod nodes;
