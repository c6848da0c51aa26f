//! The addresses of a gateway, all bound before anything is served.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::{Config, ListenerKind};
use crate::status::Listener;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}, as {setting} says: {error}")]
pub struct BindError {
    setting: String,
    address: SocketAddr,
    error: io::Error,
}

#[derive(Debug)]
pub(super) struct Bound {
    pub(super) name: String,
    pub(super) kind: ListenerKind,
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
        for wanted in config.listeners() {
            let (listener, address) = bind(&wanted.setting(), wanted.address).await?;
            receivers.push(Bound {
                name: wanted.name,
                kind: wanted.kind,
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
