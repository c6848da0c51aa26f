//! What a person sees of `stashgate dead-letters` on a terminal: bars, and what is left
//! of them after Ctrl-C.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::RangeInclusive;
use std::process::Stdio;

#[path = "support/command.rs"]
mod command;
#[path = "support/desk.rs"]
mod desk;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/letters.rs"]
mod letters;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;
#[path = "support/terminal.rs"]
mod terminal;

use command::stashgate;
use desk::Stage;
use letters::held;
use rustix::process::Signal;
use terminal::{CTRL_C, Left, Terminal};

const LETTERS: u64 = 3_000;
/// Fits all letters, and takes a while for each.
const SLOWLY: [&str; 2] = ["--where", "[range(2000)] | length > 0"];
const TO_TEXT: &str = ".user.id |= tostring";

fn on_terminal(stage: &Stage, columns: u16, args: &[&str]) -> Terminal {
    with(stage, columns, args, &[], None)
}

fn with(
    stage: &Stage,
    columns: u16,
    args: &[&str],
    settings: &[(&str, &str)],
    stdin: Option<Stdio>,
) -> Terminal {
    let url = format!("http://{}", stage.setup.admin);
    let args = [&["dead-letters"], args, &["--url", &url]].concat();
    Terminal::start(columns, &args, settings, stdin)
}

/// Runs it until its bar has moved, presses Ctrl-C, and looks at what is left.
async fn broken_off(stage: &Stage, args: &[&str]) -> Left {
    let terminal = on_terminal(stage, 100, &[args, &SLOWLY].concat());
    terminal
        .shows("a bar that moves", |screen| {
            screen.contains("00/3,000") && screen.contains("ETA") && screen.contains('█')
        })
        .await;
    terminal.press(CTRL_C);
    let left = terminal.end();
    assert_clean(&left);
    assert_eq!(left.code, Some(130), "{}", left.screen);
    left
}

/// Whether nothing reminds of a bar.
fn assert_clean(left: &Left) {
    assert!(left.is_cursor_shown);
    for rest in ["ETA", "/3,000", "░", "█", "looked at"] {
        let is_left = left.screen.contains(rest);
        assert!(!is_left, "{rest} is left: {}", left.screen);
    }
}

/// The screen on one line, however it was broken.
fn words(left: &Left) -> String {
    let lines: Vec<_> = left.screen.split_whitespace().collect();
    lines.join(" ")
}

/// How many letters there may be of those that were `done`, by what was told.
fn told(left: &Left, done: &str) -> RangeInclusive<u64> {
    let words = words(left);
    let number = |before: &str, after: &str| -> Option<u64> {
        let (_, rest) = words.split_once(before)?;
        let (number, _) = rest.split_once(after)?;
        number.replace(',', "").parse().ok()
    };
    let told = number("broken off: ", &format!(" letters {done}"));
    let told = told.unwrap_or_else(|| panic!("nothing is told: {words}"));
    let more = number(", and up to ", &format!(" more may be {done}"));
    told..=told + more.unwrap_or(0)
}

/// What the books say of letters that were broken off in the middle, after a command that
/// told this.
fn assert_true(left: &Left, done: &str, booked: u64) {
    assert!(booked > 0 && booked < LETTERS, "in the middle: {booked}");
    let told = told(left, done);
    assert!(told.contains(&booked), "{told:?}: {booked}");
    assert!(words(left).contains("Run the same command again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_that_is_broken_off_tells_how_many_went_and_how_to_go_on() {
    let stage = Stage::with(0..LETTERS).await;
    let left = broken_off(&stage, &["return"]).await;
    let returned = stage.books().await["returned"].as_u64();
    assert_true(&left, "returned", returned.expect("a number"));
    let rest = stage.letters(&["return", "--all"]);
    assert_eq!(rest.code, Some(0), "{}", rest.err);
    stage.logstash.sink().wait_for(0..LETTERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_whose_gateway_is_silent_tells_how_many_more_may_be_returned() {
    let stage = Stage::with(0..LETTERS).await;
    let terminal = on_terminal(&stage, 100, &[&["return"], &SLOWLY[..]].concat());
    terminal
        .shows("a bar that moves", |screen| screen.contains("00/3,000"))
        .await;
    // Whatever is asked now is not answered.
    stage.gateway.signal(Signal::STOP);
    terminal.press(CTRL_C);
    let left = terminal.end();
    assert_eq!(left.code, Some(130), "{}", left.screen);
    let told = told(&left, "returned");
    assert_eq!(told.end() - told.start(), 500, "{}", left.screen);
    stage.gateway.signal(Signal::CONT);
    let returned = stage.books().await["returned"].as_u64();
    let returned = returned.expect("a number");
    assert!(told.contains(&returned), "{told:?}: {returned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_that_is_broken_off_tells_how_many_are_gone() {
    let stage = Stage::with(0..LETTERS).await;
    let would = broken_off(&stage, &["discard"]).await;
    assert!(words(&would).contains("would be discarded. Nothing has been changed."));
    assert_eq!(held(&stage.setup), LETTERS);
    let left = broken_off(&stage, &["discard", "--yes"]).await;
    assert_true(&left, "discarded", LETTERS - held(&stage.setup));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_is_broken_off_tells_how_many_are_repaired() {
    let stage = Stage::with(0..LETTERS).await;
    let would = broken_off(&stage, &["repair", TO_TEXT]).await;
    assert!(words(&would).contains("would change. Nothing has been changed."));
    let left = broken_off(&stage, &["repair", TO_TEXT, "--yes"]).await;
    let all = stage.json(&["list", "--limit", "3000"]).into_iter();
    let repaired = all.filter(|letter| letter["revision"] == 1).count();
    assert_true(&left, "repaired", repaired as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_broken_off_leaves_no_file() {
    let stage = Stage::with(0..LETTERS).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("letters.ndjson");
    let file = file.to_str().expect("text");
    let left = broken_off(&stage, &["export", file, "--take"]).await;
    assert!(words(&left).contains("There is no file, and nothing has been changed."));
    let files = fs::read_dir(folder.path()).expect("readable").count();
    assert_eq!((files, held(&stage.setup)), (0, LETTERS));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_broken_off_while_nothing_comes_tells_what_is_in() {
    let stage = Stage::with(0..700).await;
    let exported = stage.letters(&["export", "-"]).out;
    assert_eq!(stage.letters(&["discard", "--all", "--yes"]).code, Some(0));
    let mut terminal = with(&stage, 100, &["import", "-"], &[], Some(Stdio::piped()));
    let mut stdin = terminal.stdin();
    stdin.write_all(exported.as_bytes()).expect("written");
    terminal
        .shows("what is in", |screen| {
            screen.contains("500 looked at  500 imported")
        })
        .await;
    terminal.press(CTRL_C);
    let left = terminal.end();
    assert_clean(&left);
    assert_eq!(left.code, Some(130), "{}", left.screen);
    assert!(
        words(&left).contains("500 letters imported. Import the same file again"),
        "{}",
        left.screen
    );
    assert_eq!(held(&stage.setup), 500);
    drop(stdin);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_bar_is_left_where_there_is_hardly_room_for_it() {
    let stage = Stage::with(0..LETTERS).await;
    let discard = [&["discard"], &SLOWLY[..]].concat();
    let terminal = on_terminal(&stage, 40, &discard);
    terminal
        .shows("figures", |screen| {
            screen.contains("00/3,000") && screen.lines().count() == 1
        })
        .await;
    let left = terminal.end();
    assert_eq!(left.code, Some(0), "{}", left.screen);
    assert_clean(&left);
    assert!(
        left.screen
            .starts_with("3,000 letters would be discarded\n"),
        "{}",
        left.screen
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_shown_on_a_terminal_unless_somebody_wants_none() {
    let stage = Stage::with(0..3).await;
    let written = |args: &[&str], settings: &[(&str, &str)]| {
        let args = [&["repair", TO_TEXT], args].concat();
        let left = with(&stage, 100, &args, settings, None).end();
        assert_eq!(left.code, Some(0), "{}", left.screen);
        assert!(left.screen.contains("id-0"), "{}", left.screen);
        left.written
    };
    let green = "\u{1b}[32m";
    assert!(written(&[], &[]).contains(green));
    assert!(!written(&[], &[("NO_COLOR", "1")]).contains(green));
    let json = written(&["--json"], &[]);
    assert!(!json.contains("\u{1b}[3"), "{json:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_enough_ends_a_command_quietly() {
    let stage = Stage::with(0..LETTERS).await;
    for args in [
        &["export", "-"][..],
        &["list", "--limit", "3000", "--json"],
        &["list", "--limit", "3000"],
        &["groups"],
    ] {
        let url = format!("http://{}", stage.setup.admin);
        let mut child = stashgate(&[&["dead-letters"], args, &["--url", &url]].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
        out.read_line(&mut String::new()).expect("the first line");
        drop(out);
        let ended = child.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), &*said), (Some(0), ""), "{args:?}");
    }
}
