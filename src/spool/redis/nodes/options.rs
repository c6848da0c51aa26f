//! Where Redis is and how one logs in: from words to addresses.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use deadpool_redis::redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, TlsCertificates, io::tcp::TcpSettings,
};

/// The port of a Sentinel whose address names none.
const SENTINEL_PORT: u16 = 26379;
/// The port of a data node whose address names none.
const DATA_PORT: u16 = 6379;

/// Where Redis is, and how one logs in; from the configuration.
#[derive(Clone)]
pub struct ServerOptions {
    /// `redis://[user[:password]@]host[:port][/db]`, or `rediss://` for TLS. With
    /// `sentinels` or `cluster`, all but host and port of it holds: how the data
    /// nodes are spoken to.
    pub url: String,
    /// The ACL user, instead of one in `url`.
    pub user: Option<String>,
    /// The password, instead of one in `url`.
    pub password: Option<String>,
    /// The Sentinels, each as `host[:port]`; spoken to with TLS if `url` says so.
    pub sentinels: Vec<String>,
    /// What the Sentinels call the master.
    pub sentinel_master: String,
    /// The Sentinels' own password.
    pub sentinel_password: Option<String>,
    /// Some nodes of a Redis Cluster, each as `host[:port]`; they name the others.
    pub cluster: Vec<String>,
    /// The CA to trust, as PEM, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, as PEM; with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The client's key, as PEM; with `cert_file`.
    pub key_file: Option<PathBuf>,
    /// Most connections to one node.
    pub pool_size: usize,
    /// How long making a connection, or waiting for one of the pool, may take.
    pub connect_timeout: Duration,
    /// How long an answer may take before the connection counts as lost.
    pub response_timeout: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            user: None,
            password: None,
            sentinels: Vec::new(),
            sentinel_master: "mymaster".to_owned(),
            sentinel_password: None,
            cluster: Vec::new(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            pool_size: 16,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(2),
        }
    }
}

/// Everything but the secrets.
impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("sentinels", &self.sentinels)
            .field("cluster", &self.cluster)
            .field("pool_size", &self.pool_size)
            .finish_non_exhaustive()
    }
}

/// Why the settings cannot be used. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum BadServer {
    /// `url` cannot be read.
    #[error("the url is not of the form redis://[user[:password]@]host[:port][/db]: {0}")]
    Url(String),
    /// An address of `sentinels` or `cluster` cannot be read.
    #[error("{0:?} is not of the form host[:port]")]
    Address(String),
    /// Both `sentinels` and `cluster` are given.
    #[error("sentinels and cluster exclude each other: a cluster fails over by itself")]
    SentinelsAndCluster,
    /// A cluster has database 0 only.
    #[error("the url names database {0}, but a cluster has only database 0")]
    Database(i64),
    /// A user without a password.
    #[error("there is a user, but no password")]
    UserWithoutPassword,
    /// TLS files without TLS.
    #[error("there are TLS files, but the url does not begin with rediss://")]
    FilesWithoutTls,
    /// Certificate without key, or the reverse.
    #[error("cert_file and key_file belong together; one of them is missing")]
    HalfACertificate,
    /// A TLS file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// A TLS file's content cannot be used.
    #[error("cannot use the TLS files: {0}")]
    Tls(String),
}

/// Host and port of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address, the latter without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Address {
    /// Reads `host`, `host:port`, `v6`, `[v6]` or `[v6]:port`.
    pub(super) fn parse(text: &str, default_port: u16) -> Option<Self> {
        let bare_v6 = text.parse::<std::net::Ipv6Addr>().is_ok();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !bare_v6 && !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (text, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_host = !host.is_empty() && !host.contains(['/', '@', ' ']);
        is_host.then(|| Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Who tells where the master of a list is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Single(Address),
    Sentinel {
        sentinels: Vec<Address>,
        master: String,
    },
    Cluster(Vec<Address>),
}

/// Who one is there.
#[derive(Clone, Default)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: i64,
}

/// The settings, read and checked.
pub(super) struct Settings {
    pub(super) place: Place,
    pub(super) login: Login,
    pub(super) sentinel_login: Login,
    /// The form of an address that carries the TLS parameters.
    template: ConnectionAddr,
}

impl Settings {
    /// Reads the TLS files; connects to nothing.
    pub(super) fn read(options: &ServerOptions) -> Result<Self, BadServer> {
        let url = options.url.as_str().into_connection_info();
        let url = url.map_err(|error| BadServer::Url(error.to_string()))?;
        let login = login(options, &url)?;
        let place = place(options, url.addr())?;
        if matches!(place, Place::Cluster(_)) && login.db != 0 {
            return Err(BadServer::Database(login.db));
        }
        Ok(Self {
            place,
            login,
            sentinel_login: Login {
                password: options.sentinel_password.clone(),
                ..Login::default()
            },
            template: template(options, url)?,
        })
    }

    /// How `address` is connected to. Nobody is logged in by that: the crate's
    /// own login throws the server's words away.
    pub(super) fn info(&self, address: &Address) -> ConnectionInfo {
        let Address { host, port } = address.clone();
        let addr = match &self.template {
            ConnectionAddr::TcpTls { tls_params, .. } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        let plain = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        let info = addr.into_connection_info();
        info.expect("invariant: an address alone is always connection info")
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(plain)
    }
}

fn login(options: &ServerOptions, url: &ConnectionInfo) -> Result<Login, BadServer> {
    let of_url = url.redis_settings();
    let own = |value: Option<&str>| value.map(str::to_owned);
    let login = Login {
        user: options.user.clone().or_else(|| own(of_url.username())),
        password: options.password.clone().or_else(|| own(of_url.password())),
        db: of_url.db(),
    };
    if login.user.is_some() && login.password.is_none() {
        return Err(BadServer::UserWithoutPassword);
    }
    Ok(login)
}

fn place(options: &ServerOptions, url: &ConnectionAddr) -> Result<Place, BadServer> {
    match (options.sentinels.is_empty(), options.cluster.is_empty()) {
        (false, false) => Err(BadServer::SentinelsAndCluster),
        (false, true) => Ok(Place::Sentinel {
            sentinels: addresses(&options.sentinels, SENTINEL_PORT)?,
            master: options.sentinel_master.clone(),
        }),
        (true, false) => Ok(Place::Cluster(addresses(&options.cluster, DATA_PORT)?)),
        (true, true) => single(url),
    }
}

fn single(url: &ConnectionAddr) -> Result<Place, BadServer> {
    match url {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Ok(Place::Single(Address {
                host: host.clone(),
                port: *port,
            }))
        }
        _ => Err(BadServer::Url("only TCP is supported".to_owned())),
    }
}

fn addresses(texts: &[String], default_port: u16) -> Result<Vec<Address>, BadServer> {
    let read = |text: &String| {
        Address::parse(text, default_port).ok_or_else(|| BadServer::Address(text.clone()))
    };
    texts.iter().map(read).collect()
}

/// An address with the TLS parameters in it, which only the crate can make.
fn template(options: &ServerOptions, url: ConnectionInfo) -> Result<ConnectionAddr, BadServer> {
    let files = [&options.ca_file, &options.cert_file, &options.key_file];
    if !matches!(url.addr(), ConnectionAddr::TcpTls { .. }) {
        let none = files.iter().all(|file| file.is_none());
        return none
            .then(|| url.addr().clone())
            .ok_or(BadServer::FilesWithoutTls);
    }
    let [root_cert, client_cert, client_key] = files.map(|file| file.as_ref().map(content));
    let client_tls = match (client_cert.transpose()?, client_key.transpose()?) {
        (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig {
            client_cert,
            client_key,
        }),
        (None, None) => None,
        _ => return Err(BadServer::HalfACertificate),
    };
    let certificates = TlsCertificates {
        client_tls,
        root_cert: root_cert.transpose()?,
    };
    let client = Client::build_with_tls(url, certificates);
    let client = client.map_err(|error| BadServer::Tls(error.to_string()))?;
    Ok(client.get_connection_info().addr().clone())
}

fn content(path: &PathBuf) -> Result<Vec<u8>, BadServer> {
    std::fs::read(path).map_err(|source| BadServer::File {
        path: path.clone(),
        source,
    })
}
