//! What a request looks like.

use std::io::Write;

use data_encoding::BASE64;

use crate::config::HttpOutput;

/// Makes requests. Allocates nothing for an event.
#[derive(Debug)]
pub(super) struct Requests {
    /// All of the head up to the value of `Content-Length`.
    head: Vec<u8>,
    /// The request on its way.
    bytes: Vec<u8>,
}

impl Requests {
    /// `host`: `host:port`, as configured.
    pub(super) fn new(host: &str, settings: &HttpOutput) -> Self {
        let mut head = format!(
            "POST {} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: stashgate/{}\r\nContent-Type: application/json\r\n",
            settings.path,
            env!("CARGO_PKG_VERSION"),
        );
        if let Some(credentials) = credentials(settings) {
            head += &format!("Authorization: {credentials}\r\n");
        }
        head += "Content-Length: ";
        Self {
            head: head.into_bytes(),
            bytes: Vec::new(),
        }
    }

    /// The request with `lines`, each an event with its `\n`, as one JSON array.
    pub(super) fn post(&mut self, lines: &[u8]) -> &[u8] {
        // A bracket in front; the last newline becomes the other one.
        let length = lines.len() + 1;
        self.bytes.clear();
        self.bytes.extend_from_slice(&self.head);
        // A `Vec` takes everything.
        let _ = write!(self.bytes, "{length}\r\n\r\n[");
        let start = self.bytes.len();
        self.bytes.extend_from_slice(lines);
        let events = &mut self.bytes[start..];
        for byte in events.iter_mut().filter(|byte| **byte == b'\n') {
            *byte = b',';
        }
        if let Some(last) = events.last_mut() {
            *last = b']';
        }
        &self.bytes
    }

    /// Gives back memory beyond `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.bytes.clear();
        self.bytes.shrink_to(bytes);
    }
}

fn credentials(settings: &HttpOutput) -> Option<String> {
    if let Some(token) = &settings.token {
        return Some(format!("Bearer {}", token.reveal()));
    }
    let password = settings.password.as_ref()?;
    let user = settings.user.as_deref().unwrap_or_default();
    let pair = format!("{user}:{}", password.reveal());
    Some(format!("Basic {}", BASE64.encode(pair.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn post(settings: &HttpOutput, lines: &str) -> String {
        let mut requests = Requests::new("logstash.example:8080", settings);
        requests.post(b"{\"longer\":\"than the next\"}\n");
        String::from_utf8(requests.post(lines.as_bytes()).to_vec()).expect("text")
    }

    #[test]
    fn events_become_one_array_with_its_length() {
        let post = post(&HttpOutput::default(), "{\"n\":1}\n{\"n\":2}\n{}\n");
        let (head, body) = post.split_once("\r\n\r\n").expect("a head");
        assert_eq!(body, "[{\"n\":1},{\"n\":2},{}]");
        assert!(
            head.ends_with(&format!("\r\nContent-Length: {}", body.len())),
            "{head}"
        );
        assert!(
            head.starts_with("POST / HTTP/1.1\r\nHost: logstash.example:8080\r\n"),
            "{head}"
        );
        assert!(
            !head.contains("Expect") && !head.contains("Authorization"),
            "{head}"
        );
    }

    #[test]
    fn credentials_go_as_the_settings_say() {
        let mut settings = HttpOutput {
            path: "/in".into(),
            user: Some("Aladdin".into()),
            password: Some(Secret::new("open sesame")),
            ..HttpOutput::default()
        };
        let basic = post(&settings, "{}\n");
        assert!(basic.contains("\r\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"));
        assert!(basic.starts_with("POST /in HTTP/1.1\r\n"));
        settings.token = Some(Secret::new("a-token"));
        assert!(post(&settings, "{}\n").contains("\r\nAuthorization: Bearer a-token\r\n"));
    }
}
