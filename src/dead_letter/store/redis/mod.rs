//! The store in Redis: all gateways that share it see the same letters.
//!
//! Each change is one script (`scripts/*.lua`), so it is atomic and needs no lock of ours;
//! `keys` names all keys, and they are in one slot of a Cluster. Numbers and ages go by Redis'
//! clock, the one that all gateways share: the clock of a gateway that is wrong does nothing.
//!
//! An answer that is lost does no harm, since whoever asks again changes nothing that was
//! changed: a letter that was filed is known, a letter that was settled is not there
//! any more, one that was rewritten has another revision, and so the [`Handle`] no
//! longer fits. How many there were may then be said too low.
//!
//! | failure | what happens |
//! | --- | --- |
//! | Redis cannot be reached, refuses, restarts, fails over | tried once more, then [`StoreError`]: letters wait in the inbox, a person is told |
//! | no memory left | filing, restoring and rewriting are refused as a whole; settling and expiring go on, and make room |
//! | too few replicas have a change (`min_replicas`) | [`StoreError`], though it may be there: it is filed again |
//! | Redis lost data (failover) | the letters are gone with their books; a settled letter may be held again, and is sent twice if it is returned again |
//!
//! Memory is bounded by the callers, who change at most so many letters at a time;
//! letters are read in parts of 4 MiB, or one that is longer.

mod answer;
mod args;
mod keys;
mod numbers;
mod scripts;

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use deadpool_redis::redis::{
    Cmd, FromRedisValue, RedisWrite, ToRedisArgs, Value, cmd, from_redis_value,
};
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;

use super::{
    Aged, Fate, Filed, Group, GroupKey, Handle, JUMP_MS, Letter, MOST_GROUPS, Options, Order,
    SOON_MS, Selection, Span, StoreError, Summary,
};
use crate::batch::QueueName;
use crate::dead_letter::DeadLetter;
use crate::spool::redis::keys::BESIDE;
use crate::spool::redis::nodes::{Conn, Fault, Nodes};
use crate::spool::redis::script::Script;
use answer::Glance;
use args::Filing;
use keys::{GROUPS, KEYS, NAMES, OF_GROUP, PLACES};

/// Connections that are used at a time: three places are filed, one looks, one expires,
/// and people work.
const CONNECTIONS: usize = 8;
/// Most bytes of letters that are read at a time.
const READ_BYTES: usize = 4 << 20;
/// Most letters, and tombstones, that go in one call: nobody else is served meanwhile.
const MOST_EXPIRED: usize = 10_000;
/// How often the figures are refreshed when nothing is changed here.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Somebody changed the keys.
const UNREADABLE: &str = "what is in {stashgate}:letters:* cannot be read: it is of another release, or somebody changed it";
/// For scripts that need not be told anything.
const NOTHING: Option<&str> = None;

/// The store in Redis. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
    /// Ends with the last clone.
    _looking: Arc<JoinSet<()>>,
}

#[derive(Debug)]
struct Inner {
    nodes: Nodes,
    replicas: Replicas,
    options: Options,
    summary: ArcSwap<Summary>,
}

/// Who has to have a change.
#[derive(Debug, Clone, Copy)]
pub struct Replicas {
    /// So many replicas; 0: none.
    pub min: u32,
    /// How long is waited for them.
    pub patience: Duration,
}

impl RedisStore {
    /// Begins to look at the store there; asks nothing yet, and goes on trying.
    pub fn new(nodes: Nodes, replicas: Replicas, options: Options) -> Self {
        nodes.widen(CONNECTIONS);
        let inner = Arc::new(Inner {
            nodes,
            replicas,
            options,
            summary: ArcSwap::default(),
        });
        let mut looking = JoinSet::new();
        looking.spawn(look(Arc::downgrade(&inner)));
        Self {
            inner,
            _looking: Arc::new(looking),
        }
    }

    /// How many letters are held there, by whoever looks.
    pub async fn held(nodes: &Nodes) -> Result<u64, Fault> {
        let mut conn = nodes.connect(BESIDE).await?;
        let mut held = 0;
        for place in PLACES {
            held += conn.call::<u64>(cmd("ZCARD").arg(place)).await?;
        }
        Ok(held)
    }

    pub(super) async fn file(&self, letters: Vec<DeadLetter>) -> Result<Vec<Filed>, StoreError> {
        let letters = letters.iter().map(Filing::new).collect();
        self.put("file", letters).await
    }

    pub(super) async fn restore(&self, letters: Vec<Letter>) -> Result<Vec<Filed>, StoreError> {
        let letters = letters.iter().map(Filing::again).collect();
        self.put("restore", letters).await
    }

    async fn put(
        &self,
        how: &'static str,
        letters: Vec<Filing<'_>>,
    ) -> Result<Vec<Filed>, StoreError> {
        let budget = self.inner.options.max_bytes;
        let args = (how, budget, MOST_GROUPS, letters);
        self.inner.change(&scripts::FILE, &args).await
    }

    pub(super) async fn settle(&self, letters: &[Handle], fate: Fate) -> Result<u64, StoreError> {
        let fate = match fate {
            Fate::Returned => "returned",
            Fate::SentElsewhere => "sent_elsewhere",
            Fate::Discarded => "discarded",
            Fate::Expired => "expired",
        };
        self.inner.change(&scripts::SETTLE, &(fate, letters)).await
    }

    pub(super) async fn rewrite(&self, events: Vec<(Handle, Bytes)>) -> Result<u64, StoreError> {
        let events: Vec<_> = events
            .iter()
            .map(|(handle, event)| (handle, &event[..]))
            .collect();
        self.inner.change(&scripts::REWRITE, &events).await
    }

    pub(super) async fn expire(&self, limit: usize) -> Result<Aged, StoreError> {
        let retention = self.inner.options.retention_ms;
        let args = (retention, JUMP_MS, SOON_MS, limit.min(MOST_EXPIRED));
        self.inner.change(&scripts::EXPIRE, &args).await
    }

    pub(super) async fn groups(&self) -> Result<Vec<Group>, StoreError> {
        self.inner.look_at(&scripts::GROUPS, &NOTHING).await
    }

    pub(super) async fn read(&self, numbers: &[u64]) -> Result<Vec<Letter>, StoreError> {
        let (mut left, mut found) = (numbers, Vec::new());
        while !left.is_empty() {
            let args = (READ_BYTES, left);
            let (seen, letters): (usize, Vec<Letter>) =
                self.inner.look_at(&scripts::READ, &args).await?;
            found.extend(letters);
            // It always comes to the first.
            left = left.get(seen.max(1)..).unwrap_or_default();
        }
        Ok(found)
    }

    pub(super) async fn numbers(
        &self,
        selection: &Selection,
        span: Span,
        order: Order,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        let sets = match selection.is_all() {
            true => PLACES.map(str::to_owned).to_vec(),
            false => self.groups_of(selection).await?,
        };
        let ask = |conn: Conn| numbers::merged(conn, sets.clone(), span, order, limit);
        self.inner.tried(ask).await
    }

    /// The sets with the numbers of the groups that are meant.
    async fn groups_of(&self, selection: &Selection) -> Result<Vec<String>, StoreError> {
        let groups: Vec<(String, Bytes)> = self.inner.ask(cmd("HGETALL").arg(GROUPS)).await?;
        let meant = groups.into_iter().filter(|(_, key)| {
            let key = serde_json::from_slice::<GroupKey>(key);
            key.is_ok_and(|key| selection.has(&key))
        });
        Ok(meant
            .map(|(group, _)| format!("{OF_GROUP}{group}"))
            .collect())
    }

    pub(super) async fn find(
        &self,
        queue: &QueueName,
        name: &str,
    ) -> Result<Option<u64>, StoreError> {
        let mut question = cmd("HGET");
        question.arg(NAMES).arg(args::name(queue, name));
        self.inner.ask(&question).await
    }

    pub(super) fn summary(&self) -> Summary {
        Summary::clone(&self.inner.summary.load())
    }
}

/// Refreshes the figures: other gateways change them, too.
async fn look(inner: Weak<Inner>) {
    loop {
        match inner.upgrade() {
            // What went wrong is in the summary.
            Some(inner) => drop(inner.look_at::<u64>(&scripts::GLANCE, &NOTHING).await),
            None => return,
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What each script is told, and what one of them is told.
struct Args<'a, A>(i64, &'a A);

impl<A: ToRedisArgs> ToRedisArgs for Args<'_, A> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        out.write_arg_fmt(self.0);
        out.write_arg(OF_GROUP.as_bytes());
        self.1.write_redis_args(out);
    }
}

impl Inner {
    /// Changes something: durable as far as Redis is, and its replicas.
    async fn change<T: FromRedisValue + Send>(
        &self,
        script: &'static Script,
        args: &(impl ToRedisArgs + Sync),
    ) -> Result<T, StoreError> {
        let change = |mut conn: Conn| async move {
            let answer = self.run(&mut conn, script, args).await?;
            self.replicas.wait(&mut conn).await?;
            Ok(answer)
        };
        let (glance, answer) = self.tried(change).await?;
        self.saw(glance);
        Ok(answer)
    }

    /// Looks at something.
    async fn look_at<T: FromRedisValue + Send>(
        &self,
        script: &'static Script,
        args: &(impl ToRedisArgs + Sync),
    ) -> Result<T, StoreError> {
        let look = |mut conn: Conn| async move { self.run(&mut conn, script, args).await };
        let (glance, answer) = self.tried(look).await?;
        self.saw(glance);
        Ok(answer)
    }

    async fn ask<T: FromRedisValue + Send>(&self, question: &Cmd) -> Result<T, StoreError> {
        self.tried(|mut conn: Conn| async move { conn.call(question).await })
            .await
    }

    async fn run<T: FromRedisValue + Send>(
        &self,
        conn: &mut Conn,
        script: &'static Script,
        args: &(impl ToRedisArgs + Sync),
    ) -> Result<(Glance, T), Fault> {
        let args = Args(self.expires_soon(), args);
        let answer: Value = script.run(conn, &KEYS, args).await?;
        // What the crate would say shows the whole answer.
        from_redis_value(answer).map_err(|_| Fault::Refused(UNREADABLE.to_owned()))
    }

    /// Does it, and once more if another server or connection may mend it.
    async fn tried<T, F>(&self, work: impl Fn(Conn) -> F + Sync) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let done = match self.once(&work).await {
            Err(Fault::Elsewhere(_) | Fault::Unreachable(_) | Fault::Lost(_)) => {
                self.once(&work).await
            }
            first => first,
        };
        done.map_err(|fault| self.failed(&fault))
    }

    /// Boxed, or the types of whoever calls get too deep for the compiler.
    fn once<'s, T, F>(
        &'s self,
        work: &'s (impl Fn(Conn) -> F + Sync),
    ) -> BoxFuture<'s, Result<T, Fault>>
    where
        F: Future<Output = Result<T, Fault>> + Send + 's,
    {
        Box::pin(async move {
            let done = match self.nodes.connect(BESIDE).await {
                Ok(conn) => work(conn).await,
                Err(fault) => Err(fault),
            };
            done.inspect_err(|fault| self.nodes.suspect(BESIDE, fault))
        })
    }

    fn saw(&self, glance: Glance) {
        self.summary.store(Arc::new(glance.0));
    }

    fn failed(&self, fault: &Fault) -> StoreError {
        let why = fault.to_string();
        self.summary.rcu(|summary| Summary {
            trouble: Some(why.clone()),
            ..Summary::clone(summary)
        });
        StoreError(why)
    }

    /// After how many milliseconds a letter counts as expiring; at once if not above 0.
    fn expires_soon(&self) -> i64 {
        let retention = i64::try_from(self.options.retention_ms).unwrap_or(i64::MAX);
        retention - SOON_MS.cast_signed()
    }
}

impl Replicas {
    async fn wait(self, conn: &mut Conn) -> Result<(), Fault> {
        if self.min == 0 {
            return Ok(());
        }
        let mut wait = cmd("WAIT");
        wait.arg(self.min).arg(self.patience.as_millis() as u64);
        let replicas: u32 = conn.call(&wait).await?;
        if replicas < self.min {
            let needed = self.min;
            let words = format!("{replicas} of {needed} replicas have what was changed");
            return Err(Fault::NotNow(words));
        }
        Ok(())
    }
}
