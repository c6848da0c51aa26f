//! Finds lists that batches were appended to under another number of shards, so that
//! they are drained, and lists of queues that are configured no longer.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use deadpool_redis::redis::cmd;

use super::keys::{self, QUEUES};
use super::nodes::Fault;
use super::options::Options;
use super::shard::Shard;
use super::{CONNECTIONS_TO_DRAIN, Inner, Workers};
use crate::log::SharedComplaints;

/// How often it looks, and how often while Redis is away.
const EVERY: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Finder {
    inner: Weak<Inner>,
    options: Options,
    strays: BTreeSet<String>,
    complaints: SharedComplaints,
}

impl Finder {
    pub(super) fn start(inner: &Arc<Inner>, options: &Options) {
        let finder = Self {
            inner: Arc::downgrade(inner),
            options: options.clone(),
            strays: BTreeSet::new(),
            complaints: SharedComplaints::default(),
        };
        inner.with_workers(|workers| {
            workers.timers.spawn(finder.run());
        });
    }

    async fn run(mut self) {
        while let Some(inner) = self.inner.upgrade() {
            let found = self.look(&inner).await;
            drop(inner);
            let pause = match found {
                Ok(()) => {
                    self.complaints.recovered();
                    EVERY
                }
                Err(fault) => {
                    if let Some(times) = self.complaints.failed() {
                        tracing::warn!(times, %fault, "cannot look for lists that nobody drains");
                    }
                    AGAIN
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn look(&mut self, inner: &Inner) -> Result<(), Fault> {
        let ours: BTreeSet<String> = inner.lists();
        let mut conn = inner.nodes.connect(QUEUES).await?;
        let mut add = cmd("SADD");
        add.arg(QUEUES).arg(&ours);
        // An old list must not stay unseen for want of memory.
        match conn.call::<u64>(&add).await {
            Ok(_) | Err(Fault::Full(_)) => {}
            Err(fault) => return Err(fault),
        }
        let mut all = cmd("SMEMBERS");
        all.arg(QUEUES);
        let all: BTreeSet<String> = conn.call(&all).await?;
        drop(conn);
        for list in all.difference(&ours) {
            self.found(inner, list).await?;
        }
        Ok(())
    }

    /// A list that nobody here works on.
    async fn found(&mut self, inner: &Inner, list: &str) -> Result<(), Fault> {
        let mut queues = inner.queues.values();
        if let Some(queue) = queues.find(|queue| keys::is_of(list, queue.name.as_str())) {
            let shard = Shard::new(
                list,
                queue.clone(),
                inner.nodes.clone(),
                inner.max_event_bytes,
                inner.archive,
            );
            queue.add_shard(shard.clone());
            // Else they would wait for those of other lists, which never end.
            inner.nodes.widen(CONNECTIONS_TO_DRAIN);
            inner.with_workers(|workers| {
                workers.start(&self.options, shard, None);
            });
            return Ok(());
        }
        let mut length = cmd("LLEN");
        length.arg(list);
        let mut conn = inner.nodes.connect(list).await?;
        let batches: u64 = conn.call(&length).await?;
        if batches > 0 && self.strays.insert(list.to_owned()) {
            tracing::error!(
                list,
                batches,
                "batches wait in a list of no configured queue, and nobody here sends them: configure its queue until it is drained"
            );
        }
        Ok(())
    }
}

impl Inner {
    fn lists(&self) -> BTreeSet<String> {
        let shards = self.queues.values().flat_map(|queue| queue.shards());
        shards.map(|shard| shard.list().to_owned()).collect()
    }

    pub(super) fn with_workers(&self, start: impl FnOnce(&mut Workers)) {
        start(&mut self.workers.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
