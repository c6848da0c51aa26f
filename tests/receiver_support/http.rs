//! An HTTP receiver and requests to it, byte by byte.

use std::net::SocketAddr;

use serde_json::Value;
use stashgate::receiver::http::{self, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{DEADLINE, Gateway, listener};

pub async fn serve(gateway: &Gateway) -> (SocketAddr, JoinHandle<()>) {
    serve_with(gateway, &[], 64 << 20).await
}

pub async fn serve_with(
    gateway: &Gateway,
    origins: &[&'static str],
    max_in_flight_bytes: usize,
) -> (SocketAddr, JoinHandle<()>) {
    let (listener, address) = listener().await;
    let options = Options {
        max_connections: 100,
        max_in_flight_bytes,
        cors_origins: origins.iter().map(|o| o.parse().expect("ascii")).collect(),
    };
    let task = tokio::spawn(http::serve(listener, gateway.intake.clone(), options));
    (address, task)
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value)
    }

    /// The `reason` of an error, which must have a message too.
    pub fn reason(&self) -> String {
        let error = &self.json()["error"];
        assert!(!error["message"].as_str().expect("text").is_empty());
        error["reason"].as_str().expect("text").to_owned()
    }
}

/// Sends a request with the headers given and a `Content-Length`.
pub async fn request(address: SocketAddr, line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let length = format!("content-length: {}", body.len());
    let headers = [headers, &[length.as_str()]].concat();
    raw(address, line, &headers, body).await
}

/// Sends a request as it is given.
pub async fn raw(address: SocketAddr, line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut head = format!("{line} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n");
    for header in headers {
        head += header;
        head += "\r\n";
    }
    head += "\r\n";
    let mut socket = TcpStream::connect(address).await.expect("connects");
    socket.write_all(head.as_bytes()).await.expect("writes");
    // A refused body may not be read to its end.
    let _ = socket.write_all(body).await;
    answer(socket).await
}

/// Reads an answer up to the end of the connection.
pub async fn answer(mut socket: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut bytes));
    read.await.expect("answers in time").expect("reads");
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.expect("a status"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
