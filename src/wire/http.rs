//! The head of an HTTP/1.1 answer, as a client of one request at a time needs it.
//!
//! Bounded: at most [`MAX_HEAD`] bytes and 64 headers. Bodies are left to the
//! caller, who has to know only how long one is, and whether that can be known.

use std::fmt;

use httparse::{EMPTY_HEADER, Header, Response, Status};

/// Longest head, in bytes.
pub const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;
/// Longest reason phrase that is kept, in bytes.
const MAX_REASON: usize = 100;

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// 100 to 999.
    pub status: u16,
    /// What it says in words: printable ASCII, shortened.
    pub reason: String,
    /// Length of the head in bytes, with the empty line at its end.
    pub len: usize,
    /// Length of the body in bytes; `None`: it ends with the connection, or in a
    /// way that only a reader of chunks can see.
    pub body: Option<u64>,
    /// Whether the server keeps the connection.
    pub keeps: bool,
}

/// What no answer in HTTP/1.1 looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// No HTTP at all, or broken.
    #[error("its answer is no HTTP/1.1: {0}")]
    Malformed(httparse::Error),
    /// Longer than [`MAX_HEAD`].
    #[error("the head of its answer is longer than {MAX_HEAD} bytes")]
    TooLong,
    /// `Content-Length` is no number, or there are two that differ.
    #[error("its answer has a Content-Length that is none")]
    Length,
}

impl Head {
    /// Reads the head that `bytes` begin with; `None`: it is not whole yet.
    ///
    /// # Errors
    ///
    /// It is none, whatever comes after `bytes`.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, HeadError> {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut response = Response::new(&mut headers);
        let bounded = &bytes[..bytes.len().min(MAX_HEAD)];
        let len = match response.parse(bounded).map_err(HeadError::Malformed)? {
            Status::Complete(len) => len,
            Status::Partial if bytes.len() >= MAX_HEAD => return Err(HeadError::TooLong),
            Status::Partial => return Ok(None),
        };
        let status = response.code.unwrap_or_default();
        if !(100..1000).contains(&status) {
            return Err(HeadError::Malformed(httparse::Error::Status));
        }
        Ok(Some(Self {
            status,
            reason: shortened(response.reason.unwrap_or_default()),
            len,
            body: body_len(status, response.headers)?,
            keeps: response.version == Some(1) && !has(response.headers, "connection", "close"),
        }))
    }

    /// It says that the real answer is still to come.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status)
    }

    /// It says that all was done.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.reason)
    }
}

fn shortened(reason: &str) -> String {
    let printable = |c: &char| c.is_ascii_graphic() || *c == ' ';
    reason.chars().filter(printable).take(MAX_REASON).collect()
}

fn body_len(status: u16, headers: &[Header<'_>]) -> Result<Option<u64>, HeadError> {
    if status < 200 || matches!(status, 204 | 304) {
        return Ok(Some(0));
    }
    let mut found = None;
    for header in all(headers, "content-length") {
        let length = parse_len(header.value).ok_or(HeadError::Length)?;
        if found.is_some_and(|found| found != length) {
            return Err(HeadError::Length);
        }
        found = Some(length);
    }
    // Chunks count more than a length.
    let chunked = all(headers, "transfer-encoding").next().is_some();
    Ok(found.filter(|_| !chunked))
}

/// Digits and nothing else: `parse` alone would take a sign.
fn parse_len(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value.trim_ascii()).ok()?;
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn has(headers: &[Header<'_>], name: &str, token: &str) -> bool {
    let is_token = |part: &[u8]| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes());
    all(headers, name).any(|header| header.value.split(|b| *b == b',').any(is_token))
}

fn all<'h>(headers: &'h [Header<'h>], name: &str) -> impl Iterator<Item = &'h Header<'h>> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, HeadError> {
        Head::read(text.as_bytes())
    }

    fn whole(text: &str) -> Head {
        read(text).expect("HTTP").expect("whole")
    }

    #[test]
    fn an_answer_tells_its_status_its_length_and_whether_the_connection_stays() {
        let head = whole("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!((head.status, head.body, head.keeps), (200, Some(2), true));
        assert_eq!((head.len, head.to_string()), (38, "200 OK".into()));
        let head = whole("HTTP/1.1 429 Too Many Requests\r\nconnection: Keep-Alive, CLOSE\r\n\r\n");
        assert_eq!((head.status, head.body, head.keeps), (429, None, false));
        assert!(!whole("HTTP/1.0 200 OK\r\n\r\n").keeps);
    }

    #[test]
    fn a_head_in_pieces_is_waited_for_and_an_endless_one_is_not() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        for len in 0..text.len() {
            assert_eq!(read(&text[..len]), Ok(None), "{len}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(MAX_HEAD));
        assert_eq!(read(&endless), Err(HeadError::TooLong));
        for none in ["220 smtp\r\n", "HTTP/1.1 007 Bond\r\n\r\n"] {
            assert!(matches!(read(none), Err(HeadError::Malformed(_))), "{none}");
        }
    }

    #[test]
    fn a_length_is_one_number_and_chunks_have_none() {
        let with = |headers: &str| read(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n"));
        for bad in ["-1", "+1", "1 1", "0x1", "", "99999999999999999999"] {
            assert_eq!(
                with(&format!("Content-Length: {bad}")),
                Err(HeadError::Length),
                "{bad}"
            );
        }
        assert_eq!(
            with("Content-Length: 1\r\nContent-Length: 2"),
            Err(HeadError::Length)
        );
        let body = |headers: &str| with(headers).expect("HTTP").expect("whole").body;
        assert_eq!(body("Content-Length: 1\r\nContent-Length: 1"), Some(1));
        assert_eq!(
            body("Content-Length: 1\r\nTransfer-Encoding: chunked"),
            None
        );
        assert_eq!(whole("HTTP/1.1 204 No Content\r\n\r\n").body, Some(0));
    }
}
