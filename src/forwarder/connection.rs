//! A connection on which nobody answers: bytes go out, and all that can come in is
//! the end. Over TLS alerts can come in, too, and end it.

mod secured;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::connect::{ConnectError, Target, connect};
use super::outcome::Unknown;
use super::vigil::Vigil;
use secured::{Secured, receive};

/// Reads in one look before it is called open all the same: a peer that floods
/// us must not hold us.
const READS_PER_LOOK: usize = 16;

/// What a look at the socket saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// No FIN has arrived.
    Open,
    /// The peer closed its side.
    Closed,
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    secured: Option<Box<Secured>>,
    peer: SocketAddr,
    opened: Instant,
    ignored: AtomicU64,
}

impl Connection {
    /// With its TLS, if `target` has one; all of it within `patience`.
    pub(super) async fn open(target: &Target, patience: Duration) -> Result<Self, ConnectError> {
        let deadline = Instant::now() + patience;
        let stream = connect(target.address, patience).await?;
        let secured = target.session()?.map(Secured::new).map(Box::new);
        if let Some(secured) = &secured {
            timeout_at(deadline, secured.handshake(&stream))
                .await
                .map_err(|_| ConnectError::NoHandshake(patience))?
                .map_err(ConnectError::Handshake)?;
        }
        Ok(Self {
            peer: stream.peer_addr()?,
            stream,
            secured,
            opened: Instant::now(),
            ignored: AtomicU64::new(0),
        })
    }

    /// The very address this connection leads to, whatever its name resolves to now.
    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Bytes the peer sent, which nobody asked for.
    pub(super) fn ignored(&self) -> u64 {
        self.ignored.load(Ordering::Relaxed)
    }

    /// Waits until something arrives; how many bytes of it are in `buffer`, 0 when
    /// the peer closed. Cancel safe.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let blocks = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        loop {
            match self.receive(buffer) {
                Err(error) if blocks(&error) => {}
                received => return received,
            }
            self.stream.readable().await?;
            let receive = || self.receive(buffer);
            match self.stream.try_io(Interest::READABLE, receive) {
                Err(error) if blocks(&error) => {}
                received => return received,
            }
        }
    }

    /// Waits until the kernel takes some of `bytes`; how many. With none, until it
    /// has all that was given. Cancel safe.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return written,
            }
        }
    }

    /// Looks at the socket with a system call of its own. What the runtime knows
    /// of the socket's readiness is as old as its last turn, which after a pause
    /// of the process is before the pause.
    ///
    /// An error ends the connection: it is reported once, and later looks would
    /// see a plain end.
    pub(super) fn look(&self) -> io::Result<Seen> {
        let mut scrap = [0; 1024];
        for _ in 0..READS_PER_LOOK {
            match self.receive(&mut scrap) {
                Ok(0) => return Ok(Seen::Closed),
                Ok(n) => {
                    self.ignored.fetch_add(n as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Seen::Open),
                Err(error) => return Err(error),
            }
        }
        Ok(Seen::Open)
    }

    /// What has arrived, by a system call of its own; 0: the peer closed.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.secured {
            None => receive(&self.stream, buffer),
            Some(secured) => secured.receive(&self.stream, buffer),
        }
    }

    /// Waits until something arrives, at most for `patience`.
    pub(super) async fn look_when_ready(&self, patience: Duration) -> io::Result<Seen> {
        match timeout(patience, self.stream.readable()).await {
            Err(_) => Ok(Seen::Open),
            Ok(ready) => {
                ready?;
                self.look_once_ready()
            }
        }
    }

    /// A look that also tells the runtime that nothing is left to read.
    fn look_once_ready(&self) -> io::Result<Seen> {
        let mut seen = Seen::Open;
        let looked = self.stream.try_io(Interest::READABLE, || {
            seen = self.look()?;
            match seen {
                Seen::Open => Err(io::ErrorKind::WouldBlock.into()),
                Seen::Closed => Ok(()),
            }
        });
        match looked {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(seen),
        }
    }

    /// Ends when the connection does, and says how. Cancel safe.
    pub(super) async fn ended(&self) -> Unknown {
        loop {
            let looked = match self.stream.readable().await {
                Ok(()) => self.look_once_ready(),
                Err(error) => Err(error),
            };
            match looked {
                Ok(Seen::Open) => {}
                Ok(Seen::Closed) => return Unknown::ClosedEarly,
                Err(error) => return Unknown::Reset(error),
            }
        }
    }

    /// Gives all of `bytes` to the kernel, waiting for a blocked peer; stops when
    /// the peer ends the connection.
    pub(super) async fn write_all(
        &self,
        mut bytes: &[u8],
        vigil: &Vigil<'_>,
    ) -> Result<(), Unknown> {
        loop {
            match self.try_write(bytes) {
                Ok(0) if bytes.is_empty() => return Ok(()),
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::select! {
                        biased;
                        end = self.ended() => return Err(end),
                        writable = vigil.patiently(self.stream.writable()) => {
                            writable?.map_err(Unknown::Reset)?;
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Unknown::Reset(error)),
            }
        }
    }

    /// Gives some of `bytes` to the kernel; with none left, what TLS still holds.
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.secured {
            None if bytes.is_empty() => Ok(0),
            None => self.stream.try_write(bytes),
            Some(secured) => secured.try_write(&self.stream, bytes),
        }
    }

    /// Whether TLS has taken bytes that the kernel has not got yet.
    pub(super) fn holds_some(&self) -> bool {
        self.secured
            .as_ref()
            .is_some_and(|secured| secured.holds_some())
    }

    /// Ends our side: FIN goes out behind the last byte. Without TLS only: what a
    /// close proves over TLS was not measured, and `config` refuses it.
    pub(super) fn half_close(&self) -> io::Result<()> {
        SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write)
    }

    /// Whether the peer's kernel acknowledged all our bytes and our FIN. To be
    /// asked after [`Seen::Closed`]: only then is the socket past both FINs, where
    /// the kernel forgets the peer. With anything unacknowledged it still
    /// knows it.
    pub(super) fn is_acknowledged(&self) -> io::Result<bool> {
        let forgotten = match self.stream.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => true,
            Err(error) => return Err(error),
            Ok(_) => false,
        };
        match self.stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(forgotten),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(secured) = &self.secured {
            secured.farewell(&self.stream);
        }
    }
}
