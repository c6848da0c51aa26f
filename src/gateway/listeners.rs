//! The addresses of a gateway, all bound before anything is served.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::{self, Config};
use crate::status::Listener;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}, as {setting} says: {error}")]
pub struct BindError {
    setting: String,
    address: SocketAddr,
    error: io::Error,
}

/// What one receiver needs to start.
#[derive(Debug)]
pub(super) enum Kind {
    Grpc,
    Http,
    Tcp(config::Tcp),
}

#[derive(Debug)]
pub(super) struct Bound {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) listener: TcpListener,
    address: SocketAddr,
}

#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) admin: TcpListener,
    admin_address: SocketAddr,
    pub(super) receivers: Vec<Bound>,
}

impl Listeners {
    pub(super) async fn bind(config: &Config) -> Result<Self, BindError> {
        let (admin, admin_address) = bind("admin.listen", config.admin.listen).await?;
        let mut receivers = Vec::new();
        for (name, address, kind) in wanted(config) {
            let (listener, address) = bind(&format!("receivers.{name}.listen"), address).await?;
            receivers.push(Bound {
                name,
                kind,
                listener,
                address,
            });
        }
        Ok(Self {
            admin,
            admin_address,
            receivers,
        })
    }

    /// Their names and the addresses they really have.
    pub(super) fn names(&self) -> Vec<Listener> {
        let admin = Listener {
            name: "admin".into(),
            address: self.admin_address,
        };
        let receivers = self.receivers.iter().map(|bound| Listener {
            name: bound.name.clone(),
            address: bound.address,
        });
        std::iter::once(admin).chain(receivers).collect()
    }
}

fn wanted(config: &Config) -> Vec<(String, SocketAddr, Kind)> {
    let receivers = &config.receivers;
    let mut wanted = Vec::new();
    if receivers.grpc.enabled {
        wanted.push(("grpc".to_owned(), receivers.grpc.listen, Kind::Grpc));
    }
    if receivers.http.enabled {
        wanted.push(("http".to_owned(), receivers.http.listen, Kind::Http));
    }
    let tcp = receivers.tcp.iter().filter(|(_, tcp)| tcp.enabled);
    wanted
        .extend(tcp.map(|(name, tcp)| (format!("tcp.{name}"), tcp.listen, Kind::Tcp(tcp.clone()))));
    wanted
}

async fn bind(setting: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|error| BindError {
        setting: setting.to_owned(),
        address,
        error,
    })
}
