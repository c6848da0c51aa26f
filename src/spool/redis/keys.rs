//! The names of all keys of a list.
//!
//! Every derived key carries the list's name as its hash tag, so that Redis Cluster
//! keeps it in the list's slot, and a script may touch it.
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `L` | list | the waiting elements, oldest first |
//! | `{L}:ledger` | hash | the books, in events, batches and bytes |
//! | `{L}:holders` | hash | id of each holder -> highest lease number it used |
//! | `{L}:holder:ID` | string | the holder's heartbeat; expires |
//! | `{L}:lease:ID` | hash | lease number -> element |
//! | `{L}:appender:ID` | hash | slot -> number of the last flush stored; expires after a day |
//! | `{L}:quarantine` | list | records found damaged |
//! | `{L}-2026/11/21` | list | the archive: what was settled of what was accepted that day |
//! | `{L}:archive` | hash | day -> bytes in its archive; `gone:` day -> elements taken from its head |

use super::archive::Day;

/// The set of all lists that were ever used, to find data that nobody sends.
pub(crate) const QUEUES: &str = "stashgate:queues";

/// The slot of what all gateways keep beside the queues.
pub(crate) const BESIDE: &str = "{stashgate}";

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) list: String,
    pub(super) ledger: String,
    pub(super) holders: String,
    pub(super) quarantine: String,
    pub(super) archive: String,
    /// What the keys of the archive's lists begin with; the day follows.
    pub(super) archives: String,
    /// What the key of a heartbeat begins with; the holder's id follows.
    pub(super) heartbeats: String,
    /// What the key of a holder's leases begins with.
    pub(super) leases: String,
}

impl Keys {
    pub(super) fn new(list: &str) -> Self {
        let derived = |what: &str| format!("{{{list}}}:{what}");
        Self {
            list: list.to_owned(),
            ledger: derived("ledger"),
            holders: derived("holders"),
            quarantine: derived("quarantine"),
            archive: derived("archive"),
            archives: format!("{{{list}}}-"),
            heartbeats: derived("holder:"),
            leases: derived("lease:"),
        }
    }

    pub(super) fn heartbeat(&self, id: &str) -> String {
        format!("{}{id}", self.heartbeats)
    }

    pub(super) fn leases(&self, id: &str) -> String {
        format!("{}{id}", self.leases)
    }

    pub(super) fn archive_of(&self, day: &Day) -> String {
        format!("{}{day}", self.archives)
    }

    pub(super) fn appender(&self, id: &str) -> String {
        format!("{{{}}}:appender:{id}", self.list)
    }
}

/// The lists that a queue's batches are appended to.
pub(super) fn lists(queue: &str, shards: usize) -> Vec<String> {
    match shards {
        0 | 1 => vec![queue.to_owned()],
        _ => (0..shards)
            .map(|shard| format!("{queue}.{shard}"))
            .collect(),
    }
}

/// Whether `list` is one that `queue` has with some number of shards.
pub(crate) fn is_of(list: &str, queue: &str) -> bool {
    match list.strip_prefix(queue) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix('.')
            .is_some_and(|shard| shard.parse::<u32>().is_ok_and(|n| n.to_string() == shard)),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_knows_its_lists_of_any_number_of_shards() {
        assert_eq!(lists("logstash", 1), ["logstash"]);
        assert_eq!(lists("logstash", 2), ["logstash.0", "logstash.1"]);
        for list in ["logstash", "logstash.0", "logstash.17"] {
            assert!(is_of(list, "logstash"), "{list}");
        }
        for list in ["logstash2", "logstash.", "logstash.01", "logstash.x", "log"] {
            assert!(!is_of(list, "logstash"), "{list}");
        }
    }
}
