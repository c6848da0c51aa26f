//! `[spool.redis]`: the Redis that many gateways share.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use deadpool_redis::redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use serde::{Deserialize, Serialize, Serializer};

use super::Secret;
use super::units::{self, SecretText};
use crate::spool::redis::element::Compression;

/// `[spool.redis]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redis {
    /// Where it is, with the database, and whether TLS is spoken.
    pub url: RedisUrl,
    /// The ACL user; `None`: the one in the URL, else Redis' default user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its password; `None`: the one in the URL, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// The Sentinels that know where the master is; then the URL's host is not asked.
    pub sentinels: Vec<String>,
    /// What the Sentinels call the master.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel_master: Option<String>,
    /// The Sentinels' own password, if they have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentinel_password: Option<Secret>,
    /// Some nodes of a Redis Cluster; then the URL's host is not asked.
    pub cluster_nodes: Vec<String>,
    /// PEM file of the authorities that vouch for Redis; `None`: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// PEM file of our own certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Lists that each queue is spread over.
    pub shards: usize,
    /// Whether batches go to the local journal while Redis takes none.
    pub spill: bool,
    /// Replicas that have to have a batch before it is answered.
    pub min_replicas: u32,
    /// How long a gateway may be silent before others take its batches back.
    #[serde(with = "units::duration")]
    pub heartbeat: Duration,
    /// Most connections to each server.
    pub pool_size: usize,
    /// Pipelines of appends under way at a time, for each list.
    pub pipeline_depth: usize,
    /// How batches are stored.
    pub compression: Compression,
    /// Whether a Redis that may evict keys is taken.
    pub allow_eviction: bool,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: RedisUrl::new("redis://127.0.0.1:6379"),
            user: None,
            password: None,
            sentinels: Vec::new(),
            sentinel_master: None,
            sentinel_password: None,
            cluster_nodes: Vec::new(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            shards: 1,
            spill: true,
            min_replicas: 0,
            heartbeat: Duration::from_secs(30),
            pool_size: 16,
            pipeline_depth: 4,
            compression: Compression::default(),
            allow_eviction: false,
        }
    }
}

/// The URL of a Redis. It may hold a password, so what it shows is without.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "SecretText")]
pub struct RedisUrl(String);

impl From<SecretText> for RedisUrl {
    fn from(SecretText::Text(value): SecretText) -> Self {
        Self(value)
    }
}

impl RedisUrl {
    /// Holds `url`, whatever it is.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The whole of it, for connecting.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Its parts; `None`: it is no URL that can be used.
    pub(super) fn parts(&self) -> Option<ConnectionInfo> {
        let parts = self.0.as_str().into_connection_info().ok()?;
        let usable = match parts.addr() {
            ConnectionAddr::Tcp(..) => true,
            // Of `#insecure` nothing would come: certificates are always looked at.
            ConnectionAddr::TcpTls { insecure, .. } => !insecure,
            _ => false,
        };
        usable.then_some(parts)
    }

    /// Whether it holds a user or password.
    pub(super) fn has_credentials(&self) -> bool {
        self.parts().is_some_and(|parts| has_credentials(&parts))
    }

    /// Whether it asks for TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        let is_tls = |parts: ConnectionInfo| matches!(parts.addr(), ConnectionAddr::TcpTls { .. });
        self.parts().is_some_and(is_tls)
    }

    /// Whether it names this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let parts = self.parts();
        let place = parts.as_ref().and_then(|parts| place(parts.addr()));
        place.is_some_and(|(host, _)| is_loopback(host))
    }

    /// Host and port; empty if it is no URL.
    pub fn host(&self) -> String {
        let parts = self.parts();
        let place = parts.as_ref().and_then(|parts| place(parts.addr()));
        match place {
            Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() => format!("[{host}]:{port}"),
            Some((host, port)) => format!("{host}:{port}"),
            None => String::new(),
        }
    }

    /// The number of the database.
    pub fn database(&self) -> i64 {
        let parts = self.parts();
        parts.map_or(0, |parts| parts.redis_settings().db())
    }
}

fn place(address: &ConnectionAddr) -> Option<(&str, u16)> {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host, *port))
        }
        _ => None,
    }
}

/// Whether `host` is a name or an address of this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let ip = host.parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

fn has_credentials(parts: &ConnectionInfo) -> bool {
    let redis = parts.redis_settings();
    redis.username().is_some() || redis.password().is_some()
}

/// Put together from what may be seen; what is no URL is not shown at all.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(parts) = self.parts() else {
            return f.write_str("(hidden)");
        };
        let scheme = if self.is_encrypted() {
            "rediss"
        } else {
            "redis"
        };
        let hidden = match has_credentials(&parts) {
            true => "(hidden)@",
            false => "",
        };
        write!(f, "{scheme}://{hidden}{}", self.host())?;
        match self.database() {
            0 => Ok(()),
            database => write!(f, "/{database}"),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_opens_it() {
        let shown = [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://a.example", "redis://a.example:6379"),
            ("redis://[::1]:7000/0", "redis://[::1]:7000"),
            (
                "rediss://u:pw@a.example:1/2",
                "rediss://(hidden)@a.example:1/2",
            ),
            (
                "redis://:p%40w@a.example",
                "redis://(hidden)@a.example:6379",
            ),
            ("redis+unix:///run/r.sock?pass=p@w", "(hidden)"),
            ("rediss://u:pw@a.example#insecure", "(hidden)"),
            ("redis://u:p/w@a.example", "(hidden)"),
            ("pw", "(hidden)"),
        ];
        for (url, expected) in shown {
            let url = RedisUrl::new(url);
            assert_eq!(format!("{url}"), expected);
            assert_eq!(format!("{url:?}"), expected);
        }
    }

    #[test]
    fn a_url_knows_whether_it_stays_on_this_machine() {
        for near in ["redis://localhost", "rediss://[::1]:7000"] {
            assert!(RedisUrl::new(near).is_loopback(), "{near}");
        }
        for far in [
            "redis://10.0.0.7",
            "redis://a.example:6379",
            "http://localhost",
        ] {
            assert!(!RedisUrl::new(far).is_loopback(), "{far}");
        }
    }
}
