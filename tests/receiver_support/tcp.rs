//! A TCP receiver and connections to it.

use std::io::ErrorKind;
use std::net::SocketAddr;

use stashgate::receiver::tcp::{self, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{DEADLINE, Gateway, listener, name};

pub async fn serve(gateway: &Gateway, queue: &str) -> (SocketAddr, JoinHandle<()>) {
    serve_at_most(gateway, queue, 100).await
}

pub async fn serve_at_most(
    gateway: &Gateway,
    queue: &str,
    max_connections: usize,
) -> (SocketAddr, JoinHandle<()>) {
    let (listener, address) = listener().await;
    let options = Options {
        queue: name(queue),
        max_connections,
    };
    let task = tokio::spawn(tcp::serve(listener, gateway.intake.clone(), options));
    (address, task)
}

pub async fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).await.expect("connects");
    socket.set_nodelay(true).expect("sets");
    socket
}

/// Sends everything, half-closes, and waits for the other half: from then on all
/// is settled.
pub async fn send(address: SocketAddr, bytes: &[u8]) {
    let mut socket = connect(address).await;
    socket.write_all(bytes).await.expect("writes");
    finish(socket).await.expect("a clean end");
}

/// Half-closes and waits for the end.
pub async fn finish(mut socket: TcpStream) -> std::io::Result<()> {
    socket.shutdown().await?;
    ended_by_peer(&mut socket).await
}

/// Waits until the gateway ends the connection; an error if it resets it.
pub async fn ended_by_peer(socket: &mut TcpStream) -> std::io::Result<()> {
    let mut nothing = [0; 1];
    let read = tokio::time::timeout(DEADLINE, socket.read(&mut nothing));
    let read = read.await.expect("ends in time")?;
    assert_eq!(read, 0, "TCP answers nothing");
    Ok(())
}

/// Waits until the gateway ends the connection, however it does.
pub async fn closed(socket: &mut TcpStream) {
    if let Err(error) = ended_by_peer(socket).await {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
