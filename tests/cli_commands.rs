//! The commands, on the real program, without a gateway.

use std::fs;
use std::net::TcpListener;

#[path = "support/command.rs"]
mod command;
use command::{run, stashgate};

#[test]
fn the_help_names_every_command_and_every_exit_code() {
    let help = run(&mut stashgate(&["--help"]));
    assert_eq!(help.code, Some(0));
    let text = help.out;
    for command in [
        "run",
        "check",
        "status",
        "health",
        "send",
        "demo",
        "completions",
    ] {
        assert!(
            text.contains(&format!("\n  {command} ")),
            "no {command} in {text}"
        );
    }
    let (_, codes) = text.split_once("Exit codes:").expect("the table");
    let readme = include_str!("../README.md");
    for code in 0..=6 {
        assert!(
            codes.contains(&format!("\n  {code}  ")),
            "no {code} in {codes}"
        );
        assert!(
            readme.contains(&format!("\n| {code} |")),
            "no {code} in the README"
        );
    }
}

#[test]
fn a_wrong_argument_and_a_wrong_setting_have_codes_of_their_own() {
    assert_eq!(run(&mut stashgate(&["dance"])).code, Some(2));
    let wrong = run(stashgate(&["run"]).env("STASHGATE__LIMIT__MAX_EVENT_BYTES", "1"));
    assert_eq!(wrong.code, Some(3));
    let said = wrong.err;
    assert!(
        said.contains("the nearest one is `STASHGATE__LIMITS`"),
        "{said}"
    );
    let level = run(&mut stashgate(&["check", "--log-level", "a=b=c"]));
    assert_eq!(level.code, Some(2), "{}", level.err);
}

#[test]
fn check_prints_the_settings_without_the_token_and_calls_an_absent_logstash_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stashgate.toml");
    let text = "[queues.logstash.output]\nprotocol = \"json_lines\"\nhosts = [\"127.0.0.1:1\"]\n";
    fs::write(&file, text).expect("written");
    let check = run(stashgate(&["check", "--config"])
        .arg(&file)
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .env("STASHGATE__ADMIN__TOKEN", "correct-horse-battery")
        .env("STASHGATE__SPOOL__JOURNAL__MIN_FREE_BYTES", "1MiB")
        .env("STASHGATE__RECEIVERS__GRPC__LISTEN", "127.0.0.1:0")
        .env("STASHGATE__RECEIVERS__HTTP__LISTEN", "127.0.0.1:0")
        .env("STASHGATE__RECEIVERS__TCP__DEFAULT__LISTEN", "127.0.0.1:0")
        .env("STASHGATE__ADMIN__LISTEN", "127.0.0.1:0"));
    let text = check.out;
    assert_eq!(check.code, Some(0), "{text}{}", check.err);
    for part in [
        "hosts = [\"127.0.0.1:1\"]",
        "token = \"(hidden)\"",
        "sync take",
        "warning  queues.logstash.output: 127.0.0.1:1 (127.0.0.1:1): does not answer now",
        "the settings are usable",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains("correct-horse"));
    assert!(
        !folder.path().join("data").exists(),
        "check leaves nothing behind"
    );
}

#[test]
fn check_says_no_when_an_address_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("bound").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let check = run(stashgate(&[
        "check",
        "--set",
        &format!("admin.listen={address}"),
        "--data-dir",
    ])
    .arg(folder.path()));
    assert_eq!(check.code, Some(1));
    let text = check.out;
    assert!(
        text.contains(&format!(
            "BAD      admin.listen: cannot listen on {address}"
        )),
        "{text}"
    );
    assert!(text.contains("NOT usable"), "{text}");
}

#[test]
fn status_of_a_gateway_that_is_not_there_has_a_code_of_its_own() {
    let status = run(&mut stashgate(&["status", "--url", "http://127.0.0.1:1"]));
    assert_eq!(status.code, Some(5));
    assert!(status.err.contains("Connection refused"), "{}", status.err);
}

#[test]
fn there_are_completions_for_the_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&mut stashgate(&["completions", shell]));
        assert_eq!(script.code, Some(0));
        assert!(script.out.contains("completions"), "{shell}");
        assert!(script.out.contains("log-level"), "{shell}");
        // Not for people.
        assert!(!script.out.contains("jq-child"), "{shell}");
    }
}

#[test]
fn the_demo_opens_its_books_and_leaves_nothing_behind() {
    let temp = tempfile::tempdir().expect("a folder");
    let demo =
        run(stashgate(&["demo", "--events", "20000", "--rate", "0"]).env("TMPDIR", temp.path()));
    let text = demo.out;
    assert_eq!(demo.code, Some(0), "{text}{}", demo.err);
    assert!(
        text.contains("accepted = confirmed: 20000 = 20000\nunaccounted: 0\n"),
        "{text}"
    );
    assert!(text.contains("20000 different events, 0 missing"), "{text}");
    assert_eq!(fs::read_dir(temp.path()).expect("read").count(), 0);
}
