//! Posts of dead letters, as Logstash sends them.

use std::io::Write;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::http::Answer;

pub const POST: &str = "POST /v1/dead-letters";
pub const JSON: &str = "content-type: application/json";
pub const NDJSON: &str = "content-type: application/x-ndjson";
/// As Logstash's elasticsearch output writes it.
pub const REASON: &str = r#"Could not index event to Elasticsearch. status: 400, action: ["index", {:_id=>"7", :_index=>"web", :routing=>nil}, {"user"=>{"id"=>"anna"}}], response: {"index"=>{"_index"=>"web", "status"=>400, "error"=>{"type"=>"mapper_parsing_exception", "reason"=>"failed to parse field [user.id] of type [long] in document with id '7'. Preview of field's value: 'anna'"}}}"#;

/// Event number `n` as the pipeline of the dead letter queue sends it.
pub fn refused(n: u64) -> Value {
    json!({
        "user": {"id": "anna"},
        "n": n,
        "_gateway_dlq": {
            "plugin_type": "elasticsearch",
            "plugin_id": "es",
            "reason": REASON,
            "entry_time": "2026-11-20T10:00:00.123456Z",
            "id": format!("id-{n}"),
            "attempt": 1,
        },
    })
}

pub fn batch(numbers: std::ops::Range<u64>) -> String {
    Value::from(numbers.map(refused).collect::<Vec<_>>()).to_string()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("compresses");
    encoder.finish().expect("compresses")
}

pub fn numbers(letters: &[Value]) -> Vec<u64> {
    let events = letters.iter().map(|letter| letter["event"].as_str());
    let events = events.map(|event| serde_json::from_str::<Value>(event.expect("text")));
    let numbers = events.map(|event| event.expect("JSON")["n"].as_u64().expect("a number"));
    numbers.collect()
}

/// A connection that is kept, as Logstash's client keeps it.
pub struct Client(pub BufReader<TcpStream>);

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(
            TcpStream::connect(address).await.expect("connects"),
        ))
    }

    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("writes");
    }

    /// The first line of the next answer, and its body.
    pub async fn answer(&mut self) -> (String, String) {
        let (mut first, mut len) = (String::new(), 0);
        self.0.read_line(&mut first).await.expect("a line");
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.expect("a line");
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                len = value.parse().expect("a length");
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; len];
        self.0.read_exact(&mut body).await.expect("a body");
        (
            first.trim_end().to_owned(),
            String::from_utf8(body).expect("text"),
        )
    }
}

pub fn assert_sent_again(answer: &Answer, reason: &str) {
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (503, reason),
        "{answer:?}"
    );
    let after = answer.header("retry-after").expect("a time");
    assert!(after.parse::<u64>().expect("seconds") > 0);
    assert_eq!(answer.json()["error"]["retryable"], true);
}
