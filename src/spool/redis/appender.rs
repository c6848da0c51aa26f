//! The appender of a list: the only one that adds to it.
//!
//! It takes all that is queued as one flush, up to 4 MiB, and has some flushes on
//! their way at a time, in order, on one connection.
//!
//! - Nothing was done (no memory, another master, no connection): the appends become
//!   the first of the backlog again. Without memory they wait as long as their callers
//!   have patience; without a Redis they are refused at once, so that another store
//!   can take them.
//! - The answer is lost: nobody knows. The old connection is ended by name, so that
//!   what it still carries cannot be done later; then Redis is asked which flushes it
//!   has. What it has is answered as a success, what it has not is sent again. Where
//!   the old connection cannot be ended nothing is sent again. While Redis cannot be
//!   asked, the callers are told that it may be stored, and its events are shown as
//!   uncertain.
//! - The key is no list (somebody set it): nothing is appended until it is one, or gone.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use deadpool_redis::redis::cmd;

use super::flush::{Flight, Flush, Form, Stored};
use super::nodes::{Conn, Fault};
use super::queue::{Append, Queue, accept, refuse};
use super::shard::{Shard, Trouble};
use super::state::Appended;
use crate::metrics;
use crate::spool::AppendError;

/// Most bytes of one flush: bounds how long its first batch waits.
const FLUSH_BYTES: usize = 4 << 20;
/// How long a Redis without memory, or one that is away, is left alone.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// More flushes than this a connection does not keep in order.
const DEEPEST: usize = 16;
/// More of them in a row are an outage.
const ACCIDENTS: u32 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Appender {
    shard: Arc<Shard>,
    queue: Arc<Queue>,
    /// Its place in the queue.
    index: usize,
    form: Form,
    depth: usize,
    /// Number of the last flush that was sent.
    number: u64,
    /// Flushes whose answer was lost.
    uncertain: VecDeque<Flush>,
    /// The connection on which they were sent.
    old: Option<u64>,
    /// Accidents in a row.
    accidents: u32,
    /// The last flush was not taken: that a connection can be made does not mean that
    /// the next one is.
    refused: bool,
    trouble: Trouble,
}

/// Flushes on their way, in order.
type Flights = VecDeque<(Flush, Flight)>;

impl Appender {
    pub(super) fn new(
        shard: Arc<Shard>,
        index: usize,
        (depth, min_replicas): (usize, u32),
        replica_patience: Duration,
    ) -> Self {
        let id = uuid::Uuid::now_v7().simple().to_string();
        let depth = depth.clamp(1, DEEPEST);
        Self {
            queue: shard.queue.clone(),
            form: Form {
                appender: shard.keys.appender(&id),
                slots: depth as u64,
                min_replicas,
                replica_patience,
            },
            index,
            depth,
            number: 0,
            uncertain: VecDeque::new(),
            old: None,
            accidents: 0,
            refused: false,
            trouble: Trouble::new(shard.clone(), "appending"),
            shard,
        }
    }

    pub(super) async fn run(mut self, tried: tokio::sync::oneshot::Sender<()>) {
        let mut tried = Some(tried);
        let mut pause = PAUSE;
        loop {
            let fault = match self.connect().await {
                Ok(conn) => {
                    self.queue.set_away(self.index, None);
                    drop(tried.take());
                    if !self.refused {
                        self.trouble.is_over();
                        pause = PAUSE;
                    }
                    let Some(fault) = self.serve(conn).await else {
                        break;
                    };
                    self.refused = true;
                    if self.is_accident(&fault) {
                        // Once more at once, before anybody is refused.
                        self.trouble.said(&fault);
                        continue;
                    }
                    fault
                }
                Err(fault) => fault,
            };
            self.trouble.said(&fault);
            self.give_up(&fault);
            drop(tried.take());
            if self.queue.is_closed() {
                break;
            }
            self.rest(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        // The next one has to end too.
        self.queue.queued.notify_one();
        self.queue.refuse_all(&AppendError::Closing);
        self.give_up(&Fault::Lost("the gateway is shutting down".into()));
    }

    /// Whether it is a lost answer or a change of masters, as can happen.
    fn is_accident(&mut self, fault: &Fault) -> bool {
        let may_be = matches!(fault, Fault::Lost(_) | Fault::Elsewhere(_));
        self.accidents += u32::from(may_be);
        may_be && self.accidents <= ACCIDENTS
    }

    /// A connection, on which nothing is uncertain any more.
    async fn connect(&mut self) -> Result<Conn, Fault> {
        let mut conn = self.shard.nodes.connect(self.shard.list()).await?;
        let mut name = cmd("CLIENT");
        name.arg("SETNAME").arg(self.name());
        match conn.call::<()>(&name).await {
            // Forbidden: then the connection cannot be ended either.
            Ok(()) | Err(Fault::Refused(_)) => {}
            Err(fault) => return Err(fault),
        }
        self.is_a_list(&mut conn).await?;
        if self.uncertain.is_empty() {
            self.wait_for_replicas(&mut conn).await?;
        } else {
            self.find_out(&mut conn).await?;
        }
        self.old = Some(conn.id());
        Ok(conn)
    }

    /// Another kind of key refuses what is pushed, and only that: the rest of a flush is
    /// done, so that it would count as stored.
    async fn is_a_list(&self, conn: &mut Conn) -> Result<(), Fault> {
        let mut question = cmd("TYPE");
        question.arg(self.shard.list());
        match conn.call::<String>(&question).await {
            Ok(kind) if kind != "list" && kind != "none" => {
                let words = format!("WRONGTYPE the key is no list, but a {kind}");
                Err(Fault::Refused(words))
            }
            // Forbidden to ask: then the flushes have to tell.
            Ok(_) | Err(Fault::Refused(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Waits until as many replicas as are needed have all that the server has now. So
    /// a server without them gets no batches at all, not each one in vain.
    async fn wait_for_replicas(&self, conn: &mut Conn) -> Result<(), Fault> {
        let Some(wait) = self.form.wait() else {
            return Ok(());
        };
        match conn.call::<u32>(&wait).await {
            Ok(replicas) => self.form.too_few(replicas).map_or(Ok(()), Err),
            // So says a replica; the master has to be looked for.
            Err(Fault::Refused(words)) => Err(Fault::NotNow(words)),
            Err(fault) => Err(fault),
        }
    }

    /// What its connections are called: no two appenders have the same.
    fn name(&self) -> String {
        self.form.appender.replace(['{', '}'], "")
    }

    /// Learns what became of the uncertain flushes.
    async fn find_out(&mut self, conn: &mut Conn) -> Result<(), Fault> {
        let is_ended = self.end_old(conn).await?;
        let mut question = cmd("HGETALL");
        question.arg(&self.form.appender);
        let stored: HashMap<u64, u64> = conn.call(&question).await?;
        let stored: Vec<u64> = stored.into_values().collect();
        let is_stored = |flush: &Flush| stored.contains(&flush.number);
        // The answer that was lost may be that of the replicas.
        let replicated = self.wait_for_replicas(conn).await;
        if self.uncertain.iter().any(is_stored) {
            // What is answered as stored has to be in the books.
            self.shard.refresh().await;
        }
        let mut again = Vec::new();
        for flush in std::mem::take(&mut self.uncertain) {
            match (is_stored(&flush), &replicated) {
                (true, Ok(())) => accept(flush.appends),
                (true, Err(fault)) => self.refuse_stored(flush.appends, &fault.to_string()),
                (false, _) if is_ended => again.extend(flush.appends),
                (false, _) => self.refuse_stored(flush.appends, "the connection was lost"),
            }
        }
        self.show_uncertain();
        self.queue.put_back(again);
        replicated
    }

    /// Ends the old connection, so that nothing that was sent on it is done from now
    /// on. Whether that is sure. The server may be another one than then, where
    /// somebody else has that id: hence the name.
    async fn end_old(&self, conn: &mut Conn) -> Result<bool, Fault> {
        // With our own id, the server was started anew.
        let Some(old) = self.old.filter(|old| *old != conn.id()) else {
            return Ok(true);
        };
        let mut question = cmd("CLIENT");
        question.arg("LIST").arg("ID").arg(old);
        let listed: String = match conn.call(&question).await {
            Ok(listed) => listed,
            Err(Fault::Refused(_)) => return Ok(false),
            Err(fault) => return Err(fault),
        };
        let name = format!("name={}", self.name());
        if !listed.split_ascii_whitespace().any(|word| word == name) {
            return Ok(true);
        }
        let mut kill = cmd("CLIENT");
        kill.arg("KILL").arg("ID").arg(old);
        match conn.call::<u64>(&kill).await {
            Ok(_) => Ok(true),
            Err(Fault::Refused(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Appends until something goes wrong. `None`: the queue was closed.
    async fn serve(&mut self, conn: Conn) -> Option<Fault> {
        let mut flights = Flights::new();
        loop {
            self.fill(&conn, &mut flights);
            if flights.is_empty() && self.queue.is_closed() {
                return None;
            }
            let has_room = flights.len() < self.depth;
            let Some((_, first)) = flights.front_mut() else {
                self.queue.queued.notified().await;
                continue;
            };
            let answer = tokio::select! {
                answer = first => answer,
                () = self.queue.queued.notified(), if has_room => continue,
            };
            let Some((flush, _)) = flights.pop_front() else {
                continue;
            };
            let mut again = Vec::new();
            if let Some(fault) = self.landed(flush, answer, &mut again) {
                if let Some(fault) = self.failed(fault, again, flights).await {
                    return Some(fault);
                }
                flights = Flights::new();
            }
        }
    }

    /// Starts flushes as long as there is something to append.
    fn fill(&mut self, conn: &Conn, flights: &mut Flights) {
        while flights.len() < self.depth {
            let appends = self.queue.take_round(FLUSH_BYTES);
            if appends.is_empty() {
                return;
            }
            self.number += 1;
            let flush = Flush::new(self.number, appends);
            let flight = flush.start(conn, &self.shard.keys, &self.form);
            flights.push_back((flush, flight));
        }
    }

    /// What became of a flush; what is to be sent again goes to `again`.
    fn landed(
        &mut self,
        flush: Flush,
        answer: Result<Stored, Fault>,
        again: &mut Vec<Append>,
    ) -> Option<Fault> {
        match answer {
            Ok(stored) => self.stored(flush, stored),
            Err(fault) => {
                self.undone(flush, &fault, again);
                Some(fault)
            }
        }
    }

    fn stored(&mut self, flush: Flush, stored: Stored) -> Option<Fault> {
        self.accidents = 0;
        if std::mem::take(&mut self.refused) {
            self.trouble.is_over();
        }
        let append = Appended {
            at: stored.at,
            came: flush.came,
            bytes: flush.bytes,
        };
        self.shard.change(|state| state.appended(append));
        self.queue.count();
        self.shard.grew();
        let too_few = self.form.too_few(stored.replicas);
        match &too_few {
            Some(fault) => self.refuse_stored(flush.appends, &fault.to_string()),
            None => accept(flush.appends),
        }
        too_few
    }

    /// One flush failed: what becomes of it and of those behind it. `None`: it was
    /// only full, and the connection is good.
    async fn failed(
        &mut self,
        fault: Fault,
        mut again: Vec<Append>,
        behind: Flights,
    ) -> Option<Fault> {
        let mut worst = fault;
        for (flush, flight) in behind {
            let fault = self.landed(flush, flight.await, &mut again);
            worst = fault
                .filter(|fault| !matches!(fault, Fault::Full(_)))
                .unwrap_or(worst);
        }
        self.show_uncertain();
        self.queue.put_back(again);
        if !matches!(worst, Fault::Full(_)) {
            return Some(worst);
        }
        self.trouble.said(&worst);
        self.queue.set_full(self.index, true);
        self.rest(PAUSE).await;
        None
    }

    fn undone(&mut self, flush: Flush, fault: &Fault, again: &mut Vec<Append>) {
        match fault {
            Fault::Lost(_) => self.uncertain.push_back(flush),
            // A transaction that was refused may have been done in part.
            Fault::Refused(words) => self.refuse_stored(flush.appends, words),
            _ => again.extend(flush.appends),
        }
    }

    /// Redis is away: nobody waits for it.
    fn give_up(&mut self, fault: &Fault) {
        for at in 0..self.uncertain.len() {
            let appends = std::mem::take(&mut self.uncertain[at].appends);
            self.refuse_stored(appends, &fault.to_string());
        }
        self.queue.set_away(self.index, Some(fault.to_string()));
    }

    /// Refuses what may be stored all the same: it is kept elsewhere as well, or comes
    /// again.
    fn refuse_stored(&self, appends: Vec<Append>, words: &str) {
        let events = appends.iter().map(|append| u64::from(append.events));
        metrics::possible_duplicates(&self.queue.name, events.sum());
        let words = format!("{words}; the batch may be stored");
        refuse(appends, &AppendError::Unavailable(words));
    }

    fn show_uncertain(&self) {
        let events = self.uncertain.iter().map(|flush| flush.events);
        self.shard.uncertain.store(events.sum(), Relaxed);
    }

    /// Waits; those whose patience ends meanwhile are refused.
    async fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while Instant::now() < until && !self.queue.is_closed() {
            tokio::time::sleep(PAUSE.min(pause)).await;
            self.queue.refuse_late(Instant::now());
        }
    }
}
