//! Accepts connections: no more than are allowed, whatever `accept` says.
//!
//! - At the limit no connection is accepted until one ends; the kernel's backlog
//!   holds the others.
//! - An error of `accept` never ends a listener. Errors of one connection are
//!   passed over; others (out of files, out of memory) are waited out.
//! - A client that connects and says nothing keeps its place only as long as
//!   whoever serves it wants.
//!
//! All that is read and written passes [`Socket`]: whatever has to be agreed on
//! before the first byte of a protocol (TLS) belongs into it, and inside the time
//! that a greeting may take.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::log::SharedComplaints;

/// A peer that vanished is noticed after 45 s + 3 x 10 s of silence.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(45))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// HTTP/2's preface; no whole request of HTTP/1.1 is shorter.
const GREETING_BYTES: usize = 24;
/// How long a greeting may take.
const GREETING_TIME: Duration = Duration::from_secs(30);

const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A listener that knows how many connections it may have.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    name: &'static str,
    refused: SharedComplaints,
    crowded: SharedComplaints,
}

impl Acceptor {
    /// `name`: what the log calls it.
    pub(crate) fn new(listener: TcpListener, max_connections: usize, name: &'static str) -> Self {
        let slots = max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            listener,
            slots: Arc::new(Semaphore::new(slots)),
            name,
            refused: SharedComplaints::default(),
            crowded: SharedComplaints::default(),
        }
    }

    /// The next connection. Cancel safe.
    pub(crate) async fn accept(&self) -> Socket {
        let slot = self.slot().await;
        let mut backoff = BACKOFF_MIN;
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.refused.recovered();
                    return Socket::new(stream, peer, slot);
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    if let Some(times) = self.refused.failed() {
                        tracing::warn!(listener = self.name, times, %error, "cannot accept connections; trying again");
                    }
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return Some(slot);
        }
        if let Some(times) = self.crowded.failed() {
            tracing::warn!(
                listener = self.name,
                times,
                "as many connections as there may be (limits.max_connections, for a receiver); more are accepted when one ends"
            );
        }
        // The semaphore is never closed: there is always a slot in the end.
        self.slots.clone().acquire_owned().await.ok()
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// A client's connection, with its place among those allowed.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    peer: SocketAddr,
    greeting: Option<Greeting>,
    _slot: Option<OwnedSemaphorePermit>,
}

/// What a client has to say before a connection counts as one.
#[derive(Debug)]
struct Greeting {
    missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Socket {
    fn new(stream: TcpStream, peer: SocketAddr, slot: Option<OwnedSemaphorePermit>) -> Self {
        let options = stream
            .set_nodelay(true)
            .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE));
        if let Err(error) = options {
            tracing::debug!(%peer, %error, "a connection keeps its default socket options");
        }
        Self {
            stream,
            peer,
            greeting: None,
            _slot: slot,
        }
    }

    /// Reading fails unless the client greets in time. HTTP has timeouts of its
    /// own only from the moment its version is known.
    pub(crate) fn expect_greeting(mut self) -> Self {
        self.greeting = Some(Greeting {
            missing: GREETING_BYTES,
            deadline: Box::pin(tokio::time::sleep(GREETING_TIME)),
        });
        self
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Makes the end of the connection a reset, which tells the client that not
    /// all is well.
    pub(crate) fn reset(self) {
        if let Err(error) = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(peer = %self.peer, %error, "a connection is closed instead of reset");
        }
    }

    fn poll_greeting(&mut self, cx: &mut Context<'_>, read: usize) -> io::Result<()> {
        let Some(greeting) = &mut self.greeting else {
            return Ok(());
        };
        greeting.missing = greeting.missing.saturating_sub(read);
        if greeting.missing == 0 {
            self.greeting = None;
        } else if greeting.deadline.as_mut().poll(cx).is_ready() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let count = buf.filled().len() - before;
        self.poll_greeting(cx, count)?;
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
