//! The lane of a list: all that this gateway does with its leases, one call after the
//! other on one connection.
//!
//! - Who we are: a holder that was registered. A holder that Redis does not know was
//!   reclaimed: a new one is registered. After a lost connection Redis is asked which
//!   leases the holder has, and that no call of before can be done any more. Leases
//!   that nobody here knows are given back: the answer with them was lost. If one is
//!   missing that is in hand, Redis is not what it was (a failover): the holder is
//!   retired, its leases are put back, and a new one is registered.
//! - Leases are fetched many at a time, when somebody waits for one and while few are
//!   left of those that are taken.
//! - What nobody here takes for a second is given back, so that others can send it,
//!   also if somebody waits: who looks takes it at once, and who does not look gets
//!   nothing fetched again until then.
//! - Settlements are told many at a time. A lost answer to that does no harm: they are
//!   told again.
//!
//! Every answer carries the books.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use deadpool_redis::redis::{Value, from_redis_value};

use super::archive::{Carrier, Shelves};
use super::held::Sorted;
use super::nodes::{Conn, Fault};
use super::other_release::OtherRelease;
use super::scripts::{self, Answer, Word};
use super::shard::{Shard, Trouble};
use super::state::{Resumed, SetBack, Settlement, State};
use crate::spool::local_archive::LocalArchive;
use crate::{metrics, record};

/// Most elements, and most bytes, of one fetch.
const FETCH_BATCHES: u64 = 64;
const FETCH_BYTES: usize = 4 << 20;
/// Fetching begins anew when fewer bytes are ready and somebody takes them.
const LOW_BYTES: u64 = 1 << 20;
/// Most batches of one settlement.
const SETTLED_AT_ONCE: usize = 256;
/// How long an empty list is left alone, if nothing was appended here.
const POLL: Duration = Duration::from_millis(50);
/// How long batches lie ready before others may have them.
const IDLE: Duration = Duration::from_secs(1);
/// How often the books are read.
const LOOK: Duration = Duration::from_secs(1);
/// How long Redis is left alone after a failure.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Lane {
    shard: Arc<Shard>,
    heartbeat: Duration,
    /// Nothing is fetched before.
    dry_until: Instant,
    next_look: Instant,
    other_release: OtherRelease,
    carrier: Carrier,
    trouble: Trouble,
}

/// What is to be done next.
enum Job {
    End,
    TakeBack(String),
    Register,
    Settle(String, Vec<Settlement>),
    GiveBack(String, Vec<u64>),
    Fetch(String),
    Look(String),
    Wait(Instant),
}

impl Lane {
    pub(super) fn new(
        shard: Arc<Shard>,
        heartbeat: Duration,
        archive: Option<LocalArchive>,
    ) -> Self {
        let now = Instant::now();
        Self {
            trouble: Trouble::new(shard.clone(), "leasing"),
            shard,
            heartbeat,
            dry_until: now,
            next_look: now,
            other_release: OtherRelease::default(),
            carrier: Carrier::new(archive),
        }
    }

    pub(super) async fn run(mut self, tried: tokio::sync::oneshot::Sender<()>) {
        // So that the first one is seen as a change.
        metrics::redis_set_back(&self.shard.queue.name, 0);
        let mut tried = Some(tried);
        let mut pause = PAUSE;
        loop {
            let began = Instant::now();
            let Err(fault) = self.work(&mut tried).await else {
                return;
            };
            self.trouble.said(&fault);
            drop(tried.take());
            if self.shard.queue.is_closed() && matches!(fault, Fault::Unreachable(_)) {
                // Others take back what is left.
                return;
            }
            if began.elapsed() > LONGEST_PAUSE {
                pause = PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Works on one connection until something goes wrong, or all is done.
    async fn work(
        &mut self,
        tried: &mut Option<tokio::sync::oneshot::Sender<()>>,
    ) -> Result<(), Fault> {
        let mut conn = self.shard.nodes.connect(self.shard.list()).await?;
        self.shard.change(State::ask);
        self.resume(&mut conn).await?;
        loop {
            let job = self.next_job();
            if matches!(job, Job::End) {
                return self.end(&mut conn).await;
            }
            if matches!(job, Job::Wait(_)) {
                drop(tried.take());
                self.trouble.is_over();
            }
            self.do_job(job, &mut conn).await?;
        }
    }

    fn next_job(&mut self) -> Job {
        if self.shard.more.swap(false, Relaxed) {
            let soonest = self.other_release.after_an_append();
            self.dry_until = soonest.map_or(self.dry_until, |at| at.min(self.dry_until));
        }
        let now = Instant::now();
        let is_wanted = self.shard.queue.is_wanted();
        let (dry, look) = (self.dry_until, self.next_look);
        self.shard.change(|state| {
            if state.is_closed() {
                return Job::End;
            }
            if let Some(former) = state.former() {
                return Job::TakeBack(former.clone());
            }
            let Some(holder) = state.holder().cloned() else {
                return Job::Register;
            };
            if state.has_settlements() {
                return Job::Settle(holder, state.settlements(SETTLED_AT_ONCE));
            }
            let wants_more = state.wants_more(is_wanted, LOW_BYTES);
            if wants_more && dry <= now {
                return Job::Fetch(holder);
            }
            let idle = state.withdraw_idle(now, IDLE);
            if !idle.is_empty() {
                return Job::GiveBack(holder, idle);
            }
            if look <= now {
                return Job::Look(holder);
            }
            Job::Wait(if wants_more { look.min(dry) } else { look })
        })
    }

    async fn do_job(&mut self, job: Job, conn: &mut Conn) -> Result<(), Fault> {
        self.report_set_back();
        self.shard.change(State::ask);
        match job {
            Job::End => {}
            Job::TakeBack(former) => self.take_back(conn, former).await?,
            Job::Register => self.register(conn).await?,
            Job::Settle(holder, settlements) => self.settle(conn, holder, &settlements).await?,
            Job::GiveBack(holder, numbers) => self.give_back(conn, holder, numbers).await?,
            Job::Fetch(holder) => self.fetch(conn, holder).await?,
            Job::Look(holder) => self.look(conn, holder).await?,
            Job::Wait(until) => {
                let until = tokio::time::Instant::from_std(until);
                // Woken when there is something to do.
                let _ = tokio::time::timeout_at(until, self.shard.work.notified()).await;
            }
        }
        let looking = self.shard.looking();
        if !looking.is_empty() {
            self.next_look = Instant::now();
            if let Some(holder) = self.shard.look(|state| state.holder().cloned()) {
                self.look(conn, holder).await?;
            }
        }
        drop(looking);
        self.shard.queue.count();
        Ok(())
    }

    /// Says that Redis has less than it had: its books went back, too, so nothing else
    /// shows it.
    fn report_set_back(&self) {
        let Some(set_back) = self.shard.change(State::set_back) else {
            return;
        };
        metrics::redis_set_back(&self.shard.queue.name, 1);
        let SetBack {
            appends_before,
            appends_after,
            waiting_events_before,
        } = set_back;
        tracing::error!(
            list = self.shard.list(),
            appends_before,
            appends_after,
            waiting_events_before,
            "Redis has forgotten appends: it was emptied, or restored from an older copy, or a replica that lagged became the master; events that were answered may be lost, and the books went back with them"
        );
    }

    /// What Redis has of the holder, on a new connection.
    async fn resume(&mut self, conn: &mut Conn) -> Result<(), Fault> {
        let known = self
            .shard
            .look(|state| Some((state.holder()?.clone(), state.last())));
        let Some((holder, last)) = known else {
            return Ok(());
        };
        let keys = &self.shard.keys;
        let leases = keys.leases(&holder);
        let keys = [&*keys.list, &*keys.ledger, &*keys.holders, &*leases];
        let answer = scripts::RESUME.ask(conn, &keys, (&holder, last)).await?;
        if answer.word == Word::Unknown {
            self.shard.retire(&holder, "it was reclaimed");
            return Ok(());
        }
        let numbers: Vec<u64> = read(answer.rest)?;
        let books = answer.books;
        match self.shard.change(|state| state.resume(&numbers, books)) {
            Resumed::With(unknown) if unknown.is_empty() => Ok(()),
            // A fetch whose answer was lost. It cannot come any more.
            Resumed::With(unknown) => self.give_back(conn, holder, unknown).await,
            Resumed::Other => {
                self.settle_all(conn, &holder).await?;
                let why = "Redis does not have all leases of it that it gave";
                self.shard.retire(&holder, why);
                Ok(())
            }
        }
    }

    async fn settle_all(&mut self, conn: &mut Conn, holder: &str) -> Result<(), Fault> {
        while let Some(settlements) = self.shard.look(some_settlements) {
            self.settle(conn, holder.to_owned(), &settlements).await?;
        }
        Ok(())
    }

    async fn register(&mut self, conn: &mut Conn) -> Result<(), Fault> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let last = self.shard.look(State::last);
        let keys = &self.shard.keys;
        let heartbeat = keys.heartbeat(&id);
        let keys = [&*keys.list, &*keys.ledger, &*keys.holders, &*heartbeat];
        let args = (&id, self.heartbeat.as_millis() as u64, last);
        let answer = scripts::REGISTER.ask(conn, &keys, args).await?;
        self.shard
            .change(|state| state.registered(id, answer.books));
        Ok(())
    }

    /// Puts back what a holder that we were still has.
    async fn take_back(&mut self, conn: &mut Conn, former: String) -> Result<(), Fault> {
        let keys = &self.shard.keys;
        let (leases, heartbeat) = (keys.leases(&former), keys.heartbeat(&former));
        let keys = [
            &*keys.list,
            &*keys.ledger,
            &*keys.holders,
            &*leases,
            &*heartbeat,
        ];
        let answer = scripts::RECLAIM.ask(conn, &keys, (&former, 1)).await?;
        self.shard
            .change(|state| state.forget_former(&former, answer.books));
        self.dry_until = Instant::now();
        Ok(())
    }

    async fn settle(
        &mut self,
        conn: &mut Conn,
        holder: String,
        settlements: &[Settlement],
    ) -> Result<(), Fault> {
        let (carrier, shard) = (&mut self.carrier, &self.shard);
        carrier.carry(shard, conn, &holder, settlements).await?;
        let keys = &self.shard.keys;
        let leases = keys.leases(&holder);
        let shelves = Shelves::new(self.shard.archive, settlements);
        let lists: Vec<String> = shelves.keys(keys).collect();
        let mut keys = vec![&*keys.list, &keys.ledger, &keys.holders, &leases];
        keys.extend([&*self.shard.keys.quarantine, &self.shard.keys.archive]);
        keys.extend(lists.iter().map(String::as_str));
        let args: Vec<String> = std::iter::once(holder.clone())
            .chain(shelves.args())
            .chain(
                settlements
                    .iter()
                    .flat_map(|s| settlement_args(s, &shelves)),
            )
            .collect();
        let answer = scripts::SETTLE.ask(conn, &keys, args).await?;
        self.carrier.told();
        if let Some(answer) = self.still_us(&holder, answer) {
            self.shard
                .change(|state| state.settled(settlements, answer.books));
        }
        Ok(())
    }

    async fn give_back(
        &mut self,
        conn: &mut Conn,
        holder: String,
        mut numbers: Vec<u64>,
    ) -> Result<(), Fault> {
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let keys = &self.shard.keys;
        let leases = keys.leases(&holder);
        let keys = [&*keys.list, &*keys.ledger, &*keys.holders, &*leases];
        let answer = scripts::GIVE_BACK
            .ask(conn, &keys, (&holder, numbers))
            .await?;
        if let Some(answer) = self.still_us(&holder, answer) {
            self.shard.change(|state| state.apply(answer.books));
        }
        Ok(())
    }

    async fn fetch(&mut self, conn: &mut Conn, holder: String) -> Result<(), Fault> {
        let first = self.shard.change(|state| state.reserve(FETCH_BATCHES));
        let keys = &self.shard.keys;
        let leases = keys.leases(&holder);
        let args = (
            (&holder, first, FETCH_BATCHES, FETCH_BYTES),
            (u8::from(self.shard.queue.ordered), &keys.leases),
        );
        let keys = [&*keys.list, &*keys.ledger, &*keys.holders, &*leases];
        let answer = scripts::LEASE.ask(conn, &keys, args).await?;
        let Some(answer) = self.still_us(&holder, answer) else {
            return Ok(());
        };
        let elements: Vec<Value> = match answer.rest {
            Some(_) => read(answer.rest)?,
            None => Vec::new(),
        };
        let sorted = Sorted::read(first.., elements, self.shard.max_event_bytes);
        self.dry_until = Instant::now();
        let is_full = sorted.bytes >= FETCH_BYTES as u64 || sorted.elements >= FETCH_BATCHES;
        if !is_full {
            self.dry_until += POLL;
        }
        self.other_release.seen(&sorted, is_full);
        self.report(&sorted);
        let unread: Vec<u64> = sorted.other_version.iter().map(|(n, _)| *n).collect();
        let books = answer.books;
        self.shard
            .change(|state| state.fetched(&holder, sorted, books));
        self.shard.queue.wake();
        self.leave_to_others(conn, holder, unread).await
    }

    /// Says what cannot be sent.
    fn report(&self, sorted: &Sorted) {
        let list = self.shard.list();
        for (part, events, damage) in &sorted.damaged {
            let lease = part.number;
            tracing::error!(list, lease, events, %damage, "an element cannot be sent; it is set aside in the list's quarantine");
        }
        if let Some((_, version)) = sorted.other_version.first()
            && let Some(times) = self.other_release.complaints.failed()
        {
            let records = sorted.other_version.len();
            tracing::error!(
                list,
                records,
                version,
                times,
                "records of another release wait, which this one cannot read: they are left to a gateway of that release"
            );
        }
    }

    /// Gives back what only another release can read, and leaves the list alone for a
    /// while, so that such a gateway gets it.
    async fn leave_to_others(
        &mut self,
        conn: &mut Conn,
        holder: String,
        numbers: Vec<u64>,
    ) -> Result<(), Fault> {
        if numbers.is_empty() {
            return Ok(());
        }
        self.dry_until = Instant::now() + self.other_release.pause;
        self.give_back(conn, holder, numbers).await
    }

    async fn look(&mut self, conn: &mut Conn, holder: String) -> Result<(), Fault> {
        self.next_look = Instant::now() + LOOK;
        let keys = &self.shard.keys;
        let keys = [&*keys.list, &*keys.ledger, &*keys.holders];
        let answer = scripts::LOOK.ask(conn, &keys, &holder).await?;
        if let Some(answer) = self.still_us(&holder, answer) {
            let head: Vec<u8> = read(answer.rest)?;
            self.shard.change(|state| {
                state.apply(answer.books);
                state.set_head(
                    record::decode_header(&head)
                        .ok()
                        .and_then(|h| h.arrived_at()),
                );
            });
        }
        Ok(())
    }

    /// The answer, if the holder was known.
    fn still_us(&self, holder: &str, answer: Answer) -> Option<Answer> {
        if answer.word != Word::Unknown {
            return Some(answer);
        }
        self.shard.retire(holder, "it was reclaimed");
        None
    }

    /// Tells all settlements, and puts back all that is left.
    async fn end(&mut self, conn: &mut Conn) -> Result<(), Fault> {
        let Some(holder) = self.shard.look(|state| state.holder().cloned()) else {
            return Ok(());
        };
        self.settle_all(conn, &holder).await?;
        self.take_back(conn, holder).await
    }
}

fn some_settlements(state: &State) -> Option<Vec<Settlement>> {
    let some = state.settlements(SETTLED_AT_ONCE);
    (!some.is_empty()).then_some(some)
}

/// The arguments of `settle.lua`. Of a batch of several elements the first one has all
/// that the batch has: they are settled at once.
fn settlement_args<'s>(
    settlement: &'s Settlement,
    shelves: &Shelves,
) -> impl Iterator<Item = String> + use<'s> {
    let shelf = shelves.place(settlement);
    let kind = if settlement.damaged {
        "damaged"
    } else {
        "done"
    };
    let parts = settlement.parts.iter().enumerate();
    parts.flat_map(move |(at, part)| {
        let of_first = |count: u64| if at == 0 { count } else { 0 };
        [
            part.number.to_string(),
            kind.to_owned(),
            part.counted.to_string(),
            of_first(settlement.events).to_string(),
            of_first(settlement.dead_letters).to_string(),
            shelf.to_string(),
        ]
    })
}

fn read<T: deadpool_redis::redis::FromRedisValue>(value: Option<Value>) -> Result<T, Fault> {
    let value = value.unwrap_or(Value::Nil);
    from_redis_value(value).map_err(|error| Fault::Lost(error.to_string()))
}
