//! Plays the pipelines of docker/logstash between a gateway and a real search engine:
//! `main` takes events by lumberjack, indexes them and acknowledges a window when the
//! engine has answered for each of its events; what is refused goes into the dead
//! letter queue, and `dlq` posts that to the gateway.

#![allow(dead_code)]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ferro_lumberjack::server::{Server, ServerConnection};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::http::try_ask;
use super::opensearch::Engine;
use super::ruby::Ruby;

/// As many events as Logstash's outputs get at once by default.
const BATCH: usize = 125;

/// Where the events carry what the gateway wants back.
const MARK: &str = "_gateway_dlq";

type Event = Map<String, Value>;

/// The stand-in for Logstash; dropped, it is gone.
pub(crate) struct Indexer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    engine: Engine,
    books: Mutex<Books>,
}

/// What came by.
#[derive(Default)]
struct Books {
    /// Events as the dlq pipeline posts them, which wait for that.
    refused: Vec<Event>,
    /// Those that were posted.
    posted: Vec<Event>,
    indexed: u64,
    ids: HashSet<String>,
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no panic")
    }
}

impl Indexer {
    pub(crate) async fn start(engine: Engine) -> Self {
        let listener = Server::builder().bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            engine,
            books: Mutex::default(),
        });
        let for_task = shared.clone();
        let accepting = tokio::spawn(async move {
            loop {
                // A connection that only asks whether anybody listens is no error.
                if let Ok(connection) = listener.accept().await {
                    tokio::spawn(serve(connection, for_task.clone()));
                }
            }
        });
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// How often an event was indexed, copies included.
    pub(crate) fn indexed(&self) -> u64 {
        self.shared.books().indexed
    }

    /// How many ids the indexed events had.
    pub(crate) fn ids(&self) -> usize {
        self.shared.books().ids.len()
    }

    /// How many refused events were not posted yet.
    pub(crate) fn refused(&self) -> usize {
        self.shared.books().refused.len()
    }

    /// The dlq pipeline posts what waits to the gateway at `http`.
    pub(crate) async fn post(&self, http: SocketAddr) {
        let waiting = std::mem::take(&mut self.shared.books().refused);
        post(http, &waiting).await;
        self.shared.books().posted.extend(waiting);
    }

    /// It posts all that it ever posted once more: Logstash was killed before it wrote
    /// down how far it had come.
    pub(crate) async fn post_again(&self, http: SocketAddr) {
        let posted = self.shared.books().posted.clone();
        post(http, &posted).await;
    }
}

impl Drop for Indexer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut connection: ServerConnection, shared: Arc<Shared>) {
    while let Ok(Some(window)) = connection.read_window().await {
        let events = window.events.iter().map(|event| {
            serde_json::from_slice(&event.payload).expect("the gateway sends objects")
        });
        index(&shared, events.map(Document::of).collect()).await;
        if connection.send_ack(window.last_seq).await.is_err() {
            return;
        }
    }
}

/// An event after the filters of `main.conf`.
struct Document {
    event: Event,
    metadata: Event,
    index: String,
}

impl Document {
    fn of(mut event: Event) -> Self {
        let Some(Value::Object(metadata)) = event.remove("@metadata") else {
            panic!("an event without @metadata: {event:?}");
        };
        if let Some(line) = event.remove("@line") {
            event.insert("line".into(), line);
        }
        let time = match metadata.get("accepted_at") {
            Some(accepted) => accepted.clone(),
            None => event["@timestamp"].clone(),
        };
        let time: jiff::Timestamp = time.as_str().expect("a time").parse().expect("ISO8601");
        event.insert("@timestamp".into(), json!(format!("{time:.3}")));
        event.insert("@version".into(), json!("1"));
        let conflict = event.get("tags") == Some(&json!(["mapping_conflict"]));
        let name = if conflict { "conflicts" } else { "logstash" };
        Self {
            event,
            metadata,
            index: format!("{name}-{}", time.strftime("%Y.%m.%d")),
        }
    }

    fn id(&self) -> &Value {
        &self.metadata["_id"]
    }

    fn lines(&self) -> String {
        let action = json!({"index": {"_index": self.index, "_id": self.id()}});
        let event = Value::Object(self.event.clone());
        format!("{action}\n{event}\n")
    }

    /// What the dlq pipeline posts: `@metadata` is not in it, but for what is copied.
    fn refused(self, item: &Value) -> Event {
        let mut mark = json!({
            "plugin_type": "elasticsearch",
            "plugin_id": "events",
            "reason": Ruby::Before34.reason(self.id(), &self.event, item),
            "entry_time": format!("{:.3}", jiff::Timestamp::now()),
            "id": self.id(),
        });
        if let Some(attempt) = self.metadata.get("attempt") {
            mark["attempt"] = attempt.clone();
        }
        let mut event = self.event;
        event.insert(MARK.into(), mark);
        event
    }
}

/// Indexes all of them as the elasticsearch output does: 400 and 404 are refused, 409
/// is dropped, what else is no success is sent again.
async fn index(shared: &Shared, mut documents: Vec<Document>) {
    while !documents.is_empty() {
        let lines = documents.iter().map(Document::lines).collect();
        let (status, answer) = shared.engine.bulk(lines).await;
        if status != 200 {
            sleep(Duration::from_millis(200)).await;
            continue;
        }
        let items = answer["items"].as_array().expect("an answer for each");
        assert_eq!(items.len(), documents.len());
        let mut books = shared.books();
        let mut again = Vec::new();
        for (document, item) in documents.into_iter().zip(items) {
            match item["index"]["status"].as_u64() {
                Some(200 | 201) => {
                    books.indexed += 1;
                    books.ids.insert(document.id().to_string());
                }
                Some(400 | 404) => books.refused.push(document.refused(item)),
                Some(409) => {}
                _ => again.push(document),
            }
        }
        documents = again;
    }
}

/// The http output with `json_batch` and `retry_non_idempotent`: sends again on a few
/// codes and on socket errors. What is answered otherwise is lost.
async fn post(http: SocketAddr, events: &[Event]) {
    for batch in events.chunks(BATCH) {
        let body = serde_json::to_string(batch).expect("JSON");
        let head = format!(
            "POST /v1/dead-letters?queue=logstash HTTP/1.1\r\nHost: {http}\r\n\
             Content-Type: application/json"
        );
        loop {
            let (head, body) = (head.clone(), body.clone());
            let asked = tokio::task::spawn_blocking(move || try_ask(http, &head, &body));
            match asked.await.expect("asked") {
                Ok(answer) if matches!(answer.status, 429 | 500 | 502 | 503 | 504) => {}
                Ok(answer) => {
                    let taken = (200..300).contains(&answer.status);
                    assert!(taken, "Logstash drops: {} {}", answer.status, answer.body);
                    break;
                }
                Err(_) => {}
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}
