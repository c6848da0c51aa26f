//! How the Redis spool works, and why one does not open.

use std::time::Duration;

use super::archive::ArchiveOptions;
use super::element::Compression;
use super::nodes::{BadServer, ServerOptions};
use crate::batch::QueueName;
use crate::spool::local_archive::LocalArchive;

/// How the Redis spool works; from the configuration.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where Redis is.
    pub server: ServerOptions,
    /// The queues.
    pub queues: Vec<QueueOptions>,
    /// Most bytes that wait, all queues together.
    pub max_bytes: u64,
    /// Most bytes of payload in appends that are in flight.
    pub max_in_flight_bytes: usize,
    /// Lists that a queue is spread over; 1: the list has the queue's name, else
    /// they are `NAME.0` and so on.
    pub shards: usize,
    /// Flushes of appends under way at a time, for each list.
    pub pipeline_depth: usize,
    /// How long a holder may be silent before others take its batches back.
    pub heartbeat: Duration,
    /// Replicas that have to have a batch before it is answered.
    pub min_replicas: u32,
    /// Longest event, in bytes, that is taken of what others put into a list.
    pub max_event_bytes: usize,
    /// What becomes of settled batches.
    pub archive: ArchiveOptions,
    /// What keeps them on the local disk, if that is their place.
    pub local_archive: Option<LocalArchive>,
    /// How payloads are stored.
    pub compression: Compression,
}

/// One queue.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// Its name.
    pub name: QueueName,
    /// Most bytes that may wait in it.
    pub max_bytes: u64,
    /// Whether only one gateway at a time may hold batches of it.
    pub ordered: bool,
}

/// Why a Redis spool does not open. A Redis that cannot be reached is no reason.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings say nothing usable about where Redis is.
    #[error("[spool.redis] {0}")]
    Server(#[from] BadServer),
}
