//! What a server is like: version, memory, and what a crash of it would cost.
//!
//! All is read from `INFO` and `CONFIG GET`. A managed service or an ACL may forbid
//! the latter: then `INFO` has to do, and what could not be seen is said.

use std::collections::HashMap;

use deadpool_redis::redis::{Pipeline, Value, cmd, from_redis_value};

use super::{Address, Conn, Fault};

/// The oldest release that knows all commands that are used.
const OLDEST: (u32, u32) = (6, 2);

/// The memory of a server, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What counts against `max`.
    pub used: u64,
    /// `maxmemory`; `None`: no limit.
    pub max: Option<u64>,
}

impl Memory {
    /// Asks for it; cheap enough for once a second.
    pub async fn of(conn: &mut Conn) -> Result<Self, Fault> {
        let text: String = conn.call(cmd("INFO").arg("memory")).await?;
        Ok(Self::read(&Info::read(&text)))
    }

    fn read(info: &Info) -> Self {
        let number = |name| info.number(name).unwrap_or(0);
        // Buffers for replicas and the AOF do not count against the limit.
        let free = number("mem_not_counted_for_evict");
        Self {
            used: number("used_memory").saturating_sub(free),
            max: Some(number("maxmemory")).filter(|max| *max > 0),
        }
    }
}

/// What a server is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its address.
    pub address: Address,
    /// "Redis" or "Valkey", and its version.
    pub version: String,
    /// Whether it is older than what is supported.
    pub too_old: bool,
    /// Whether it is a node of a cluster.
    pub cluster: bool,
    /// How many replicas are connected.
    pub replicas: u64,
    /// Whether it is a replica itself.
    pub is_replica: bool,
    /// Its memory now.
    pub memory: Memory,
    /// `maxmemory-policy`.
    pub policy: Option<String>,
    /// `appendonly`.
    pub aof: Option<bool>,
    /// `appendfsync`.
    pub fsync: Option<String>,
    /// `save`: when snapshots are written; empty: never.
    pub save: Option<String>,
}

impl Facts {
    /// Asks the server at the other end.
    pub async fn of(conn: &mut Conn) -> Result<Self, Fault> {
        let text: String = conn.call(&cmd("INFO")).await?;
        let info = Info::read(&text);
        let mut questions = Pipeline::new();
        for setting in ["maxmemory-policy", "appendonly", "appendfsync", "save"] {
            questions.cmd("CONFIG").arg("GET").arg(setting);
        }
        let answers = conn.each(&questions).await?;
        let mut settings = answers.into_iter().map(setting);
        let mut next = || settings.next().flatten();
        let (policy, aof, fsync, save) = (next(), next(), next(), next());
        Ok(Self {
            address: conn.address().clone(),
            version: info.version(),
            too_old: info.release() < OLDEST,
            cluster: info.number("cluster_enabled") == Some(1),
            replicas: info.number("connected_slaves").unwrap_or(0),
            is_replica: info.text("role").as_deref() == Some("slave"),
            memory: Memory::read(&info),
            policy: policy.or_else(|| info.text("maxmemory_policy")),
            aof: aof
                .map(|aof| aof == "yes")
                .or_else(|| info.number("aof_enabled").map(|aof| aof == 1)),
            fsync,
            save,
        })
    }

    /// Why no spool may be kept there, if so.
    pub fn refusal(&self, allow_eviction: bool) -> Option<String> {
        let at = &self.address;
        if self.too_old {
            let version = &self.version;
            return Some(format!(
                "{at} is {version}; Redis 6.2 or newer is needed, or Valkey"
            ));
        }
        let policy = self.policy.as_deref()?;
        let evicts = policy != "noeviction" && !allow_eviction;
        evicts.then(|| {
            format!(
                "{at} has maxmemory-policy {policy}: when its memory is full, it would throw waiting events away; set it to noeviction, or say allow_eviction = true"
            )
        })
    }

    /// What a crash of the server would cost, one sentence.
    pub fn durability(&self) -> String {
        let at = &self.address;
        let cost = match (self.aof, self.fsync.as_deref()) {
            (Some(true), Some("always")) => {
                "writes each answered batch to its disk first: a crash or power cut loses nothing"
            }
            (Some(true), Some("everysec")) => {
                "writes to its disk once a second: a power cut may lose the last second or two of answered events, the end of its process nothing"
            }
            (Some(true), Some(_)) => {
                "leaves it to its system when to write to the disk: a power cut may lose the last half minute of answered events"
            }
            (Some(true), None) => {
                "keeps an append-only file, but does not show appendfsync: a power cut loses nothing with always, about a second of answered events with everysec"
            }
            (Some(false), _) => self.without_aof(),
            (None, _) => "does not show whether it keeps an append-only file (appendonly)",
        };
        format!("{at} {cost}")
    }

    fn without_aof(&self) -> &'static str {
        match self.save.as_deref() {
            Some("") => {
                "keeps everything in memory only: its end or a restart loses every event that waits there"
            }
            Some(_) => {
                "only writes snapshots: a crash loses all answered events since the last one, which may be many minutes"
            }
            None => {
                "keeps no append-only file: a crash loses answered events, all of them if it writes no snapshots either"
            }
        }
    }

    /// What an operator ought to know at start, each one sentence.
    pub fn warnings(&self) -> Vec<String> {
        let at = &self.address;
        let mut warnings = Vec::new();
        if self.is_replica {
            warnings.push(format!(
                "{at} is a replica and takes no batches: name its master, or the Sentinels or nodes of the Cluster that know it"
            ));
        }
        if self.aof != Some(true) || self.fsync.as_deref() != Some("always") {
            warnings.push(self.durability());
        }
        if self.memory.max.is_none() {
            warnings.push(format!(
                "{at} has no maxmemory: when its machine's memory is full, its process is killed; with maxmemory, senders are held up before"
            ));
        }
        match self.policy.as_deref() {
            Some("noeviction") => {}
            Some(policy) => warnings.push(format!(
                "{at} has maxmemory-policy {policy}: when its memory is full, it throws waiting events away"
            )),
            None => warnings.push(format!(
                "{at} does not show its maxmemory-policy; anything but noeviction throws waiting events away when memory is full"
            )),
        }
        warnings
    }
}

/// The value of `CONFIG GET`, if it was given.
fn setting(answer: Result<Value, Fault>) -> Option<String> {
    let pair: Vec<String> = from_redis_value(answer.ok()?).ok()?;
    pair.into_iter().nth(1)
}

/// The lines of `INFO`.
struct Info(HashMap<String, String>);

impl Info {
    fn read(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        let owned = pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Self(owned.collect())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.parse().ok()
    }

    /// What it calls itself. Valkey calls itself Redis 7.2.4 too.
    fn version(&self) -> String {
        match (self.text("valkey_version"), self.text("redis_version")) {
            (Some(valkey), _) => format!("Valkey {valkey}"),
            (None, Some(redis)) => format!("Redis {redis}"),
            (None, None) => "a server that does not tell its version".to_owned(),
        }
    }

    /// Major and minor of the Redis that it is compatible with. Whoever does not
    /// tell is not held up for it.
    fn release(&self) -> (u32, u32) {
        let Some(version) = self.text("redis_version") else {
            return OLDEST;
        };
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(aof: Option<bool>, fsync: Option<&str>, save: Option<&str>) -> Facts {
        Facts {
            address: Address {
                host: "r".to_owned(),
                port: 1,
            },
            version: "Redis 7.0.15".to_owned(),
            too_old: false,
            cluster: false,
            replicas: 0,
            is_replica: false,
            memory: Memory { used: 1, max: None },
            policy: Some("noeviction".to_owned()),
            aof,
            fsync: fsync.map(str::to_owned),
            save: save.map(str::to_owned),
        }
    }

    #[test]
    fn a_replica_is_said_to_take_no_batches() {
        let replica = Facts {
            is_replica: true,
            ..facts(Some(true), Some("always"), None)
        };
        let said = replica.warnings();
        assert!(said[0].contains("takes no batches"), "{said:?}");
    }

    #[test]
    fn each_way_of_keeping_data_says_what_a_crash_costs() {
        let says = |facts: Facts, words: &str| {
            let said = facts.durability();
            assert!(said.contains(words), "{said}");
        };
        says(facts(Some(true), Some("always"), None), "loses nothing");
        says(facts(Some(true), Some("everysec"), None), "second or two");
        says(facts(Some(true), Some("no"), None), "half minute");
        says(facts(Some(true), None, None), "does not show appendfsync");
        says(facts(Some(false), None, Some("")), "in memory only");
        says(facts(Some(false), None, Some("60 1")), "snapshots");
        says(facts(Some(false), None, None), "no append-only file");
        says(facts(None, None, None), "does not show whether");
    }

    #[test]
    fn an_old_server_and_one_that_evicts_are_refused() {
        let good = facts(Some(true), Some("always"), None);
        assert_eq!(good.refusal(false), None);
        let evicts = Facts {
            policy: Some("allkeys-lru".to_owned()),
            ..good.clone()
        };
        assert!(evicts.refusal(false).is_some());
        assert_eq!(evicts.refusal(true), None, "told otherwise");
        let old = Facts {
            too_old: true,
            ..good
        };
        assert!(old.refusal(true).is_some());
    }

    #[test]
    fn versions_are_read_as_each_product_writes_them() {
        let old = Info::read("redis_version:6.0.16\r\n");
        assert_eq!(old.version(), "Redis 6.0.16");
        assert!(old.release() < OLDEST);
        let valkey = Info::read("redis_version:7.2.4\r\nvalkey_version:8.1.3\r\n");
        assert_eq!(valkey.version(), "Valkey 8.1.3");
        assert!(valkey.release() >= OLDEST);
        assert!(Info::read("redis_version:10.0.0").release() >= OLDEST);
    }
}
