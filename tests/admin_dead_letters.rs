//! The dead letters on the admin address of the real program.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/letters.rs"]
mod letters;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;

use gateway::{Gateway, Setup, eventually};
use http::{Answer, ask, get};
use letters::{held, refuse, refused};
use logstash::Logstash;

const ROOT: &str = "/api/v1/dead-letters";
const JSON: &str = "application/json";
const CHANGES: [&str; 5] = ["repair", "return", "discard", "export", "take"];

struct Stage {
    _logstash: Logstash,
    setup: Setup,
    gateway: Gateway,
}

impl Stage {
    async fn with(more: &str, events: &[Value]) -> Self {
        let logstash = Logstash::start().await;
        let setup = Setup::new(logstash.address(), more);
        let gateway = setup.start_and_wait().await;
        eventually("a start", || get(setup.admin, "/readyz").status == 200).await;
        refuse(&setup, events).await;
        Self {
            _logstash: logstash,
            setup,
            gateway,
        }
    }

    async fn holding(numbers: std::ops::Range<u64>) -> Self {
        Self::with("", &numbers.map(refused).collect::<Vec<_>>()).await
    }

    fn get(&self, path: &str) -> Answer {
        get(self.setup.admin, &format!("{ROOT}{path}"))
    }

    fn got(&self, path: &str) -> Value {
        read(&self.get(path))
    }

    fn post(&self, path: &str, media: &str, body: &str) -> Answer {
        let head = self.head(path, media);
        ask(self.setup.admin, &head, body)
    }

    fn head(&self, path: &str, media: &str) -> String {
        let host = self.setup.admin;
        format!("POST {ROOT}/{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {media}")
    }

    fn posted(&self, path: &str, body: &Value) -> Value {
        read(&self.post(path, JSON, &body.to_string()))
    }

    /// All chunks of an operation.
    fn all(&self, path: &str, mut body: Value) -> Vec<Value> {
        let mut chunks = Vec::new();
        loop {
            let chunk = self.posted(path, &body);
            body["after"] = chunk["next"].clone();
            chunks.push(chunk);
            if body["after"].is_null() {
                return chunks;
            }
        }
    }
}

fn read(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).expect("JSON")
}

/// Asserts a refusal whose error holds all of `parts`.
#[track_caller]
fn assert_refused(answer: &Answer, status: u16, parts: &[&str]) {
    assert_eq!(answer.status, status, "{}", answer.body);
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    let error = body["error"].as_str().expect("an error");
    for part in parts {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
}

fn ids(page: &Value) -> Vec<String> {
    let letters = page["letters"].as_array().expect("letters").iter();
    letters
        .map(|letter| letter["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_is_guarded() {
    let stage = Stage::with("", &[]).await;
    let config = std::fs::read_to_string(stage.setup.config_file()).expect("settings");
    let paths = ["", "/groups", "/show?id=1"].map(|path| format!("GET {ROOT}{path}"));
    let posts = CHANGES.map(|path| format!("POST {ROOT}/{path}"));
    let all: Vec<_> = paths
        .into_iter()
        .chain(posts)
        .chain([format!("POST {ROOT}/import")])
        .collect();
    for line in &all {
        for foreign in [
            "Host: evil.example",
            "Host: localhost\r\nOrigin: http://evil.example",
        ] {
            let head = format!("{line} HTTP/1.1\r\n{foreign}");
            assert_eq!(ask(stage.setup.admin, &head, "").status, 403, "{line}");
        }
    }
    let config = config.replace("[admin]\n", "[admin]\ntoken = \"correct-horse-battery\"\n");
    let Stage { setup, gateway, .. } = stage;
    assert_eq!(gateway.terminate().await, Some(0));
    std::fs::write(setup.config_file(), config).expect("written");
    let _gateway = setup.start_and_wait().await;
    for line in &all {
        let head = format!("{line} HTTP/1.1\r\nHost: localhost");
        assert_eq!(ask(setup.admin, &head, "").status, 401, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slip_of_the_pen_never_means_all_letters() {
    let stage = Stage::holding(0..2).await;
    for (query, parts) in [
        ("?filed=user.id", &["\"filed\"", "\"field\""][..]),
        ("?reason=maping_conflict", &["\"mapping_conflict\""]),
        ("?source=logstsh", &["\"logstash\""]),
        ("?from=yesterday", &["`from`", "2026-11-21"]),
        ("?parked=maybe", &["`parked` is true or false"]),
        ("?limit=many", &["`limit` is a number"]),
        ("?queue=a&queue=b", &["`queue` is given twice"]),
        ("?queue=No+Queue", &["queue name"]),
        ("?after=7", &["not a cursor"]),
        ("?where=.a+%2B", &["expected a term"]),
        ("/groups?queue=a", &["no parameters"]),
        ("/show", &["`id`"]),
        ("/show?id=a&field=b", &["`id`"]),
    ] {
        assert_refused(&stage.get(query), 400, parts);
    }
    assert_refused(&stage.get("/show?id=nobody"), 404, &["no dead letter"]);
    assert_refused(&stage.get("/nothing"), 404, &[]);
    assert_refused(&stage.get("/repair"), 405, &[]);
    for (path, body, parts) in [
        (
            "discard",
            json!({"apply": true, "filtre": {}}),
            &["\"filtre\"", "\"filter\""][..],
        ),
        (
            "discard",
            json!({"apply": true, "filter": {"filed": "x"}}),
            &["\"field\""],
        ),
        (
            "discard",
            json!({"apply": true, "filter": "x"}),
            &["object"],
        ),
        (
            "discard",
            json!({"apply": true, "filter": {"parked": "yes"}}),
            &["`filter.parked`"],
        ),
        (
            "discard",
            json!({"apply": true, "to_queue": "logstash"}),
            &["\"to_queue\""],
        ),
        (
            "discard",
            json!({"apply": true, "filter": {"from": "2026-13-01"}}),
            &["`from`"],
        ),
        (
            "return",
            json!({"apply": true, "to_queue": "nowhere"}),
            &["there are: logstash"],
        ),
        ("repair", json!({"apply": true}), &["expression"]),
        (
            "repair",
            json!({"apply": true, "expression": ".a |="}),
            &["expected a term"],
        ),
        ("take", json!({"handles": [[1]]}), &["handles"]),
    ] {
        let answer = stage.post(path, JSON, &body.to_string());
        assert_refused(&answer, 400, parts);
    }
    assert_eq!(held(&stage.setup), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_the_wrong_kind_is_refused() {
    let stage = Stage::holding(0..1).await;
    for path in CHANGES {
        for form in ["text/plain", "application/x-www-form-urlencoded"] {
            let answer = stage.post(path, form, "{\"apply\":true}");
            assert_refused(&answer, 415, &["application/json"]);
        }
        assert_refused(&stage.post(path, JSON, "[]"), 400, &["no JSON object"]);
        let deep = format!("{{\"filter\":{}", "[".repeat(100_000));
        assert_refused(&stage.post(path, JSON, &deep), 400, &["recursion"]);
        let long = json!({ "expression": "x".repeat(2 << 20) }).to_string();
        assert_refused(&stage.post(path, JSON, &long), 413, &["1048576 bytes"]);
    }
    assert_refused(&stage.post("import", JSON, "{}"), 415, &["x-ndjson"]);
    let bad = stage.post("import", "application/x-ndjson", "{}\n");
    assert_refused(&bad, 400, &["line 1"]);
    assert_eq!(held(&stage.setup), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_from_the_newest_to_the_oldest_and_meet_each_letter_once() {
    let stage = Stage::holding(0..25).await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = stage.got(&format!("?limit=10{after}"));
        seen.extend(ids(&page));
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("&after={next}");
        refuse(&stage.setup, &[refused(1000 + seen.len() as u64)]).await;
    }
    let expected: Vec<_> = (0..25).rev().map(|n| format!("id-{n}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_taken_as_people_and_programs_write_them() {
    let stage = Stage::holding(0..3).await;
    let count = |query: &str| ids(&stage.got(query)).len();
    assert_eq!(count("?from=2026-01-01"), 3);
    assert_eq!(count("?from=2026-01-01T00:00:00Z&to=2999-01-01"), 3);
    assert_eq!(count("?to=2026-01-01"), 0);
    let filed = stage.got("")["letters"][0]["filed"]
        .as_u64()
        .expect("a time");
    assert_eq!(count(&format!("?from={}", filed + 1)), 0);
    let body = |from: Value| json!({"filter": {"from": from}});
    for from in [json!("2026-01-01"), json!(0)] {
        assert_eq!(stage.posted("discard", &body(from))["done"], 3);
    }
    assert_eq!(stage.posted("discard", &body(json!(filed + 1)))["done"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_is_done_in_chunks_and_only_when_told() {
    let stage = Stage::holding(0..30).await;
    let repair = json!({"expression": ".user.id |= tostring", "limit": 12});
    let sum = |chunks: &[Value], name: &str| -> u64 {
        chunks.iter().filter_map(|chunk| chunk[name].as_u64()).sum()
    };
    let would = stage.all("repair", repair.clone());
    assert_eq!((would.len(), sum(&would, "done")), (3, 30));
    let sample = &would[0]["samples"][0];
    assert_eq!(
        (
            &sample["before"]["user"]["id"],
            &sample["after"]["user"]["id"]
        ),
        (&json!(0), &json!("0"))
    );
    assert_eq!(
        stage.got("/show?id=id-0")["letters"][0]["event"]["user"]["id"],
        0
    );
    let mut apply = repair;
    apply["apply"] = json!(true);
    assert_eq!(sum(&stage.all("repair", apply.clone()), "done"), 30);
    assert_eq!(sum(&stage.all("repair", apply), "unchanged"), 30);
    let shown = &stage.got("/show?id=id-0&queue=logstash")["letters"][0];
    assert_eq!(
        (
            &shown["event"]["user"]["id"],
            &shown["original"]["user"]["id"]
        ),
        (&json!("0"), &json!(0))
    );
    let done = stage.all("return", json!({"apply": true, "limit": 12}));
    assert_eq!((done.len(), sum(&done, "done")), (3, 30));
    assert_eq!(held(&stage.setup), 0);
}

/// One call works for 30 s at most, and waits 5 s for a queue that is full.
#[tokio::test(flavor = "multi_thread")]
async fn many_full_queues_hold_up_no_return_to_one_with_room() {
    let full: Vec<_> = (0..7).map(|n| format!("full-{n}")).collect();
    let nobody = gateway::free();
    let queues = full.iter().map(|name| {
        format!(
            "[queues.{name}]\nmax_bytes = \"1MiB\"\n\
             [queues.{name}.output]\nprotocol = \"json_lines\"\nhosts = [\"{nobody}\"]\n"
        )
    });
    let more = format!(
        "{}[limits]\nmax_batch_bytes = \"1MiB\"\nmax_event_bytes = \"768KiB\"",
        queues.collect::<String>()
    );
    let stage = Stage::with(&more, &[refused(0)]).await;
    let most_of_it = json!({"text": "x".repeat(600 << 10)}).to_string();
    for name in &full {
        let head = |path: &str| {
            format!(
                "POST {path}?queue={name} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/x-ndjson"
            )
        };
        let taken = ask(stage.setup.http, &head("/v1/events"), &most_of_it);
        assert_eq!(taken.status, 200, "{}", taken.body);
        let mut letter = refused(1);
        letter["text"] = Value::from("y".repeat(500 << 10));
        let kept = ask(
            stage.setup.http,
            &head("/v1/dead-letters"),
            &letter.to_string(),
        );
        assert_eq!(kept.status, 200, "{}", kept.body);
    }
    eventually("filed", || held(&stage.setup) == 8).await;
    let report = stage.posted("return", &json!({"apply": true}));
    assert_eq!(report["done"], 1, "{report}");
    assert_eq!(held(&stage.setup), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_since_its_export_is_not_taken_out() {
    let stage = Stage::holding(0..3).await;
    let export = stage.posted("export", &json!({}));
    let lines: Vec<_> = export["letters"]
        .as_array()
        .expect("letters")
        .iter()
        .map(Value::to_string)
        .collect();
    assert_eq!(lines.len(), 3);
    let repair = json!({"filter": {"id": "id-1"}, "expression": ".x = 1", "apply": true});
    assert_eq!(stage.posted("repair", &repair)["done"], 1);
    let taken = stage.posted("take", &json!({"handles": export["handles"]}));
    assert_eq!((taken, held(&stage.setup)), (json!({"taken": 2}), 1));
    let many: Vec<_> = (0..1001)
        .map(|n| json!({"number": n, "revision": 0}))
        .collect();
    let answer = stage.post("take", JSON, &json!({"handles": many}).to_string());
    assert_refused(&answer, 400, &["at most 1000"]);
    let answer = stage.post("import", "application/x-ndjson", &lines.join("\n"));
    assert_eq!(read(&answer)["done"], 3);
    assert_eq!(held(&stage.setup), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_of_long_events_are_bounded_in_bytes_also_behind_many_short_ones() {
    let long = |n| {
        let mut event = refused(n);
        event["text"] = json!("x".repeat(900 << 10));
        event
    };
    let stage = Stage::holding(0..300).await;
    for n in 300..360 {
        refuse(&stage.setup, &[long(n)]).await;
    }
    let (mut seen, mut body) = (0, json!({}));
    loop {
        let answer = stage.post("export", JSON, &body.to_string());
        assert!(answer.body.len() < 20 << 20, "{} bytes", answer.body.len());
        let chunk = read(&answer);
        seen += chunk["letters"].as_array().expect("letters").len();
        body["after"] = chunk["next"].clone();
        if body["after"].is_null() {
            break;
        }
    }
    assert_eq!(seen, 360);
    let page = stage.get("?limit=500");
    assert!(page.body.len() < 400_000, "{} bytes", page.body.len());
    let repair = json!({"expression": ".y = 1"}).to_string();
    let samples = stage.post("repair", JSON, &repair);
    assert!(samples.body.len() < 4 << 20, "{} bytes", samples.body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_event_is_data_and_nothing_else() {
    let stage = Stage::holding(0..1).await;
    let evil = "</script><script>alert(1)</script>\u{1b}[2J";
    let mut event = refused(1);
    event[evil] = json!(evil);
    event["_gateway_dlq"]["id"] = json!(evil);
    refuse(&stage.setup, &[event]).await;
    let repair = json!({"expression": ".x = 1"}).to_string();
    let answers = [
        stage.get(""),
        stage.get("/groups"),
        stage.get("/show?id=%3C/script%3E%3Cscript%3Ealert(1)%3C/script%3E%1B%5B2J"),
        stage.get("/show?id=%3Cscript%3E"),
        stage.get("?%3Cscript%3E=1"),
        stage.post("export", JSON, "{}"),
        stage.post("repair", JSON, &repair),
    ];
    for answer in &answers {
        let head = answer.head.to_lowercase();
        assert!(head.contains("content-type: application/json"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert!(!answer.body.contains('\u{1b}'));
    }
    let shown: Value = read(&answers[2]);
    assert_eq!(shown["letters"][0]["event"][evil], evil);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_without_end_is_ended_and_others_are_answered_meanwhile() {
    let stage = Stage::holding(0..10).await;
    let body = json!({"filter": {"where": "def f: f; f"}}).to_string();
    let head = stage.head("return", JSON);
    let admin = stage.setup.admin;
    let endless = std::thread::spawn(move || ask(admin, &head, &body));
    let seen: BTreeSet<_> = ids(&stage.got("")).into_iter().collect();
    assert_eq!(seen.len(), 10);
    assert!(!endless.is_finished(), "it was asked meanwhile");
    assert_refused(&endless.join().expect("answered"), 400, &["longer than"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_on_when_its_caller_is_gone() {
    let stage = Stage::holding(0..50).await;
    let is_done = || stage.got("/show?id=id-0")["letters"][0]["revision"] == 1;
    let slow = "last(range(100000)) as $x | .x = $x";
    let body = json!({"expression": slow, "apply": true}).to_string();
    let mut caller = TcpStream::connect(stage.setup.admin).expect("connected");
    let head = stage.head("repair", JSON);
    let length = body.len();
    write!(caller, "{head}\r\nContent-Length: {length}\r\n\r\n{body}").expect("sent");
    // It has a while to go then.
    eventually("at work", || stage.gateway.has_child()).await;
    drop(caller);
    eventually("repaired", is_done).await;
}
