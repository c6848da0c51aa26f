//! What differs between two configurations, key by key.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use toml::{Table, Value};

use super::schema::Path;
use super::{Config, Secret};

/// A setting that differs. Secrets are not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path; that of a whole section if only one side has the section.
    pub key: String,
    /// The old value as TOML; `None`: there was none.
    pub old: Option<String>,
    /// The new value as TOML; `None`: there is none.
    pub new: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".into());
        write!(
            f,
            "{}: {} -> {}",
            self.key,
            value(&self.old),
            value(&self.new)
        )
    }
}

impl Config {
    /// What is different in `new`, in the order of the keys.
    pub fn changes(&self, new: &Self) -> Vec<Change> {
        let mut found = Vec::new();
        compare(&mut Path::new(), &self.table(), &new.table(), &mut found);
        found.extend(self.changed_secrets(new));
        found
    }

    /// As TOML one secret looks like another.
    fn changed_secrets(&self, new: &Self) -> impl Iterator<Item = Change> {
        let (redis, new_redis) = (&self.spool.redis, &new.spool.redis);
        let url_looks_alike = redis.url.to_string() == new_redis.url.to_string();
        let secrets = [
            ("admin.token", differ(&self.admin.token, &new.admin.token)),
            (
                "spool.redis.password",
                differ(&redis.password, &new_redis.password),
            ),
            (
                "spool.redis.sentinel_password",
                differ(&redis.sentinel_password, &new_redis.sentinel_password),
            ),
            (
                "spool.redis.url",
                url_looks_alike && redis.url != new_redis.url,
            ),
        ];
        let secrets = secrets.map(|(key, differ)| (key.to_owned(), differ));
        let all = secrets.into_iter().chain(self.secrets_of_outputs(new));
        let changed = all.filter(|(_, differ)| *differ);
        changed.map(|(key, _)| Change {
            key,
            old: Some("(hidden)".into()),
            new: Some("(hidden)".into()),
        })
    }

    fn secrets_of_outputs(&self, new: &Self) -> Vec<(String, bool)> {
        let both = self.queues.iter().filter_map(|(name, queue)| {
            let new = &new.queues.get(name)?.output.http;
            Some((name, &queue.output.http, new))
        });
        let found = both.flat_map(|(name, old, new)| {
            let key = |key: &str| format!("queues.{name}.output.http.{key}");
            [
                (key("password"), differ(&old.password, &new.password)),
                (key("token"), differ(&old.token, &new.token)),
            ]
        });
        found.collect()
    }

    fn table(&self) -> Table {
        // A path need not be text, TOML has to be.
        let as_text = |path: &PathBuf| path.to_string_lossy().into_owned().into();
        let mut shown = self.clone();
        shown.data_dir = as_text(&self.data_dir);
        let redis = &mut shown.spool.redis;
        for file in [
            &mut redis.ca_file,
            &mut redis.cert_file,
            &mut redis.key_file,
        ] {
            *file = file.as_ref().map(as_text);
        }
        Table::try_from(shown).expect("invariant: every setting can be written as TOML")
    }
}

fn differ(old: &Option<Secret>, new: &Option<Secret>) -> bool {
    old.is_some() && new.is_some() && old != new
}

fn compare(path: &mut Path, old: &Table, new: &Table, found: &mut Vec<Change>) {
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        path.push(key.clone());
        match (old.get(key), new.get(key)) {
            (Some(Value::Table(old)), Some(Value::Table(new))) => compare(path, old, new, found),
            (old, new) if old != new => found.push(Change {
                key: path.join("."),
                old: old.map(Value::to_string),
                new: new.map(Value::to_string),
            }),
            _ => {}
        }
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Queue, RedisUrl};

    fn said(old: &Config, new: &Config) -> Vec<String> {
        old.changes(new).iter().map(Change::to_string).collect()
    }

    #[test]
    fn a_change_is_named_by_its_key_with_both_values() {
        let old = Config::default();
        let mut new = old.clone();
        assert_eq!(said(&old, &new), Vec::<String>::new());
        new.limits.max_batch_events = 5;
        new.receivers.http.cors_origins = vec!["*".into()];
        let expected = [
            "limits.max_batch_events: 10000 -> 5",
            "receivers.http.cors_origins: [] -> [\"*\"]",
        ];
        assert_eq!(said(&old, &new), expected);
    }

    #[test]
    fn a_queue_that_comes_or_goes_is_one_change() {
        let old = Config::default();
        let mut new = old.clone();
        let name = "audit".parse().expect("a name");
        new.queues.insert(name, Queue::default());
        let [change] = &old.changes(&new)[..] else {
            panic!("{:?}", old.changes(&new));
        };
        assert_eq!((change.key.as_str(), &change.old), ("queues.audit", &None));
        assert_eq!(new.changes(&old)[0].new, None);
    }

    #[test]
    fn a_new_token_is_a_change_and_never_shown() {
        let with = |token: Option<&str>| {
            let mut config = Config::default();
            config.admin.token = token.map(Secret::new);
            config
        };
        let changes = [
            said(&with(None), &with(Some("first-secret"))),
            said(&with(Some("first-secret")), &with(Some("other-secret"))),
            said(&with(Some("other-secret")), &with(None)),
        ];
        for change in changes {
            assert!(
                change.len() == 1 && change[0].starts_with("admin.token: "),
                "{change:?}"
            );
            assert!(!change[0].contains("secret"), "{change:?}");
        }
        assert_eq!(
            said(&with(Some("same")), &with(Some("same"))),
            Vec::<String>::new()
        );
    }
    #[test]
    fn another_password_of_redis_is_a_change_and_never_shown() {
        let with = |url: &str, password: &str| {
            let mut config = Config::default();
            config.spool.redis.url = RedisUrl::new(url);
            config.spool.redis.password = Some(Secret::new(password));
            config
        };
        let old = with("redis://u:first-secret@a.example", "third-secret");
        let new = with("redis://u:other-secret@a.example", "fourth-secret");
        let expected = [
            "spool.redis.password: (hidden) -> (hidden)",
            "spool.redis.url: (hidden) -> (hidden)",
        ];
        assert_eq!(said(&old, &new), expected);
        let moved = with("redis://u:first-secret@b.example", "third-secret");
        let expected = r#"spool.redis.url: "redis://(hidden)@a.example:6379" -> "redis://(hidden)@b.example:6379""#;
        assert_eq!(said(&old, &moved), [expected]);
        assert_eq!(said(&old, &old), Vec::<String>::new());
    }
}
