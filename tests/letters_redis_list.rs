//! Dead letters from a list in a real Redis.

mod letters_redis_support;
mod letters_support;
mod redis_spool_support;
mod redis_support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use letters_redis_support::{at, store, unaccounted};
use letters_support::{held, queue};
use redis_spool_support::proxy::{Cut, Proxy};
use redis_support::{PATIENCE, RedisServer, push};
use stashgate::batch::UnixMillis;
use stashgate::dead_letter::redis_list::{Options, RedisList};
use stashgate::dead_letter::store::Store;
use stashgate::dead_letter::{DeadLetters, Reason, Unindexable, filing};
use stashgate::spool::redis::nodes::Nodes;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const LIST: &str = "logstash-dead-letters";

/// What one gateway has of it: an inbox, a reader, and filing. Dropped, it is gone as if it
/// were killed, but for its inbox.
struct Reader {
    letters: DeadLetters,
    tasks: [JoinHandle<()>; 2],
    _folder: tempfile::TempDir,
}

impl Reader {
    fn start(url: &str, store: &Store) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let letters = DeadLetters::open(folder.path(), 1 << 30, 0).expect("opened");
        let options = Options {
            list: LIST.to_owned(),
            queue: queue("logstash"),
            queues: vec![queue("logstash"), queue("audit")],
        };
        let nodes = Nodes::new(&at(url)).expect("settings");
        let list = RedisList::new(options, nodes, letters.clone());
        let never = CancellationToken::new();
        Self {
            tasks: [
                tokio::spawn(list.run(never.clone())),
                tokio::spawn(filing::run(letters.clone(), store.clone(), never)),
            ],
            letters,
            _folder: folder,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// An event as Logstash's output writes it.
fn event(number: u64) -> String {
    format!(
        r#"{{"n":{number},"user":{{"id":"x"}},"_gateway_dlq":{{"plugin_type":"elasticsearch","plugin_id":"es","entry_time":"2026-11-20T10:00:00.123Z","reason":"odd {number}","id":"id-{number}"}}}}"#
    )
}

/// Waits until all of the list is in the store, from whichever of the readers.
async fn are_filed(server: &RedisServer, readers: &[Reader], store: &Store, count: usize) {
    let (mut most, mut until) = (0, Instant::now() + PATIENCE);
    loop {
        let waiting = server.ask::<u64>(&["LLEN", LIST]);
        let unfiled: u64 = readers.iter().map(|r| r.letters.waiting_events()).sum();
        let there = held(store).await.len();
        if waiting == 0 && unfiled == 0 && there == count {
            return;
        }
        if there > most {
            (most, until) = (there, Instant::now() + PATIENCE);
        }
        assert!(
            Instant::now() < until,
            "{waiting} in the list, {unfiled} unfiled, {there} of {count} filed"
        );
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_element_becomes_a_letter_and_what_is_no_event_is_kept_whole() {
    let server = RedisServer::start();
    let marked = r#"{"a": 1.00,"_gateway_dlq":{"reason":"odd","entry_time":"2026-11-20T10:00:00.123Z","id":"i7","attempt":2,"queue":"audit"}}"#;
    let elements: [&[u8]; 8] = [
        marked.as_bytes(),
        br#"{"a":1}"#,
        b"[1,2]",
        b"7",
        b"no JSON",
        b"\xff\xfe\0",
        b"{\"a\":",
        b"",
    ];
    push(&server, LIST, elements);
    let store = store(&server.url());
    let readers = [Reader::start(&server.url(), &store)];
    are_filed(&server, &readers, &store, elements.len()).await;
    let letters = held(&store).await;
    let first = &letters[0].letter;
    assert_eq!(first.event, r#"{"a": 1.00}"#);
    assert_eq!(first.queue, queue("audit"));
    assert_eq!(first.id.as_deref(), Some("i7"));
    assert_eq!(
        (first.attempt, first.at),
        (2, UnixMillis(1_763_632_800_123 + 365 * 86_400_000))
    );
    for (letter, element) in letters[1..].iter().zip(&elements[1..]) {
        assert_eq!(letter.letter.event, *element);
        assert_eq!(letter.letter.queue, queue("logstash"));
        let other = Reason::Unindexable(Unindexable::Other);
        assert_eq!(letter.letter.reason, other);
        assert_eq!(letter.letter.id, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_gateways_read_one_list_and_each_letter_is_there_once() {
    let server = RedisServer::start();
    let store = store(&server.url());
    let readers: [_; 4] = std::array::from_fn(|_| Reader::start(&server.url(), &store));
    for hundred in 0..200_u64 {
        let events: Vec<_> = (hundred * 100..(hundred + 1) * 100).map(event).collect();
        push(&server, LIST, events.iter().map(String::as_bytes));
        // The same element twice, side by side and apart.
        push(&server, LIST, [events[99].as_bytes(), events[0].as_bytes()]);
    }
    are_filed(&server, &readers, &store, 20_000).await;
    let letters = held(&store).await;
    let ids: BTreeSet<_> = letters.iter().map(|l| l.letter.id.clone()).collect();
    assert_eq!(ids.len(), 20_000);
    assert_eq!(unaccounted(&store), [0, 0, 0]);
}

#[tokio::test]
async fn what_others_put_to_the_head_meanwhile_is_not_taken_for_what_was_read() {
    let server = RedisServer::start();
    // Whoever reads may look, and not take.
    let _: String = server.ask(&[
        "ACL", "SETUSER", "looker", "on", ">p", "~*", "+@all", "-lpop",
    ]);
    let store = store(&server.url());
    push(&server, LIST, [event(1).as_bytes(), event(2).as_bytes()]);
    let looker = format!("redis://looker:p@{}", server.address());
    let reader = Reader::start(&looker, &store);
    let until = Instant::now() + PATIENCE;
    while held(&store).await.len() < 2 {
        assert!(Instant::now() < until, "kept before it is taken");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.ask::<u64>(&["LLEN", LIST]), 2);
    drop(reader);
    let _: u64 = server.ask(&["LPUSH", LIST, &event(3)]);
    let readers = [Reader::start(&server.url(), &store)];
    are_filed(&server, &readers, &store, 3).await;
}

#[tokio::test]
async fn an_answer_that_is_lost_costs_no_element() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.port()).await;
    let store = store(&server.url());
    let readers = [Reader::start(&proxy.url(), &store)];
    let mut pushed = 0;
    // The answer of the look has the elements; the take asks for their number.
    for (turn, cut) in [
        Cut::BeforeAnswer("_gateway_dlq"),
        Cut::AfterRequest("\r\n500\r\n"),
        Cut::HoldRequest("\r\n500\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        proxy.cut(cut.clone());
        let events: Vec<_> = (pushed..pushed + 500).map(event).collect();
        push(&server, LIST, events.iter().map(String::as_bytes));
        pushed += 500;
        are_filed(&server, &readers, &store, pushed as usize).await;
        assert_eq!(proxy.cuts(), turn + 1);
        if matches!(cut, Cut::HoldRequest(_)) {
            // It comes late, when other elements stand there.
            let reader = &readers[0];
            reader.tasks[0].abort();
            let events: Vec<_> = (pushed..pushed + 500).map(event).collect();
            push(&server, LIST, events.iter().map(String::as_bytes));
            proxy.release().await;
            sleep(Duration::from_millis(200)).await;
            assert_eq!(server.ask::<u64>(&["LLEN", LIST]), 500);
        }
    }
}
