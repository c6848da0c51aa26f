//! A lumberjack receiver, and a client that writes frames by hand.

use std::net::SocketAddr;
use std::time::Duration;

use stashgate::receiver::lumberjack::{self, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

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
        keepalive: Duration::from_millis(30),
    };
    let served = lumberjack::serve(listener, gateway.intake.clone(), options);
    (address, tokio::spawn(served))
}

pub struct Client(pub TcpStream);

impl Client {
    pub async fn to(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.expect("connects");
        socket.set_nodelay(true).expect("sets");
        Self(socket)
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("writes");
    }

    /// The next ack that is not 0.
    pub async fn acked(&mut self) -> u32 {
        loop {
            match self.ack().await {
                0 => {}
                sequence => return sequence,
            }
        }
    }

    /// The next ack.
    pub async fn ack(&mut self) -> u32 {
        let mut frame = [0; 6];
        let read = timeout(DEADLINE, self.0.read_exact(&mut frame)).await;
        read.expect("an ack in time").expect("an ack");
        assert_eq!(frame[..2], *b"2A");
        u32::from_be_bytes(frame[2..].try_into().expect("four bytes"))
    }

    /// Waits for the end, past acks of 0; whether it was a reset.
    pub async fn ended(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = timeout(DEADLINE, self.0.read_to_end(&mut rest)).await;
        let ended = read.expect("an end in time");
        let mut acks = rest.chunks(6);
        assert!(acks.all(|ack| ack == b"2A\0\0\0\0"), "{rest:?}");
        ended.is_err()
    }
}

pub fn window(count: usize) -> Vec<u8> {
    [b"2W", &(count as u32).to_be_bytes()[..]].concat()
}

pub fn event(sequence: u32, json: &str) -> Vec<u8> {
    let length = (json.len() as u32).to_be_bytes();
    [b"2J", &sequence.to_be_bytes()[..], &length, json.as_bytes()].concat()
}

/// A window of these events, with sequences from `first` on.
pub fn events(first: u32, events: &[String]) -> Vec<u8> {
    let frames = events.iter().zip(first..);
    let frames = frames.flat_map(|(json, sequence)| event(sequence, json));
    window(events.len()).into_iter().chain(frames).collect()
}

pub fn compressed(frames: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut z = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    z.write_all(frames).expect("memory");
    let z = z.finish().expect("memory");
    [b"2C", &(z.len() as u32).to_be_bytes()[..], &z].concat()
}
