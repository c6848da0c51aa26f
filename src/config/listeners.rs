//! The receivers' addresses, in one list: a receiver that is added here is
//! checked for clashes, tried by `check`, bound and started.

use std::net::SocketAddr;

use super::{Config, Lumberjack, Tcp};

/// A receiver that is switched on.
#[derive(Debug, Clone)]
pub struct Listener {
    /// `grpc`, `http`, `lumberjack`, or `tcp.NAME`.
    pub name: String,
    /// The address as configured; its port may be 0.
    pub address: SocketAddr,
    /// What listens there.
    pub kind: ListenerKind,
}

/// What listens at an address.
#[derive(Debug, Clone)]
pub enum ListenerKind {
    /// The gRPC receiver.
    Grpc,
    /// The HTTP receiver.
    Http,
    /// The lumberjack receiver.
    Lumberjack(Lumberjack),
    /// A TCP receiver.
    Tcp(Tcp),
}

impl Listener {
    /// The path of the setting that names the address.
    pub fn setting(&self) -> String {
        format!("receivers.{}.listen", self.name)
    }
}

impl Config {
    /// The receivers that are switched on.
    pub fn listeners(&self) -> Vec<Listener> {
        let (grpc, http) = (&self.receivers.grpc, &self.receivers.http);
        let mut listeners = Vec::new();
        if grpc.enabled {
            listeners.push(Listener {
                name: "grpc".into(),
                address: grpc.listen,
                kind: ListenerKind::Grpc,
            });
        }
        if http.enabled {
            listeners.push(Listener {
                name: "http".into(),
                address: http.listen,
                kind: ListenerKind::Http,
            });
        }
        let lumberjack = &self.receivers.lumberjack;
        if lumberjack.enabled {
            listeners.push(Listener {
                name: "lumberjack".into(),
                address: lumberjack.listen,
                kind: ListenerKind::Lumberjack(lumberjack.clone()),
            });
        }
        let tcp = self.receivers.tcp.iter().filter(|(_, tcp)| tcp.enabled);
        listeners.extend(tcp.map(|(name, tcp)| Listener {
            name: format!("tcp.{name}"),
            address: tcp.listen,
            kind: ListenerKind::Tcp(tcp.clone()),
        }));
        listeners
    }

    /// Every address that will be listened on, with its setting.
    pub fn listen_addresses(&self) -> Vec<(String, SocketAddr)> {
        let admin = ("admin.listen".to_owned(), self.admin.listen);
        let receivers = self.listeners().into_iter();
        let receivers = receivers.map(|listener| (listener.setting(), listener.address));
        std::iter::once(admin).chain(receivers).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_switched_off_is_not_listened_on() {
        let mut config = Config::default();
        config.receivers.http.enabled = false;
        let addresses = config.listen_addresses().into_iter();
        let settings: Vec<_> = addresses.map(|(setting, _)| setting).collect();
        assert_eq!(
            settings,
            [
                "admin.listen",
                "receivers.grpc.listen",
                "receivers.tcp.default.listen"
            ]
        );
    }
}
