//! The keeper of a list: our heartbeat, whether the others live, and whether Redis has
//! memory left. On a timer and a connection of its own, so that neither traffic nor a
//! blocked Logstash holds it up.
//!
//! Another holder's leases are put back only after its heartbeat was missing over a
//! whole heartbeat's time of looks without a gap: a Redis that was frozen, or a pause of
//! our own, must not make everyone reclaim everyone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::nodes::facts::Memory;
use super::nodes::{Conn, Fault};
use super::scripts::{self, Word};
use super::shard::{Shard, Trouble};

/// How often at least.
const TICK: Duration = Duration::from_secs(1);
/// From this part of its `maxmemory` on, a Redis gets no more appends: leases need some
/// room, too.
const LOW_PERCENT: u64 = 90;

/// See the module.
#[derive(Debug)]
pub(super) struct Keeper {
    shard: Arc<Shard>,
    /// The place of the list's appender in its queue, if it has one.
    appender: Option<usize>,
    heartbeat: Duration,
    silence: Silence,
    trouble: Trouble,
}

/// Since when holders were seen without a heartbeat, at each look.
#[derive(Debug, Default)]
struct Silence {
    since: HashMap<String, Instant>,
    last_look: Option<Instant>,
}

impl Silence {
    /// Who is silent now; those who have been for long enough.
    fn seen(
        &mut self,
        now: Instant,
        heartbeat: Duration,
        silent: impl Iterator<Item = String>,
    ) -> Vec<String> {
        let before = self.last_look.replace(now);
        if before.is_none_or(|before| now - before > heartbeat / 2) {
            // Nobody knows what happened meanwhile.
            self.since.clear();
        }
        let since = silent.map(|id| {
            let first = self.since.get(&id).copied().unwrap_or(now);
            (id, first)
        });
        self.since = since.collect();
        let long = self.since.iter();
        let long = long.filter(|(_, first)| now - **first >= heartbeat);
        long.map(|(id, _)| id.clone()).collect()
    }
}

impl Keeper {
    pub(super) fn new(shard: Arc<Shard>, appender: Option<usize>, heartbeat: Duration) -> Self {
        Self {
            trouble: Trouble::new(shard.clone(), "keeping the heartbeat"),
            shard,
            appender,
            heartbeat,
            silence: Silence::default(),
        }
    }

    /// Never ends by itself.
    pub(super) async fn run(mut self) {
        loop {
            if let Err(fault) = self.keep().await {
                self.trouble.said(&fault);
            }
            tokio::time::sleep(self.tick()).await;
        }
    }

    fn tick(&self) -> Duration {
        TICK.min(self.heartbeat / 3)
    }

    async fn keep(&mut self) -> Result<(), Fault> {
        let mut conn = self.shard.nodes.connect(self.shard.list()).await?;
        loop {
            self.beat(&mut conn).await?;
            self.watch_others(&mut conn).await?;
            self.watch_memory(&mut conn).await?;
            self.trouble.is_over();
            tokio::time::sleep(self.tick()).await;
        }
    }

    async fn beat(&self, conn: &mut Conn) -> Result<(), Fault> {
        let Some(id) = self.shard.look(|state| state.holder().cloned()) else {
            return Ok(());
        };
        let keys = &self.shard.keys;
        let heartbeat = keys.heartbeat(&id);
        let keys = [&*keys.list, &*keys.ledger, &*keys.holders, &*heartbeat];
        let args = (&id, self.heartbeat.as_millis() as u64);
        let lives: u64 = scripts::HEARTBEAT.run(conn, &keys, args).await?;
        // At a stop the lane has put everything back, and forgotten us.
        if lives == 0 && !self.shard.queue.is_closed() {
            self.shard.retire(&id, "it was reclaimed");
        }
        Ok(())
    }

    async fn watch_others(&mut self, conn: &mut Conn) -> Result<(), Fault> {
        let keys = &self.shard.keys;
        let (prefix, keys) = (
            &keys.heartbeats,
            [&*keys.list, &*keys.ledger, &*keys.holders],
        );
        let silent: Vec<String> = scripts::SILENT.run(conn, &keys, prefix).await?;
        let ours = self.shard.look(|state| state.holder().cloned());
        let others = silent.into_iter().filter(|id| Some(id) != ours.as_ref());
        let dead = self.silence.seen(Instant::now(), self.heartbeat, others);
        for id in dead {
            self.reclaim(conn, &id).await?;
        }
        Ok(())
    }

    async fn reclaim(&self, conn: &mut Conn, id: &str) -> Result<(), Fault> {
        let keys = &self.shard.keys;
        let (leases, heartbeat) = (keys.leases(id), keys.heartbeat(id));
        let keys = [
            &*keys.list,
            &*keys.ledger,
            &*keys.holders,
            &*leases,
            &*heartbeat,
        ];
        let answer = scripts::RECLAIM.ask(conn, &keys, (id, 0)).await?;
        if answer.word == Word::Ok {
            let list = self.shard.list();
            tracing::warn!(
                list,
                holder = id,
                "a gateway fell silent; the batches that it held wait again"
            );
            self.shard.grew();
        }
        Ok(())
    }

    async fn watch_memory(&self, conn: &mut Conn) -> Result<(), Fault> {
        let Some(appender) = self.appender else {
            return Ok(());
        };
        let low = match Memory::of(conn).await {
            Ok(memory) => memory
                .max
                .is_some_and(|max| memory.used > max / 100 * LOW_PERCENT),
            // Forbidden: then an append that is refused is all that tells.
            Err(Fault::Refused(_)) => false,
            Err(fault) => return Err(fault),
        };
        self.shard.queue.set_low(appender, low);
        if !low {
            // Somebody has to try again.
            self.shard.queue.set_full(appender, false);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_secs(3);

    /// Looks at so many seconds, at each of which `a` was silent or not.
    fn dead(looks: &[(u64, bool)]) -> bool {
        let (start, mut silence) = (Instant::now(), Silence::default());
        let look = |(second, silent): &(u64, bool)| {
            let now = start + Duration::from_secs(*second);
            let silent = silent.then(|| "a".to_owned()).into_iter();
            !silence.seen(now, HEARTBEAT, silent).is_empty()
        };
        looks.iter().map(look).last() == Some(true)
    }

    #[test]
    fn a_holder_is_dead_after_a_whole_heartbeat_of_silence() {
        let silent = [(0, true), (1, true), (2, true), (3, true)];
        assert!(!dead(&silent[..3]));
        assert!(dead(&silent));
    }

    #[test]
    fn a_sign_of_life_begins_it_anew() {
        assert!(!dead(&[
            (0, true),
            (1, true),
            (2, false),
            (3, true),
            (4, true)
        ]));
    }

    #[test]
    fn a_gap_between_looks_begins_it_anew() {
        assert!(!dead(&[(0, true), (1, true), (9, true), (10, true)]));
    }
}
