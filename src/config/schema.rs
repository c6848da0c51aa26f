//! Which keys exist. Derived from the structs themselves, so that it cannot
//! fall behind them.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{ArchivePlace, Config, Queue, Redis, Secret, Tcp};
use crate::batch::QueueName;
use crate::tls::ClientSettings;

/// A key's place: `["queues", "logstash", "output", "hosts"]`.
pub(super) type Path = Vec<String>;

/// The tables whose keys are names of the user's choice.
const NAMED: [&[&str]; 2] = [&["queues"], &["receivers", "tcp"]];

/// All keys.
#[derive(Debug)]
pub(super) struct Schema(Table);

impl Schema {
    pub(super) fn new() -> Self {
        let mut sample = Config {
            queues: BTreeMap::from([(QueueName::default(), queue())]),
            ..Config::default()
        };
        sample.admin.token = Some(Secret::new(""));
        sample.archive.place = Some(ArchivePlace::Off);
        sample.dead_letters.redis_list = Some(String::new());
        fill(&mut sample.spool.redis);
        sample.receivers.tcp = BTreeMap::from([("default".into(), Tcp::default())]);
        Self(Table::try_from(sample).expect("invariant: every setting can be written as TOML"))
    }

    /// What stands at `path`: a section, or a value of the setting's type.
    pub(super) fn at(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let mut found = self.0.get(first)?;
        for (depth, key) in rest.iter().enumerate() {
            found = child(found.as_table()?, &path[..=depth], key)?;
        }
        Some(found)
    }

    /// The path of `unknown` up to its first key that does not exist; `None` if
    /// all of it exists.
    pub(super) fn first_unknown<'p>(&self, unknown: &'p [String]) -> Option<&'p [String]> {
        (1..=unknown.len())
            .map(|len| &unknown[..len])
            .find(|path| self.at(path).is_none())
    }

    /// The existing path that `unknown`, of which only the last key is wrong, was
    /// most likely meant to be: a neighbour that looks alike, else the same key
    /// in another section, else the nearest neighbour.
    pub(super) fn nearest(&self, unknown: &[String]) -> Path {
        let (last, parent) = match unknown.split_last() {
            Some((last, parent)) => (last.as_str(), parent),
            None => ("", unknown),
        };
        let all = self.paths(parent);
        let likeness = |path: &&Path| strsim::jaro_winkler(last, &path[path.len() - 1]);
        let more_alike = |a: &&Path, b: &&Path| likeness(a).total_cmp(&likeness(b));
        let neighbour = all
            .iter()
            .filter(|path| path.len() == unknown.len() && path.starts_with(parent))
            .max_by(more_alike);
        let namesake = all.iter().find(|path| path.ends_with(&[last.to_owned()]));
        let lookalike = neighbour.filter(|path| likeness(path) >= 0.8);
        lookalike
            .or(namesake)
            .or(neighbour)
            .or_else(|| all.iter().max_by(more_alike))
            .cloned()
            .unwrap_or_default()
    }

    /// Every path there is; names of the user's choice are taken from `near`.
    fn paths(&self, near: &[String]) -> Vec<Path> {
        let mut found = Vec::new();
        collect(&self.0, &mut Vec::new(), near, &mut found);
        found
    }
}

/// Gives a value to all that may be absent.
fn fill(redis: &mut Redis) {
    redis.user = Some(String::new());
    redis.password = Some(Secret::new(""));
    redis.sentinel_master = Some(String::new());
    redis.sentinel_password = Some(Secret::new(""));
    redis.ca_file = Some("".into());
    redis.cert_file = Some("".into());
    redis.key_file = Some("".into());
}

/// A queue that has every setting.
fn queue() -> Queue {
    let mut queue = Queue::default();
    let http = &mut queue.output.http;
    http.user = Some(String::new());
    (http.password, http.token) = (Some(Secret::new("")), Some(Secret::new("")));
    queue.output.tls = ClientSettings {
        enabled: true,
        ca_file: Some("".into()),
        cert_file: Some("".into()),
        key_file: Some("".into()),
        server_name: Some("".into()),
    };
    queue
}

fn is_named(path: &[String]) -> bool {
    NAMED.iter().any(|named| path == *named)
}

fn child<'t>(table: &'t Table, parent: &[String], key: &str) -> Option<&'t Value> {
    if is_named(parent) {
        table.values().next()
    } else {
        table.get(key)
    }
}

fn collect(table: &Table, path: &mut Path, near: &[String], found: &mut Vec<Path>) {
    for (key, value) in table {
        let chosen = near
            .get(path.len())
            .filter(|_| is_named(path) && near.starts_with(path));
        path.push(chosen.unwrap_or(key).clone());
        found.push(path.clone());
        if let Value::Table(inner) = value {
            collect(inner, path, near, found);
        }
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest(unknown: &str) -> String {
        let path: Path = unknown.split('.').map(str::to_owned).collect();
        Schema::new().nearest(&path).join(".")
    }

    #[test]
    fn the_nearest_key_is_a_neighbour_then_a_namesake_then_the_most_alike() {
        assert_eq!(nearest("limits.max_batch_event"), "limits.max_batch_events");
        assert_eq!(nearest("reciever"), "receivers");
        assert_eq!(nearest("journal"), "spool.journal");
        assert_eq!(nearest("spool.sync"), "spool.journal.sync");
        assert_eq!(
            nearest("queues.audit.output.host"),
            "queues.audit.output.hosts"
        );
        assert_eq!(nearest("queues.audit.hosts"), "queues.audit.output.hosts");
        assert_eq!(
            nearest("receivers.tcp.apps.listn"),
            "receivers.tcp.apps.listen"
        );
        assert_eq!(nearest("admin.tokn"), "admin.token");
        assert_eq!(nearest("admin.x"), "admin.token");
    }

    #[test]
    fn names_of_queues_and_listeners_are_the_users_own() {
        let schema = Schema::new();
        let known = [
            "queues.audit.max_bytes",
            "receivers.tcp.apps.queue",
            "data_dir",
        ];
        for path in known {
            let path: Path = path.split('.').map(str::to_owned).collect();
            assert!(schema.first_unknown(&path).is_none(), "{path:?}");
        }
        let path = ["receivers".to_owned(), "grcp".into(), "listen".into()];
        assert_eq!(schema.first_unknown(&path), Some(&path[..2]));
    }
}
