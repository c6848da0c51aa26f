//! One HTTP request at a time, as it stands on the wire.

#![allow(dead_code)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Long enough that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(120);

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends `head`, with the body's length added, and `body`.
pub(crate) fn ask(address: SocketAddr, head: &str, body: &str) -> Answer {
    try_ask(address, head, body).expect("an answer")
}

/// As [`ask`]; an error: there was no whole answer.
pub(crate) fn try_ask(address: SocketAddr, head: &str, body: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text
        .split_once("\r\n\r\n")
        .ok_or(ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let chunked = head.to_ascii_lowercase().contains("encoding: chunked");
    let body = match chunked {
        true => joined(body).ok_or(ErrorKind::UnexpectedEof)?,
        false => body.to_owned(),
    };
    Ok(Answer {
        status: status.ok_or(ErrorKind::InvalidData)?,
        head: head.to_owned(),
        body,
    })
}

/// What comes in chunks, up to the last, which is empty.
fn joined(mut chunks: &str) -> Option<String> {
    let mut whole = String::new();
    loop {
        let (length, rest) = chunks.split_once("\r\n")?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(whole);
        }
        whole.push_str(rest.get(..length)?);
        chunks = rest.get(length..)?.strip_prefix("\r\n")?;
    }
}

/// `GET path` from this machine.
pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}"),
        "",
    )
}

/// Sends `lines`, one event each; they are taken.
pub(crate) fn post(address: SocketAddr, lines: &str) {
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-ndjson"
    );
    let answer = ask(address, &head, lines);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Events numbered `numbers`, one a line.
pub(crate) fn events(numbers: std::ops::Range<u64>) -> String {
    numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect()
}
