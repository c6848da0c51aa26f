//! The scripts against a plain twin of what they mean, on a real server: holders,
//! leases, calls that come twice or late, foreign and copied elements, reclaim, and a
//! Redis without memory.

mod redis_support;
mod redis_twin;

use std::collections::BTreeMap;

use deadpool_redis::redis::{Connection, FromRedisValue, Value, cmd, from_redis_value};
use proptest::prelude::*;
use redis_support::RedisServer;
use redis_twin::{HOLDERS, Op, Twin, element, events_of, op};

/// The real ones.
struct Real {
    connection: Connection,
    full: bool,
}

const COMMON: &str = include_str!("../src/spool/redis/scripts/common.lua");

macro_rules! script {
    ($name:literal) => {
        include_str!(concat!("../src/spool/redis/scripts/", $name, ".lua"))
    };
}

fn leases(holder: usize) -> String {
    format!("{{logstash}}:lease:{holder}")
}

fn heartbeat(holder: usize) -> String {
    format!("{{logstash}}:holder:{holder}")
}

impl Real {
    fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> T {
        redis_support::ask(&mut self.connection, words).expect("answered")
    }

    fn run<T: FromRedisValue>(&mut self, script: &str, keys: &[&str], args: &[String]) -> T {
        let mut call = cmd("EVAL");
        call.arg(format!("{COMMON}\n{script}")).arg(3 + keys.len());
        call.arg(&["logstash", "{logstash}:ledger", "{logstash}:holders"]);
        call.arg(keys).arg(args);
        call.query(&mut self.connection).expect("answered")
    }

    /// The word that a script answers with.
    fn call(&mut self, script: &str, keys: &[&str], args: &[String]) -> String {
        let answer: Vec<Value> = self.run(script, keys, args);
        from_redis_value(answer[0].clone()).expect("a word")
    }

    fn fill(&mut self, full: bool) {
        self.full = full;
        let limit = if full { "1" } else { "0" };
        self.ask::<String>(&["CONFIG", "SET", "maxmemory", limit]);
    }

    /// As the appender does it; a Redis without memory takes nothing.
    fn append(&mut self, elements: &[Vec<u8>]) {
        let mut flush = deadpool_redis::redis::pipe();
        flush.atomic();
        let events: i64 = elements.iter().map(|e| events_of(e).0).sum();
        let bytes: usize = elements.iter().map(Vec::len).sum();
        flush.cmd("RPUSH").arg("logstash").arg(elements).ignore();
        let counts = [
            ("appends", 1),
            ("accepted", events),
            ("waiting_events", events),
            ("waiting_batches", elements.len() as i64),
            ("waiting_bytes", bytes as i64),
        ];
        for (field, count) in counts {
            let book = flush.cmd("HINCRBY").arg("{logstash}:ledger");
            book.arg(field).arg(count).ignore();
        }
        flush.query::<()>(&mut self.connection).expect("appended");
    }

    fn state(&mut self) -> Twin {
        let list: Vec<Vec<u8>> = self.ask(&["LRANGE", "logstash", "0", "-1"]);
        let mut twin = Twin {
            list: list.into(),
            quarantine: self.ask(&["LRANGE", "{logstash}:quarantine", "0", "-1"]),
            ..Twin::default()
        };
        let holders: BTreeMap<usize, u64> = self.ask(&["HGETALL", "{logstash}:holders"]);
        for (holder, last) in holders {
            let leases = self.ask(&["HGETALL", &leases(holder)]);
            twin.holders.insert(holder, (last, leases));
        }
        for holder in 0..HOLDERS {
            if self.ask::<u64>(&["EXISTS", &heartbeat(holder)]) == 1 {
                twin.beating.insert(holder, true);
            }
        }
        let ledger: BTreeMap<String, i64> = self.ask(&["HGETALL", "{logstash}:ledger"]);
        let fields = ledger.into_iter().filter(|(_, value)| *value != 0);
        twin.ledger = fields
            .map(|(field, value)| (&*field.leak(), value))
            .collect();
        twin
    }
}

struct Run {
    twin: Twin,
    real: Real,
    serial: u64,
    /// The highest number that each holder asked for.
    asked: BTreeMap<usize, u64>,
    last: Option<Op>,
}

impl Run {
    fn element(&mut self, events: Option<u32>) -> Vec<u8> {
        self.serial += 1;
        element(self.serial, events)
    }

    fn apply(&mut self, op: Op) {
        let op = match (op, self.last.clone()) {
            (Op::Again, Some(last)) => last,
            (op, _) => op,
        };
        let (meant, said) = self.call(&op);
        assert_eq!(meant, said, "{op:?}");
        assert_eq!(self.real.state(), self.twin, "{op:?}");
        self.check();
        // Others' pushes are no calls of ours.
        if !matches!(
            op,
            Op::Append(_) | Op::Foreign | Op::Copied(_) | Op::Full(_) | Op::Again
        ) {
            self.last = Some(op);
        }
    }

    /// What it should say, and what it says.
    fn call(&mut self, op: &Op) -> (String, String) {
        let said = match op {
            Op::Append(_) | Op::Foreign | Op::Copied(_) if self.real.full => {
                return Default::default();
            }
            Op::Append(batches) => {
                let elements: Vec<_> = batches.iter().map(|n| self.element(Some(*n))).collect();
                self.real.append(&elements);
                self.twin.append(elements);
                return Default::default();
            }
            Op::Foreign | Op::Copied(_) => {
                let events = if let Op::Copied(events) = op {
                    Some(*events)
                } else {
                    None
                };
                let element = self.element(events);
                let mut push = cmd("RPUSH");
                push.arg("logstash").arg(&element);
                push.query::<()>(&mut self.real.connection).expect("pushed");
                self.twin.list.push_back(element);
                return Default::default();
            }
            Op::Full(full) => {
                self.real.fill(*full);
                return Default::default();
            }
            Op::Again => return Default::default(),
            Op::Register(holder) => self.register(*holder),
            Op::Lease { .. } => self.lease(op),
            Op::Settle {
                holder,
                numbers,
                damaged,
                dead,
            } => self.settle(*holder, numbers, *damaged, *dead),
            Op::GiveBack { holder, numbers } => self.give_back(*holder, numbers.clone()),
            Op::Beat(holder) => self.beat(*holder),
            Op::FallSilent(holder) => {
                self.twin.beating.remove(holder);
                self.real.ask::<u64>(&["DEL", &heartbeat(*holder)]);
                return Default::default();
            }
            Op::Reclaim { holder, own } => {
                let said = self.real.call(
                    script!("reclaim"),
                    &[&leases(*holder), &heartbeat(*holder)],
                    &[holder.to_string(), u8::from(*own).to_string()],
                );
                (self.twin.reclaim(*holder, *own), said)
            }
            Op::Resume { holder, ahead } => self.resume(*holder, *ahead),
        };
        (said.0.to_owned(), said.1)
    }

    fn register(&mut self, holder: usize) -> (&'static str, String) {
        // An id is never used by two.
        if self.twin.holders.contains_key(&holder) {
            return ("ok", "ok".to_owned());
        }
        let last = self.asked.get(&holder).copied().unwrap_or(0);
        let args = [holder.to_string(), "600000".to_owned(), last.to_string()];
        let said = self
            .real
            .call(script!("register"), &[&heartbeat(holder)], &args);
        self.twin.holders.insert(holder, (last, BTreeMap::new()));
        self.twin.beating.insert(holder, true);
        ("ok", said)
    }

    fn lease(&mut self, op: &Op) -> (&'static str, String) {
        let Op::Lease {
            holder,
            back,
            most,
            bytes,
            ordered,
        } = *op
        else {
            unreachable!("only leases")
        };
        let asked = self.asked.entry(holder).or_default();
        let first = (*asked + 1).saturating_sub(back);
        *asked = (*asked).max(first + most as u64 - 1);
        let args = [
            holder.to_string(),
            first.to_string(),
            most.to_string(),
            bytes.to_string(),
            u8::from(ordered).to_string(),
            "{logstash}:lease:".to_owned(),
        ];
        let said = self.real.call(script!("lease"), &[&leases(holder)], &args);
        (self.twin.lease(holder, first, most, bytes, ordered), said)
    }

    fn settle(
        &mut self,
        holder: usize,
        numbers: &[u64],
        damaged: bool,
        dead: u32,
    ) -> (&'static str, String) {
        // Without an archive.
        let none = || "0".to_owned();
        let mut args = vec![holder.to_string(), none()];
        for number in numbers {
            let held = self
                .twin
                .holders
                .get(&holder)
                .and_then(|(_, leases)| leases.get(number));
            let events = held.map_or(1, |element| events_of(element).0);
            let kind = if damaged { "damaged" } else { "done" };
            args.extend([
                number.to_string(),
                kind.to_owned(),
                events.to_string(),
                events.to_string(),
                i64::from(dead).min(events).to_string(),
                none(),
            ]);
        }
        let keys = [
            &*leases(holder),
            "{logstash}:quarantine",
            "{logstash}:archive",
        ];
        let said = self.real.call(script!("settle"), &keys, &args);
        (self.twin.settle(holder, numbers, damaged, dead), said)
    }

    fn give_back(&mut self, holder: usize, mut numbers: Vec<u64>) -> (&'static str, String) {
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let mut args = vec![holder.to_string()];
        args.extend(numbers.iter().map(u64::to_string));
        let said = self
            .real
            .call(script!("give_back"), &[&leases(holder)], &args);
        if !self.twin.holders.contains_key(&holder) {
            return ("unknown", said);
        }
        self.twin.put_back(holder, numbers);
        ("ok", said)
    }

    fn beat(&mut self, holder: usize) -> (&'static str, String) {
        let args = [holder.to_string(), "600000".to_owned()];
        let lives: u64 = self
            .real
            .run(script!("heartbeat"), &[&heartbeat(holder)], &args);
        let meant = self.twin.holders.contains_key(&holder);
        if meant {
            self.twin.beating.insert(holder, true);
        }
        let word = |lives| if lives { "lives" } else { "gone" };
        (word(meant), word(lives == 1).to_owned())
    }

    fn resume(&mut self, holder: usize, ahead: u64) -> (&'static str, String) {
        let asked = self.asked.entry(holder).or_default();
        *asked += ahead;
        let args = [holder.to_string(), asked.to_string()];
        let said = self.real.call(script!("resume"), &[&leases(holder)], &args);
        match self.twin.holders.get_mut(&holder) {
            Some((last, _)) => {
                *last = (*last).max(*asked);
                ("ok", said)
            }
            None => ("unknown", said),
        }
    }

    /// Nothing is lost or made: what came in went out, waits, or is held.
    fn check(&self) {
        let twin = &self.twin;
        // Elements that nobody has counted yet.
        let strangers = twin.list.len() as i64 - twin.get("waiting_batches");
        assert!(strangers >= 0, "{twin:?}");
        let came = twin.get("accepted") + twin.get("foreign");
        let went = twin.get("confirmed") + twin.get("dead_letters") + twin.get("quarantined");
        let here = twin.get("waiting_events") + twin.get("leased_events");
        assert_eq!(came, went + here, "{twin:?}");
    }
}

#[test]
fn the_scripts_do_what_their_twin_does() {
    let server = RedisServer::start();
    let ops = proptest::collection::vec(op(), 1..80);
    proptest!(ProptestConfig::with_cases(200), |(ops in ops)| {
        let mut real = Real { connection: server.client(), full: false };
        real.fill(false);
        real.ask::<String>(&["FLUSHALL"]);
        let mut run = Run {
            twin: Twin::default(),
            real,
            serial: 0,
            asked: BTreeMap::new(),
            last: None,
        };
        for op in ops {
            run.apply(op);
        }
    });
}
