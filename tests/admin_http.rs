//! Who may ask the admin address, and what it answers.

use std::net::SocketAddr;
use std::time::Duration;

use stashgate::admin::{self, Admin, Desk, HoldError, Metrics};
use stashgate::batch::UnixMillis;
use stashgate::config::Secret;
use stashgate::status::{State, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

#[path = "support/http.rs"]
mod http;
use http::{Answer, ask, get};

const TOKEN: &str = "correct-horse-battery";

fn status(state: State) -> Status {
    Status {
        version: "1".into(),
        state,
        started_at: UnixMillis(0),
        at: UnixMillis(0),
        data_dir: "data".into(),
        listeners: Vec::new(),
        queues: Vec::new(),
        redis: None,
        dead_letters: None,
        replays: Vec::new(),
        warnings: Vec::new(),
    }
}

/// An admin address of a gateway in `state` whose journal last moved `ago`.
async fn serve(state: State, ago: Duration, token: Option<&str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    let token = token.map(Secret::new);
    let admin = Admin {
        status: Box::new(move || status(state)),
        since_last_tick: Box::new(move || ago),
        metrics: Metrics::of_process(),
        hold: Box::new(|name, hold| {
            Box::pin(async move {
                match hold {
                    true => Ok(vec![name]),
                    false => Err(HoldError::NotHeld {
                        name,
                        held: Vec::new(),
                    }),
                }
            })
        }),
        dead_letters: Desk::new(|| None),
        replays: Box::new(|| None),
        token: Box::new(move || token.clone()),
    };
    tokio::spawn(admin::serve(
        listener,
        admin::router(admin),
        CancellationToken::new(),
    ));
    address
}

async fn running(token: Option<&str>) -> SocketAddr {
    serve(State::Running, Duration::ZERO, token).await
}

/// The status of `GET path` with these header lines.
async fn try_get(address: SocketAddr, path: &str, headers: &str) -> u16 {
    let head = format!("GET {path} HTTP/1.1\r\n{headers}");
    spawn_blocking(move || ask(address, &head, "").status)
        .await
        .expect("asked")
}

async fn look(address: SocketAddr, path: &'static str) -> Answer {
    spawn_blocking(move || get(address, path))
        .await
        .expect("asked")
}

#[tokio::test]
async fn without_a_token_this_machine_may_ask_by_ip_or_as_localhost() {
    let address = running(None).await;
    for path in ["/metrics", "/api/v1/status"] {
        for host in ["localhost", "LOCALHOST:7170", "127.0.0.1:1", "[::1]:7170"] {
            assert_eq!(
                try_get(address, path, &format!("Host: {host}")).await,
                200,
                "{host}"
            );
        }
    }
}

#[tokio::test]
async fn a_web_page_of_somebody_else_may_not_ask() {
    let address = running(None).await;
    let rebound = [
        "evil.example",
        "evil.example:7170",
        "127.0.0.1.evil.example",
        "10.0.0.1",
    ];
    for host in rebound {
        assert_eq!(
            try_get(address, "/api/v1/status", &format!("Host: {host}")).await,
            403,
            "{host}"
        );
    }
    let foreign = [
        "http://evil.example",
        "null",
        "http://localhost:3000",
        "http://127.0.0.1",
    ];
    for origin in foreign {
        let headers = format!("Host: {address}\r\nOrigin: {origin}");
        assert_eq!(
            try_get(address, "/metrics", &headers).await,
            403,
            "{origin}"
        );
    }
    let own = format!("Host: {address}\r\nOrigin: http://{address}");
    assert_eq!(try_get(address, "/metrics", &own).await, 200);
}

#[tokio::test]
async fn with_a_token_only_who_brings_it_may_ask() {
    let address = running(Some(TOKEN)).await;
    let with = |value: &str| format!("Host: gateway.example\r\nAuthorization: {value}");
    let wrong = [
        "",
        "Bearer",
        "Bearer ",
        "Bearer correct-horse-batter",
        "Bearer correct-horse-battery1",
        TOKEN,
        "Basic correct-horse-battery",
    ];
    for value in wrong {
        assert_eq!(
            try_get(address, "/metrics", &with(value)).await,
            401,
            "{value:?}"
        );
    }
    for path in ["/metrics", "/api/v1/status"] {
        assert_eq!(try_get(address, path, "Host: gateway.example").await, 401);
        assert_eq!(
            try_get(address, path, &with(&format!("Bearer {TOKEN}"))).await,
            200
        );
        assert_eq!(
            try_get(address, path, &with(&format!("bearer {TOKEN}"))).await,
            200
        );
    }
    let foreign = with(&format!("Bearer {TOKEN}\r\nOrigin: http://evil.example"));
    assert_eq!(try_get(address, "/metrics", &foreign).await, 403);
    let answer = look(address, "/metrics").await;
    assert!(
        answer
            .head
            .to_lowercase()
            .contains("www-authenticate: bearer"),
        "{}",
        answer.head
    );
}

#[tokio::test]
async fn what_is_not_there_is_told_in_json_to_whoever_may_ask() {
    let address = running(None).await;
    let answer = look(address, "/api/v1/nothing").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (404, r#"{"error":"there is nothing at this path"}"#)
    );
    let posted =
        spawn_blocking(move || ask(address, "POST /metrics HTTP/1.1\r\nHost: localhost", "x"));
    let answer = posted.await.expect("asked");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (405, r#"{"error":"this path takes no such method"}"#)
    );
    assert_eq!(
        try_get(running(Some(TOKEN)).await, "/x", "Host: localhost").await,
        401
    );
}

#[tokio::test]
async fn health_and_readiness_need_no_token_and_any_name() {
    let address = running(Some(TOKEN)).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(try_get(address, path, "Host: pod.example").await, 200);
    }
}

#[tokio::test]
async fn a_gateway_that_takes_nothing_is_not_ready_but_healthy() {
    for state in [State::Starting, State::Draining, State::Poisoned] {
        let address = serve(state, Duration::ZERO, None).await;
        let answer = look(address, "/readyz").await;
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains(state.as_str()), "{}", answer.body);
        assert_eq!(look(address, "/healthz").await.status, 200);
    }
}

#[tokio::test]
async fn a_journal_that_stands_still_is_not_healthy() {
    let address = serve(State::Running, Duration::from_secs(300), None).await;
    let answer = look(address, "/healthz").await;
    assert_eq!(answer.status, 503);
    assert!(
        answer.body.contains("has not moved for 300 s"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn clients_that_say_nothing_do_not_hold_the_health_check_for_ever() {
    let address = running(None).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(address).await.expect("connects"));
    }
    let mut asking = TcpStream::connect(address).await.expect("connects");
    let question = "GET /healthz HTTP/1.1\r\nHost: pod.example\r\nConnection: close\r\n\r\n";
    asking.write_all(question.as_bytes()).await.expect("writes");
    tokio::time::sleep(Duration::from_millis(200)).await;
    // From here on time passes as soon as nothing else happens.
    tokio::time::pause();
    let mut answer = String::new();
    let answered = asking.read_to_string(&mut answer);
    let answered = tokio::time::timeout(Duration::from_secs(120), answered).await;
    answered.expect("answered in time").expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The status of a hold or resume by these header lines, and the answer.
async fn wish(address: SocketAddr, path: &str, headers: &str, body: &'static str) -> Answer {
    let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n{headers}");
    spawn_blocking(move || ask(address, &head, body))
        .await
        .expect("asked")
}

#[tokio::test]
async fn holding_takes_the_token_or_a_page_of_our_own() {
    let body = r#"{"name":"logstash"}"#;
    let address = running(Some("a-token-of-some-length")).await;
    let own = format!("Host: {address}");
    assert_eq!(wish(address, "/api/v1/hold", &own, body).await.status, 401);
    let with = format!("{own}\r\nAuthorization: Bearer a-token-of-some-length");
    let held = wish(address, "/api/v1/hold", &with, body).await;
    assert_eq!(
        (held.status, held.body.as_str()),
        (200, r#"{"held":["logstash"]}"#)
    );
    assert_eq!(
        wish(address, "/api/v1/resume", &with, body).await.status,
        404
    );
    assert_eq!(wish(address, "/api/v1/hold", &with, "{}").await.status, 422);

    let address = running(None).await;
    let foreign = format!("Host: {address}\r\nOrigin: https://evil.example");
    assert_eq!(
        wish(address, "/api/v1/hold", &foreign, body).await.status,
        403
    );
    assert_eq!(
        try_get(address, "/api/v1/hold", &format!("Host: {address}")).await,
        405
    );
}

/// Who looks on over a restart waits for the gateway, and does not take the replay for gone.
#[tokio::test]
async fn while_it_starts_it_says_so_of_each_replay() {
    let address = serve(State::Starting, Duration::ZERO, None).await;
    for path in ["/api/v1/replays", "/api/v1/replays/7"] {
        let answer = look(address, path).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.body);
        assert!(answer.body.contains("starting"), "{path}: {}", answer.body);
    }
}
