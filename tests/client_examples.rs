//! The examples of `docs/clients.md`, run against the real gateway. One whose
//! language or packages cannot be had here is skipped, and says so.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/sink.rs"]
mod sink;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use gateway::{PATIENCE, Setup};
use sink::Sink;

/// What an example says that cannot run here.
const SKIPPED: i32 = 77;

/// Runs an example to its end. Whether it could run at all.
async fn ran(script: &str, arguments: Vec<String>) -> bool {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("no panic")
        .expect("the script starts");
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => true,
        Some(SKIPPED) => {
            eprintln!("{script}: {said}");
            false
        }
        _ => panic!(
            "{script}: {said}{}",
            String::from_utf8_lossy(&output.stdout)
        ),
    }
}

/// A folder that is kept from one run to the next: installing takes time.
fn workshop(name: &str) -> String {
    let folder: PathBuf = [env!("CARGO_TARGET_TMPDIR"), "examples", name]
        .iter()
        .collect();
    std::fs::create_dir_all(&folder).expect("a folder");
    folder.display().to_string()
}

/// Waits until so many events are confirmed, and none was rejected.
async fn confirmed(setup: &Setup, events: u64) {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = setup.status().await;
        let ledger = &status["queues"][0]["ledger"];
        if ledger["confirmed"] == events {
            assert_eq!(status["dead_letters"]["held"], 0, "{status}");
            assert_eq!(ledger["accepted"], events, "{status}");
            return;
        }
        assert!(Instant::now() < until, "{status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_curl_example_works() {
    let setup = Setup::new(Sink::start().address, "");
    let _gateway = setup.start_and_wait().await;
    if ran("docs/examples/curl.sh", vec![setup.http.to_string()]).await {
        confirmed(&setup, 7).await;
    }
}

#[tokio::test]
async fn the_rust_example_works() {
    let setup = Setup::new(Sink::start().address, "");
    let _gateway = setup.start_and_wait().await;
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--example", "send_events", "--"]);
    command.arg(setup.url());
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("no panic")
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said.trim(),
        "10000 accepted, 1 rejected, 0 given back, 0 batches sent again"
    );
}

#[tokio::test]
async fn the_python_examples_work() {
    let setup = Setup::new(Sink::start().address, "");
    let _gateway = setup.start_and_wait().await;
    let (grpc, tcp) = (setup.grpc.to_string(), setup.tcp.to_string());
    let arguments = vec![workshop("python"), grpc, tcp];
    if ran("docs/examples/python/run.sh", arguments).await {
        confirmed(&setup, 2_000 + 100).await;
    }
}

#[tokio::test]
async fn the_go_example_works() {
    let setup = Setup::new(Sink::start().address, "");
    let _gateway = setup.start_and_wait().await;
    let arguments = vec![workshop("go"), setup.grpc.to_string()];
    if ran("docs/examples/go/run.sh", arguments).await {
        confirmed(&setup, 8_000).await;
    }
}

#[tokio::test]
async fn the_node_example_works() {
    let setup = Setup::new(Sink::start().address, "");
    let _gateway = setup.start_and_wait().await;
    let arguments = vec![workshop("node"), setup.tcp.to_string()];
    if ran("docs/examples/node/run.sh", arguments).await {
        confirmed(&setup, 100).await;
    }
}
