//! What all posts together may take.
//!
//! A *turn* is had while there are bytes in hand to take apart and to keep, and never
//! while a client is waited for: a client that sends slowly, or stops, holds up nobody.
//! What such a post has in memory counts, and when there is no room for more, those posts
//! give way whose clients are waited for, and which completed no element for longest:
//! they are to be sent again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::log::SharedComplaints;
use crate::receiver::reply::Refusal;
use crate::spool::FullReason;

/// Most posts that are taken apart at once; others wait.
const TURNS: usize = 4;
/// How long a post waits for its turn, or a large element for its. Logstash waits 10 s for
/// an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes that all posts have in memory between what their clients send. The longest
/// element has room in it.
const BYTES: usize = 40 << 20;

/// What all posts share.
#[derive(Debug)]
pub(in crate::receiver::http) struct Room {
    turns: Semaphore,
    /// For the one long element that is being read and kept.
    large: Semaphore,
    held: Mutex<Held>,
    /// Posts that were refused. Logstash sends them again and tells nobody.
    pub(super) refused: SharedComplaints,
}

/// What posts have in memory.
#[derive(Debug, Default)]
struct Held {
    posts: BTreeMap<u64, Holder>,
    bytes: usize,
    next: u64,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    /// When it completed an element, or began.
    since: Instant,
    /// Whether its client is waited for.
    waits: bool,
    gave_way: CancellationToken,
}

/// A post's share of the memory. Dropped, it is given back.
#[derive(Debug)]
pub(super) struct Share<'a> {
    room: &'a Room,
    number: u64,
    gave_way: CancellationToken,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            turns: Semaphore::new(TURNS),
            large: Semaphore::new(1),
            held: Mutex::default(),
            refused: SharedComplaints::default(),
        }
    }
}

impl Room {
    /// A post begins.
    pub(super) fn share(&self) -> Share<'_> {
        let gave_way = CancellationToken::new();
        let mut held = self.held();
        let number = held.next;
        held.next += 1;
        let holder = Holder {
            bytes: 0,
            since: Instant::now(),
            waits: false,
            gave_way: gave_way.clone(),
        };
        held.posts.insert(number, holder);
        Share {
            room: self,
            number,
            gave_way,
        }
    }

    /// A turn to take bytes apart.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        in_time(&self.turns).await
    }

    /// A turn to read and keep a long element.
    pub(super) async fn large(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        in_time(&self.large).await
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn in_time(turns: &Semaphore) -> Result<SemaphorePermit<'_>, Refusal> {
    let turn = timeout(PATIENCE, turns.acquire()).await;
    turn.map_err(|_| full())?.map_err(|_| full())
}

fn full() -> Refusal {
    Refusal::Full(FullReason::InFlight)
}

impl Share<'_> {
    /// The post has so many bytes in memory now; others may have to give way.
    pub(super) fn hold(&self, bytes: usize) -> Result<(), Refusal> {
        let mut held = self.room.held();
        held.set(self.number, bytes);
        while held.bytes > BYTES {
            if !held.give_way() {
                return Err(full());
            }
        }
        Ok(())
    }

    /// An element is complete.
    pub(super) fn completed(&self) {
        self.change(|holder| holder.since = Instant::now());
    }

    /// Waits for what the client sends, unless the post has to give way.
    pub(super) async fn wait<T>(&self, sent: impl Future<Output = T>) -> Result<T, Refusal> {
        self.change(|holder| holder.waits = true);
        let sent = tokio::select! {
            biased;
            () = self.gave_way.cancelled() => Err(full()),
            sent = sent => Ok(sent),
        };
        self.change(|holder| holder.waits = false);
        sent
    }

    fn change(&self, change: impl FnOnce(&mut Holder)) {
        if let Some(holder) = self.room.held().posts.get_mut(&self.number) {
            change(holder);
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut held = self.room.held();
        held.set(self.number, 0);
        held.posts.remove(&self.number);
    }
}

impl Held {
    fn set(&mut self, number: u64, bytes: usize) {
        if let Some(holder) = self.posts.get_mut(&number) {
            self.bytes = self.bytes - holder.bytes + bytes;
            holder.bytes = bytes;
        }
    }

    /// Ends the post that is waited for longest; `false` if there is none.
    fn give_way(&mut self) -> bool {
        let posts = self.posts.iter();
        let waiting = posts.filter(|(_, holder)| holder.waits && holder.bytes > 0);
        let longest = waiting.min_by_key(|(_, holder)| holder.since);
        let Some((&number, holder)) = longest else {
            return false;
        };
        holder.gave_way.cancel();
        self.set(number, 0);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;

    use super::*;

    /// Three posts that have a third of all each.
    fn thirds(room: &Room) -> [Share<'_>; 3] {
        let shares = [room.share(), room.share(), room.share()];
        for share in &shares {
            share.hold(BYTES / 3).expect("room");
        }
        shares
    }

    #[tokio::test]
    async fn who_completed_nothing_for_longest_gives_way() {
        let room = Room::default();
        let [first, second, third] = thirds(&room);
        let mut waiting =
            [&first, &second, &third].map(|share| Box::pin(share.wait(pending::<()>())));
        for wait in &mut waiting {
            assert!(wait.now_or_never().is_none(), "there is room for three");
        }
        first.completed();
        let newcomer = room.share();
        newcomer.hold(3).expect("one gives way");
        let gave_way = waiting.map(|wait| wait.now_or_never().is_some());
        assert_eq!(gave_way, [false, true, false]);
        newcomer.hold(BYTES / 3).expect("its room is free");
    }

    #[tokio::test]
    async fn who_is_at_work_does_not_give_way() {
        let room = Room::default();
        let [first, second, _third] = thirds(&room);
        let newcomer = room.share();
        assert_eq!(newcomer.hold(3), Err(full()));
        newcomer.hold(0).expect("nothing");
        drop((first, second));
        newcomer
            .hold(BYTES / 2)
            .expect("what ended has no share any more");
    }

    #[tokio::test]
    async fn who_has_nothing_in_memory_makes_no_room() {
        let room = Room::default();
        let (empty, full) = (room.share(), room.share());
        let mut wait = Box::pin(empty.wait(pending::<()>()));
        assert!(wait.as_mut().now_or_never().is_none());
        full.hold(BYTES).expect("room for the longest element");
        assert!(full.hold(BYTES + 1).is_err());
        assert!(wait.now_or_never().is_none());
    }
}
