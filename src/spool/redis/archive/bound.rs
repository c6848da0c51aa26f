//! Keeps the archive of all queues within `max_bytes`, and gives way to what waits when
//! the memory of a server gets short; and knows how far back it reaches.
//!
//! What is taken is always the oldest, in steps that hold Redis up for a moment only.
//! Several gateways may do this at the same time: then a step too much is taken.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Archived, Day};
use crate::log::SharedComplaints;
use crate::record;
use crate::spool::redis::Inner;
use crate::spool::redis::nodes::facts::Memory;
use crate::spool::redis::nodes::{Conn, Fault};
use crate::spool::redis::scripts;
use crate::spool::redis::shard::Shard;

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// Most bytes, and most elements, of one step.
const STEP_BYTES: u64 = 4 << 20;
const STEP_ELEMENTS: u64 = 256;
/// From this part of its `maxmemory` on, a server's archives give way: before appends
/// are held up.
const HIGH_PERCENT: u64 = 80;

/// See the module.
pub(in crate::spool::redis) struct Archivist {
    inner: Weak<Inner>,
    complaints: SharedComplaints,
}

/// The archive of one list.
struct Stock {
    shard: Arc<Shard>,
    /// Day and bytes, the oldest first.
    days: Vec<(Day, u64)>,
}

impl Archivist {
    pub(in crate::spool::redis) fn start(inner: &Arc<Inner>) {
        let archivist = Self {
            inner: Arc::downgrade(inner),
            complaints: SharedComplaints::default(),
        };
        inner.with_workers(|workers| {
            workers.timers.spawn(archivist.run());
        });
    }

    async fn run(self) {
        while let Some(inner) = self.inner.upgrade() {
            let looked = self.look(&inner).await;
            drop(inner);
            match looked {
                Ok(()) => drop(self.complaints.recovered()),
                Err(fault) => {
                    if let Some(times) = self.complaints.failed() {
                        tracing::warn!(times, %fault, "cannot look after the archive in Redis");
                    }
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn look(&self, inner: &Inner) -> Result<(), Fault> {
        let mut stocks = Vec::new();
        for shard in inner.queues.values().flat_map(|queue| queue.shards()) {
            let mut conn = inner.nodes.connect(shard.list()).await?;
            let mut stock = Stock::read(shard, &mut conn).await?;
            stock.give_way(&mut conn).await?;
            stocks.push(stock);
        }
        let total = |stocks: &[Stock]| stocks.iter().map(Stock::bytes).sum::<u64>();
        while total(&stocks) > inner.archive.max_bytes {
            let excess = total(&stocks) - inner.archive.max_bytes;
            let oldest = stocks.iter_mut().filter(|stock| !stock.days.is_empty());
            let Some(oldest) = oldest.min_by_key(|stock| stock.days.first().copied()) else {
                return Ok(());
            };
            let mut conn = inner.nodes.connect(oldest.shard.list()).await?;
            oldest.trim(&mut conn, excess.min(STEP_BYTES)).await?;
        }
        Ok(())
    }
}

impl Stock {
    async fn read(shard: Arc<Shard>, conn: &mut Conn) -> Result<Self, Fault> {
        let keys = &shard.keys;
        let names = [&*keys.list, &keys.ledger, &keys.holders, &keys.archive];
        let (fields, head): (Vec<String>, Vec<u8>) =
            scripts::ARCHIVED.run(conn, &names, &keys.archives).await?;
        let pair = |pair: &[String]| Some((Day::read(&pair[0])?, pair[1].parse().ok()?));
        let mut days: Vec<(Day, u64)> = fields.chunks_exact(2).filter_map(pair).collect();
        days.sort_unstable();
        let oldest = days.first().map(|(day, _)| day.start());
        let exact = record::decode_header(&head).ok().map(|h| h.accepted_at);
        let stock = Self { shard, days };
        stock.shard.set_archived(Archived {
            bytes: stock.bytes(),
            since: oldest.map(|start| exact.unwrap_or(start)),
        });
        Ok(stock)
    }

    fn bytes(&self) -> u64 {
        self.days.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Takes out the oldest until the server has memory again, or nothing is left.
    async fn give_way(&mut self, conn: &mut Conn) -> Result<(), Fault> {
        while !self.days.is_empty() {
            let excess = match Memory::of(conn).await {
                Ok(memory) => memory.used.saturating_sub(high(memory)),
                // Forbidden: then nothing can be said about its memory.
                Err(Fault::Refused(_)) => 0,
                Err(fault) => return Err(fault),
            };
            if excess == 0 {
                return Ok(());
            }
            self.trim(conn, excess.min(STEP_BYTES)).await?;
        }
        Ok(())
    }

    /// Takes out about `bytes` of the oldest day, of one that is short all.
    async fn trim(&mut self, conn: &mut Conn, bytes: u64) -> Result<(), Fault> {
        let Some((day, left)) = self.days.first_mut() else {
            return Ok(());
        };
        let keys = &self.shard.keys;
        let list = keys.archive_of(day);
        let names = [
            &*keys.list,
            &keys.ledger,
            &keys.holders,
            &keys.archive,
            &list,
        ];
        let args = (day.to_string(), bytes, STEP_ELEMENTS);
        let (gone, is_empty): (u64, bool) = scripts::TRIM.run(conn, &names, args).await?;
        *left = left.saturating_sub(gone);
        if is_empty {
            self.days.remove(0);
        }
        Ok(())
    }
}

/// How much memory a server may use before its archives give way.
fn high(memory: Memory) -> u64 {
    memory.max.map_or(u64::MAX, |max| max / 100 * HIGH_PERCENT)
}
