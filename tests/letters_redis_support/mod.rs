//! Stores of dead letters in a real Redis.

#![allow(dead_code)]

use std::ops::Range;
use std::time::Duration;

use stashgate::dead_letter::DeadLetter;
use stashgate::dead_letter::store::{Options, RedisStore, Replicas, Store};
use stashgate::spool::redis::ServerOptions;
use stashgate::spool::redis::nodes::Nodes;

use crate::letters_support::{options, refused};

/// How long a Redis may take for an answer, whose disk may be slow now and then.
const PATIENCE: Duration = Duration::from_secs(8);

/// The store in the Redis at `url`, as one gateway has it.
pub(crate) fn store(url: &str) -> Store {
    store_with(&at(url), 0, options())
}

pub(crate) fn at(url: &str) -> ServerOptions {
    ServerOptions {
        url: url.to_owned(),
        connect_timeout: PATIENCE,
        response_timeout: PATIENCE,
        ..ServerOptions::default()
    }
}

pub(crate) fn store_with(server: &ServerOptions, min_replicas: u32, options: Options) -> Store {
    let nodes = Nodes::new(server).expect("settings");
    let replicas = Replicas {
        min: min_replicas,
        patience: PATIENCE / 2,
    };
    Store::Redis(RedisStore::new(nodes, replicas, options))
}

/// What Elasticsearch refused: events of these numbers.
pub(crate) fn refusals(numbers: Range<u64>) -> Vec<DeadLetter> {
    numbers.map(refused).collect()
}

/// What the books leave over, of all places.
pub(crate) fn unaccounted(store: &Store) -> Vec<i64> {
    let summary = store.summary();
    summary.places.values().map(|b| b.unaccounted()).collect()
}
