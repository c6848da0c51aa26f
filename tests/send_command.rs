//! `stashgate send` against the real gateway, as a user runs it.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/sink.rs"]
mod sink;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use gateway::{Setup, comes_to, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sink::Sink;

fn send(setup: &Setup, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stashgate"));
    command.arg("send").arg(file).arg("--to").arg(setup.url());
    command
}

async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().expect("it runs"))
        .await
        .expect("no panic")
}

fn start(mut command: Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs")
}

/// Waits until it has something to say on standard error.
fn first_complaint(child: &mut Child) -> String {
    let mut first = [0; 10];
    let errors = child.stderr.as_mut().expect("piped");
    errors.read_exact(&mut first).expect("it complains");
    text(&first)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn events(seqs: std::ops::Range<u64>) -> String {
    seqs.map(|seq| format!("{{\"seq\":{seq}}}\n")).collect()
}

fn file(folder: &tempfile::TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).expect("written");
    path
}

fn gzip(content: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content.as_bytes()).expect("in memory");
    encoder.finish().expect("in memory")
}

struct World {
    folder: tempfile::TempDir,
    sink: Sink,
    setup: Setup,
    _gateway: Option<gateway::Gateway>,
}

async fn world(more: &str) -> World {
    let mut world = world_without_gateway(more);
    world._gateway = Some(world.setup.start_and_wait().await);
    world
}

fn world_without_gateway(more: &str) -> World {
    let sink = Sink::start();
    World {
        folder: tempfile::tempdir().expect("a folder"),
        setup: Setup::new(sink.address, more),
        sink,
        _gateway: None,
    }
}

#[tokio::test]
async fn a_file_is_sent_and_the_exit_code_says_that_all_was_accepted() {
    let world = world("").await;
    let file = file(&world.folder, "events.ndjson", events(0..2_500));
    let sent = output(send(&world.setup, &file)).await;
    assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    assert!(text(&sent.stdout).starts_with("2,500 events accepted in "));
    eventually("all arrives", || world.sink.distinct() == 2_500).await;
    assert_eq!(world.sink.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn gzip_is_known_by_its_first_bytes_and_may_have_several_members() {
    let world = world("").await;
    let content = [gzip(&events(0..1_000)), gzip(&events(1_000..1_500))].concat();
    let file = file(&world.folder, "events.log", content);
    for compression in ["gzip", "zstd"] {
        let mut command = send(&world.setup, &file);
        command.args(["--compression", compression, "--batch-bytes", "4KiB"]);
        let sent = output(command).await;
        assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
    }
    eventually("all arrives", || world.sink.distinct() == 1_500).await;
}

#[tokio::test]
async fn a_gzip_file_that_is_cut_is_told_of_after_what_could_be_read() {
    let world = world("").await;
    let whole = gzip(&events(0..50_000));
    let file = file(&world.folder, "cut.gz", &whole[..whole.len() / 2]);
    let mut command = send(&world.setup, &file);
    command.arg("--json");
    let sent = output(command).await;
    assert_eq!(sent.status.code(), Some(1));
    let summary: Value = serde_json::from_slice(&sent.stdout).expect("JSON");
    let stopped = summary["stopped"].as_str().expect("a reason");
    assert!(stopped.contains("cannot be read"), "{stopped}");
    assert!(summary["accepted"].as_u64() > Some(1_000), "{summary}");
}

#[tokio::test]
async fn rejected_lines_are_printed_with_their_numbers() {
    let world = world("").await;
    let lines = "{\"seq\":0}\n\n[1]\n  \r\n{\"seq\":1}\r\n{\"a\": \u{1b}[2J}\n{\"seq\":2}";
    let file = file(&world.folder, "mixed.ndjson", lines);
    let mut command = send(&world.setup, &file);
    command.args(["--json", "--batch-events", "2"]);
    let sent = output(command).await;
    let errors = text(&sent.stderr);
    assert_eq!(sent.status.code(), Some(1), "{errors}");
    let numbers: Vec<_> = errors
        .lines()
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(numbers, ["line 3", "line 6"], "{errors}");
    assert!(!errors.contains('\u{1b}'), "a terminal would obey it");
    let summary: Value = serde_json::from_slice(&sent.stdout).expect("JSON");
    for (field, value) in [("lines", 7), ("accepted", 3), ("rejected", 2), ("kept", 2)] {
        assert_eq!(summary[field], value, "{field} in {summary}");
    }
    assert_eq!(summary["all_accepted"], false);
    eventually("the good ones arrive", || world.sink.distinct() == 3).await;
}

#[tokio::test]
async fn standard_input_is_sent_as_it_comes() {
    let world = world("").await;
    let mut command = send(&world.setup, Path::new("-"));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut input = child.stdin.take().expect("piped");
    for seq in 0..3 {
        // Part of a line waits for the rest, a whole one for nothing.
        write!(input, "{{\"seq\":{seq}}}\n{{\"seq\"").expect("it reads");
        eventually("the whole line arrives", || world.sink.has(seq)).await;
        writeln!(input, ":{}}}", seq + 100).expect("it reads");
    }
    drop(input);
    let sent = tokio::task::spawn_blocking(|| child.wait_with_output().expect("it ends"))
        .await
        .expect("no panic");
    assert_eq!(sent.status.code(), Some(0));
    eventually("all arrives", || world.sink.distinct() == 6).await;
}

#[tokio::test]
async fn a_gateway_that_comes_late_or_goes_away_is_waited_for() {
    let world = world_without_gateway("");
    let file = file(&world.folder, "events.ndjson", events(0..300_000));
    let mut child = start(send(&world.setup, &file));
    let mut errors = first_complaint(&mut child);
    let sending = tokio::task::spawn_blocking(|| child.wait_with_output().expect("it ends"));
    let gateway = world.setup.start_and_wait().await;
    eventually("events arrive", || world.sink.distinct() > 1_000).await;
    gateway.kill();
    assert!(!sending.is_finished(), "it was too quick for the kill");
    let _gateway = world.setup.start_and_wait().await;
    let sent = sending.await.expect("no panic");
    errors += &text(&sent.stderr);
    assert_eq!(sent.status.code(), Some(0), "{errors}");
    for told in ["takes no events: ", "takes events again"] {
        assert_eq!(errors.matches(told).count(), 2, "{errors}");
    }
    comes_to("all arrives", 300_000, || world.sink.distinct()).await;
    assert_eq!(world.sink.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn a_queue_that_is_not_there_stops_it() {
    let world = world("").await;
    let file = file(&world.folder, "events.ndjson", events(0..100_000));
    let mut command = send(&world.setup, &file);
    command.args(["--queue", "nobody", "--batch-events", "10"]);
    let sent = output(command).await;
    let summary = text(&sent.stdout);
    assert_eq!(sent.status.code(), Some(1), "{summary}");
    assert!(summary.contains("stopped: lines 1 to 10: "), "{summary}");
    assert!(summary.contains("nobody"), "{summary}");
}

#[tokio::test]
async fn a_line_that_is_too_long_is_told_of_and_the_rest_goes_on() {
    let limits = "[limits]\nmax_batch_bytes = \"64KiB\"\nmax_event_bytes = \"16KiB\"";
    let world = world(limits).await;
    let long = |bytes: usize| format!("{{\"text\":\"{}\"}}\n", "x".repeat(bytes));
    let lines = [
        events(0..1),
        // An event that is too large, a batch that is too large, and a line
        // that is not even read to its end.
        long(17 << 10),
        long(65 << 10),
        long(9 << 20),
        events(1..2),
    ]
    .concat();
    let file = file(&world.folder, "long.ndjson", lines);
    let mut command = send(&world.setup, &file);
    command.args(["--batch-bytes", "32KiB"]);
    let sent = output(command).await;
    let (errors, summary) = (text(&sent.stderr), text(&sent.stdout));
    assert_eq!(sent.status.code(), Some(1), "{errors}{summary}");
    for line in ["line 2: ", "line 3: ", "line 4: longer than 8.0 MiB"] {
        assert!(errors.contains(line), "{line} in {errors}");
    }
    assert!(summary.contains("2 events accepted"), "{summary}");
    eventually("the rest arrives", || world.sink.distinct() == 2).await;
}

#[tokio::test]
async fn interrupted_it_still_says_what_it_has_done() {
    let world = world_without_gateway("");
    let file = file(&world.folder, "events.ndjson", events(0..10));
    let mut child = start(send(&world.setup, &file));
    // It minds the signal before it misses the gateway.
    first_complaint(&mut child);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let sent = child.wait_with_output().expect("it ends");
    assert_eq!(sent.status.code(), Some(1));
    let summary = text(&sent.stdout);
    assert!(summary.contains("10 sent without an answer"), "{summary}");
    assert!(summary.contains("stopped: interrupted"), "{summary}");
}

#[tokio::test]
async fn what_cannot_be_read_or_reached_is_a_matter_of_the_arguments() {
    let world = world_without_gateway("");
    let missing = world.folder.path().join("missing");
    let sent = output(send(&world.setup, &missing)).await;
    assert_eq!(sent.status.code(), Some(2));
    assert!(text(&sent.stderr).contains("missing"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_stashgate"));
    command.args(["send", "-", "--to", "gateway:7171"]);
    command.stdin(Stdio::null());
    let sent = output(command).await;
    assert_eq!(sent.status.code(), Some(2));
    assert!(text(&sent.stderr).contains("http://HOST:PORT"));
}
