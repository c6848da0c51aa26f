//! Opening a connection to one address.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::tls;

/// Dead peers of idle connections are found within a minute. Blocked ones answer
/// keepalives and zero-window probes, and live. TCP_USER_TIMEOUT would reset a
/// live peer whose window is zero, and is not set.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// This machine has no socket, port or buffer left: says nothing about the
    /// endpoint.
    #[error("this machine cannot open a connection: {0}")]
    Local(io::Error),
    /// Refused, unreachable or the like.
    #[error("cannot connect: {0}")]
    Refused(io::Error),
    /// No answer.
    #[error("cannot connect: no answer within {0:?}")]
    Silent(Duration),
    /// It listens, and does not speak TLS as it should: the certificate is not
    /// trusted or for another name, ours is not taken, or it is no TLS at all.
    #[error("no TLS: {0}{advice}", advice = if_it_ended(.0))]
    Handshake(io::Error),
    /// It listens, and does not answer in TLS.
    #[error("no TLS: no answer within {0:?}; see whether TLS is switched on at the peer")]
    NoHandshake(Duration),
}

/// What to do about a handshake that was cut off.
fn if_it_ended(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            "; see whether TLS is switched on at the peer"
        }
        _ => "",
    }
}

/// Where a connection leads, and with which TLS.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    tls: Option<(tls::Client, ServerName<'static>)>,
}

impl Target {
    #[cfg(test)]
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// `host` is the name of the configuration, without the port.
    pub(super) fn new(
        address: SocketAddr,
        host: &str,
        tls: Option<&tls::Client>,
    ) -> Result<Self, tls::TlsError> {
        let with_name = |tls: &tls::Client| Ok((tls.clone(), tls.name_of(host)?));
        let tls = tls.map(with_name).transpose()?;
        Ok(Self { address, tls })
    }

    pub(super) fn session(&self) -> Result<Option<ClientConnection>, ConnectError> {
        let begin = |(tls, name): &(tls::Client, ServerName<'static>)| tls.session(name.clone());
        let begun = self.tls.as_ref().map(begin).transpose();
        begun.map_err(|error| ConnectError::Handshake(io::Error::other(error)))
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        if is_local(&error) {
            Self::Local(error)
        } else {
            Self::Refused(error)
        }
    }
}

fn is_local(error: &io::Error) -> bool {
    const LOCAL: [Errno; 5] = [
        Errno::ADDRNOTAVAIL,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
    ];
    Errno::from_io_error(error).is_some_and(|errno| LOCAL.contains(&errno))
}

/// Connects to `address`, with `TCP_NODELAY` and keepalive.
pub(super) async fn connect(
    address: SocketAddr,
    patience: Duration,
) -> Result<TcpStream, ConnectError> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
    let stream = timeout(patience, socket.connect(address))
        .await
        .map_err(|_| ConnectError::Silent(patience))??;
    refuse_self_connection(stream)
}

/// With nobody listening on a port of the ephemeral range, a connect on one
/// machine can pick that very port and meet itself. It must never be taken for
/// a listener that answers.
fn refuse_self_connection(stream: TcpStream) -> Result<TcpStream, ConnectError> {
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(ConnectError::Refused(
            io::ErrorKind::ConnectionRefused.into(),
        ));
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_ports_files_or_buffers_is_no_failure_of_the_endpoint() {
        let local = |errno: Errno| {
            matches!(
                ConnectError::from(io::Error::from(errno)),
                ConnectError::Local(_)
            )
        };
        assert!(local(Errno::ADDRNOTAVAIL) && local(Errno::MFILE));
        assert!(local(Errno::NFILE) && local(Errno::NOBUFS));
        assert!(!local(Errno::CONNREFUSED) && !local(Errno::HOSTUNREACH));
    }

    #[tokio::test]
    async fn a_connection_to_itself_is_taken_for_a_refusal() {
        let socket = TcpSocket::new_v4().expect("socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("bind");
        let own = socket.local_addr().expect("bound");
        let stream = socket.connect(own).await.expect("meets itself");
        assert!(matches!(
            refuse_self_connection(stream),
            Err(ConnectError::Refused(_))
        ));
    }
}
