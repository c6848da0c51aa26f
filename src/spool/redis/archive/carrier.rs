//! Carries what is settled to the archive on the local disk, if that is its place: read
//! back from the holder's leases before they are ended, a few mebibytes at a time.
//!
//! The payload crosses the wire once more for that. What was carried is remembered until
//! Redis has been told, so that a lost answer does not have it kept twice.

use std::collections::HashSet;

use deadpool_redis::redis::{Value, cmd};

use crate::batch::{Batch, UnixMillis};
use crate::record::Header;
use crate::spool::local_archive::LocalArchive;
use crate::spool::redis::held::{Held, Sorted};
use crate::spool::redis::nodes::{Conn, Fault};
use crate::spool::redis::shard::Shard;
use crate::spool::redis::state::Settlement;

/// Most bytes of elements that are read at a time, but one settlement at least.
const READ_BYTES: u64 = 4 << 20;
/// About so many bytes of events are stored at a time.
const STORED_BYTES: usize = 8 << 20;

/// See the module.
#[derive(Debug)]
pub(in crate::spool::redis) struct Carrier {
    to: Option<LocalArchive>,
    /// The first lease numbers of what was carried, or could not be, and is still leased.
    carried: HashSet<u64>,
}

impl Carrier {
    pub(in crate::spool::redis) fn new(to: Option<LocalArchive>) -> Self {
        Self {
            to,
            carried: HashSet::new(),
        }
    }

    /// Has the archive keep what `holder` is about to settle.
    pub(in crate::spool::redis) async fn carry(
        &mut self,
        shard: &Shard,
        conn: &mut Conn,
        holder: &str,
        settlements: &[Settlement],
    ) -> Result<(), Fault> {
        let Some(to) = self.to.clone() else {
            return Ok(());
        };
        let is_wanted = |settlement: &&Settlement| {
            let kept = settlement.accepted_at.is_some_and(|at| to.wants(at));
            kept && !self.carried.contains(&first_number(settlement))
        };
        let wanted: Vec<&Settlement> = settlements.iter().filter(is_wanted).collect();
        let mut rest = &wanted[..];
        while !rest.is_empty() {
            let (some, others) = rest.split_at(some_of(rest));
            if to.is_resting(&shard.queue.name) {
                let events = some.iter().map(|settlement| settlement.events).sum();
                to.missed(&shard.queue.name, events);
            } else {
                self.carry_some(&to, shard, conn, (holder, some)).await?;
            }
            self.carried.extend(some.iter().map(|s| first_number(s)));
            rest = others;
        }
        Ok(())
    }

    /// All settlements were told.
    pub(in crate::spool::redis) fn told(&mut self) {
        self.carried.clear();
    }

    async fn carry_some(
        &self,
        to: &LocalArchive,
        shard: &Shard,
        conn: &mut Conn,
        (holder, some): (&str, &[&Settlement]),
    ) -> Result<(), Fault> {
        let mut question = cmd("HMGET");
        question.arg(shard.keys.leases(holder));
        for part in some.iter().flat_map(|settlement| settlement.parts.iter()) {
            question.arg(part.number);
        }
        let mut elements = conn.call::<Vec<Value>>(&question).await?.into_iter();
        let (mut batches, mut bytes) = (Vec::new(), 0);
        for settlement in some {
            let of_it = elements.by_ref().take(settlement.parts.len()).collect();
            for batch in read(settlement, of_it, shard, to) {
                bytes += batch.payload.len();
                batches.push(batch);
            }
            if bytes >= STORED_BYTES {
                to.keep(&shard.queue.name, std::mem::take(&mut batches))
                    .await;
                bytes = 0;
            }
        }
        if !batches.is_empty() {
            to.keep(&shard.queue.name, batches).await;
        }
        Ok(())
    }
}

fn first_number(settlement: &Settlement) -> u64 {
    settlement.parts.first().map_or(0, |part| part.number)
}

/// How many of them to read at a time.
fn some_of(settlements: &[&Settlement]) -> usize {
    let mut bytes = 0;
    let some = settlements.iter().take_while(|settlement| {
        bytes += settlement.parts.iter().map(|part| part.bytes).sum::<u64>();
        bytes <= READ_BYTES
    });
    some.count().max(1)
}

/// The batches of a settlement, of which Redis has `elements`. What is not there was
/// settled before, by a call whose answer was lost.
fn read(
    settlement: &Settlement,
    elements: Vec<Value>,
    shard: &Shard,
    to: &LocalArchive,
) -> Vec<Batch> {
    let numbers = settlement.parts.iter().map(|part| part.number);
    let sorted = Sorted::read(numbers, elements, shard.max_event_bytes);
    let mut batches = Vec::new();
    // Others' events were refused, or kept as dead letters: then none are left.
    for held in sorted.batches.into_iter().filter(|h| h.header.events > 0) {
        let events = u64::from(held.header.events);
        match batch(held, settlement.accepted_at) {
            Some(batch) => batches.push(batch),
            None => to.missed(&shard.queue.name, events),
        }
    }
    batches
}

/// `None`: its events cannot be expanded.
fn batch(held: Held, settled_as: Option<UnixMillis>) -> Option<Batch> {
    let payload = held.content?.block().ok()?;
    let header: &Header = &held.header;
    let read_now = header.foreign.then_some(settled_as).flatten();
    Some(Batch {
        id: header.id,
        // Plain JSON has the time at which it was leased.
        accepted_at: read_now.unwrap_or(header.accepted_at),
        events: header.events,
        payload,
        payload_hash: header.payload_hash,
        rejected: header.rejected.clone(),
        own_metadata: header.own_metadata,
        foreign: header.foreign,
        timestamps: header.timestamps,
        origin: header.origin,
    })
}
