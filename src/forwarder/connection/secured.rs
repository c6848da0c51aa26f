//! The TLS of a connection, driven by hand, so that one task can wait for what
//! arrives while another writes, and a look at the socket stays a system call.
//!
//! The lock is held for single steps, none of which waits.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::RecvFlags;
use rustls::ClientConnection;
use tokio::net::TcpStream;

#[derive(Debug)]
pub(super) struct Secured(Mutex<ClientConnection>);

/// The socket as rustls wants it. Neither side ever waits.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        receive(self.0, buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the kernel has for us, by a system call of its own.
pub(super) fn receive(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((_, n)) => return Ok(n),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Secured {
    /// Nothing is sent yet.
    pub(super) fn new(session: ClientConnection) -> Self {
        Self(Mutex::new(session))
    }

    fn session(&self) -> MutexGuard<'_, ClientConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Agrees with the peer on keys, and verifies that it is who it should be.
    pub(super) async fn handshake(&self, socket: &TcpStream) -> io::Result<()> {
        loop {
            self.flush(socket).await?;
            if !self.session().is_handshaking() {
                return Ok(());
            }
            socket.readable().await?;
            let arrived = socket.try_io(tokio::io::Interest::READABLE, || {
                take_in(&mut self.session(), socket)
            });
            match arrived {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }

    /// Encrypts some of `bytes` and gives what it can of that to the kernel; how many
    /// it took. `WouldBlock`: none, as the kernel takes nothing.
    pub(super) fn try_write(&self, socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        let mut session = self.session();
        send(&mut session, socket)?;
        let taken = session.writer().write(bytes)?;
        match send(&mut session, socket) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    pub(super) fn holds_some(&self) -> bool {
        self.session().wants_write()
    }

    async fn flush(&self, socket: &TcpStream) -> io::Result<()> {
        loop {
            let sent = send(&mut self.session(), socket);
            match sent {
                Err(error) if error.kind() == ErrorKind::WouldBlock => socket.writable().await?,
                flushed => return flushed,
            }
        }
    }

    /// As [`receive`], decrypted. An alert of the peer is an error: it broke the
    /// connection, and what a FIN behind it looks like does not matter.
    pub(super) fn receive(&self, socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        let mut session = self.session();
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // FIN without a word before it, as many peers do it. No answer of
                // a protocol above ends with the connection, so nothing is cut off.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            take_in(&mut session, socket)?;
        }
    }

    /// Says that we close, if the kernel takes it at once.
    pub(super) fn farewell(&self, socket: &TcpStream) {
        let mut session = self.session();
        session.send_close_notify();
        let _ = send(&mut session, socket);
    }
}

/// Takes in what the kernel has; how many bytes, 0 at the end.
fn take_in(session: &mut ClientConnection, socket: &TcpStream) -> io::Result<usize> {
    let taken = session.read_tls(&mut Socket(socket))?;
    session.process_new_packets().map_err(|error| {
        // Our own alert, if there is one; the connection is lost anyway.
        let _ = send(session, socket);
        io::Error::new(
            ErrorKind::InvalidData,
            format!("TLS: {error}{}", advice(&error)),
        )
    })?;
    Ok(taken)
}

/// What to do about it, where that can be told.
fn advice(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext,
        UnknownIssuer,
    };
    match error {
        rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature) => {
            "; tls.ca_file has to hold the authority that signed it"
        }
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "; if it is the right one, name it in tls.server_name"
        }
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => {
            "; the peer needs a new one, unless a clock is wrong"
        }
        rustls::Error::InvalidMessage(_) => "; see whether TLS is switched on at the peer",
        rustls::Error::AlertReceived(_) => {
            "; the peer's log says more; if it asks for a certificate, set tls.cert_file"
        }
        _ => "",
    }
}

fn send(session: &mut ClientConnection, socket: &TcpStream) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(&mut Socket(socket))?;
    }
    Ok(())
}
