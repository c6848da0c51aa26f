//! A list of dead letters that cannot be read holds up nothing but itself.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/sink.rs"]
mod sink;

use std::time::{Duration, Instant};

use gateway::{PATIENCE, Setup};
use serde_json::Value;
use sink::Sink;
use tokio::time::sleep;

/// The letters' part of the status, when `holds` is true of it.
async fn letters(setup: &Setup, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let letters = setup.status().await["dead_letters"].take();
        if holds(&letters) {
            return letters;
        }
        assert!(Instant::now() < until, "not {what}: {letters}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_list_of_letters_does_not_stop_events_and_loses_no_new_letter() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let file = setup.data_dir().join("letters.redb");
    std::fs::create_dir_all(setup.data_dir()).expect("a folder");
    std::fs::write(&file, vec![0x5a; 100_000]).expect("written");

    let gateway = setup.start_and_wait().await;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson",
        setup.http
    );
    let answer = http::ask(setup.http, &head, "{\"good\":1}\n{\"bad\":\n");
    assert!(answer.body.contains("\"accepted\":1"), "{}", answer.body);
    assert!(answer.body.contains("\"kept\":true"), "{}", answer.body);
    let told = letters(&setup, "told", |letters| letters["trouble"].is_string()).await;
    let trouble = told["trouble"].as_str().expect("a text");
    assert!(trouble.contains("letters.redb is damaged"), "{told}");
    assert!(trouble.contains("move it away"), "{told}");
    assert_eq!(told["unfiled"], 1, "{told}");
    assert_eq!(gateway.terminate().await, Some(0));

    std::fs::remove_file(&file).expect("removed");
    let gateway = setup.start_and_wait().await;
    let filed = letters(&setup, "filed", |letters| letters["unfiled"] == 0).await;
    assert_eq!(filed["held"], 1, "{filed}");
    assert_eq!(filed["trouble"], Value::Null, "{filed}");
    assert_eq!(gateway.terminate().await, Some(0));
}
