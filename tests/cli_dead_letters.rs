//! `stashgate dead-letters` with the real program against a real gateway.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::json;

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

use command::{run, stashgate};
use desk::{Stage, start};
use gateway::{Setup, eventually};
use letters::{held, refuse, refused};
use logstash::Logstash;

const FIELD: [&str; 2] = ["--field", "user.id"];
const TO_TEXT: &str = ".user.id |= tostring";

#[tokio::test(flavor = "multi_thread")]
async fn refused_events_are_found_repaired_and_returned() {
    let stage = Stage::with(0..30).await;
    let groups = stage.letters(&["groups"]).out;
    let line = groups.lines().nth(1).expect("a group");
    for part in ["30", "mapping_conflict", "user.id", "long"] {
        assert!(line.contains(part), "no {part} in {groups}");
    }
    assert!(
        line.ends_with("field `user.id` is long, got a number that it does not take"),
        "the server's words are for `show`: {groups}"
    );
    let list = stage.letters(&["list", "--limit", "10"]).out;
    assert!(list.contains("id-29") && !list.contains("id-19"), "{list}");
    assert!(list.contains("there are more"), "{list}");
    let shown = stage.letters(&["show", "id-7"]).out;
    for part in [
        "mapping_conflict",
        "mapper_parsing_exception: failed to parse field",
        "\n      \"id\": 7\n",
        "dead-letters repair --id id-7",
    ] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }

    let would = stage.letters(&[&["repair", TO_TEXT], &FIELD[..]].concat());
    assert_eq!(would.code, Some(0), "{}", would.err);
    for part in [
        "-     \"id\": 0\n",
        "+     \"id\": \"0\"\n",
        "30 letters would change, 0 would not",
        "repair --field user.id '.user.id |= tostring' --yes",
    ] {
        assert!(would.out.contains(part), "no {part:?} in {}", would.out);
    }
    let done = stage.letters(&[&["repair", TO_TEXT, "--yes"], &FIELD[..]].concat());
    assert_eq!(done.out.lines().next(), Some("30 letters repaired"));
    let again = stage.letters(&[&["repair", TO_TEXT, "--yes"], &FIELD[..]].concat());
    assert!(
        again
            .out
            .starts_with("0 letters repaired, 30 were as they should be")
    );
    let shown = stage.letters(&["show", "id-7"]).out;
    assert!(
        shown.contains("\"id\": \"7\"") && shown.contains("original:"),
        "{shown}"
    );

    let returned = stage.letters(&[&["return"], &FIELD[..]].concat());
    assert_eq!(returned.out, "30 letters returned\n");
    stage.logstash.sink().wait_for(0..30).await;
    assert_eq!(stage.logstash.sink().faults(), 0);
    assert_eq!(
        stage.letters(&["groups"]).out,
        "there are no dead letters\n"
    );
    let books = stage.books().await;
    assert_eq!(
        (
            &books["received"],
            &books["returned"],
            &books["unaccounted"]
        ),
        (&json!(30), &json!(30), &json!(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_without_yes_or_without_saying_which() {
    let stage = Stage::with(0..5).await;
    let before = stage.letters(&["export", "-"]).out;
    let told = stage.letters(&["discard", "--queue", "logstash"]);
    assert!(
        told.out.contains("5 letters would be discarded"),
        "{}",
        told.out
    );
    assert!(
        told.out.contains("discard --queue logstash --yes") && told.out.ends_with('\n'),
        "{}",
        told.out
    );
    stage.letters(&["repair", TO_TEXT]);
    let dry = stage.letters(&["return", "--dry-run"]);
    assert_eq!(dry.out, "5 letters would be returned\n");
    for unsaid in [
        &["return"][..],
        &["discard", "--yes"],
        &["repair", TO_TEXT, "--yes"],
        &["export", "x", "--take"],
        &["discard", "--yes", "--all", "--queue", "logstash"],
    ] {
        let refused = stage.letters(unsaid);
        assert_eq!(refused.code, Some(2), "{unsaid:?}: {}", refused.out);
        assert!(refused.err.contains("--all"), "{}", refused.err);
    }
    assert_eq!(stage.letters(&["export", "-"]).out, before);
    let gone = stage.letters(&["discard", "--all", "--yes"]);
    assert_eq!(gone.out, "5 letters discarded\n");
    assert_eq!(held(&stage.setup), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_one_object_a_line_with_the_members_that_are_documented() {
    let stage = Stage::with(0..3).await;
    let groups = stage.json(&["groups"]);
    assert_eq!(groups[0]["events"], 3);
    let list = stage.json(&["list"]);
    assert_eq!((list.len(), &list[0]["id"]), (3, &json!("id-2")));
    let shown = stage.json(&["show", "id-1"]);
    assert_eq!(shown[0]["event"], json!({"n": 1, "user": {"id": 1}}));
    let would = &stage.json(&["repair", TO_TEXT])[0];
    assert_eq!(would["applied"], false);
    assert_eq!(
        would["samples"][0]["after"],
        json!({"n": 0, "user": {"id": "0"}})
    );
    let done = &stage.json(&["return", "--id", "id-1"])[0];
    let counts = [
        "examined",
        "matched",
        "done",
        "unchanged",
        "parked",
        "failed",
    ];
    let counted = counts.map(|name| done[name].as_u64());
    assert_eq!(
        counted,
        [Some(1), Some(1), Some(1), Some(0), Some(0), Some(0)]
    );
    assert_eq!(done["applied"], true);
    assert!(done.get("next").is_none());
    assert_eq!(stage.json(&["discard", "--all", "--yes"])[0]["done"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_chosen_by_each_filter() {
    let stage = Stage::with(0..4).await;
    let mut parked = refused(4);
    parked["_gateway_dlq"]["attempt"] = json!(3);
    refuse(&stage.setup, &[parked]).await;
    let count = |args: &[&str]| stage.json(&[&["list"], args].concat()).len();
    assert_eq!(count(&[]), 5);
    assert_eq!(
        count(&["--queue", "logstash", "--reason", "mapping_conflict"]),
        5
    );
    assert_eq!(count(&["--reason", "invalid_json"]), 0);
    assert_eq!(count(&["--source", "logstash", "--field", "user.id"]), 5);
    assert_eq!(count(&["--field", "user"]), 0);
    assert_eq!(count(&["--id", "id-3"]), 1);
    assert_eq!(count(&["--parked"]), 1);
    assert!(stage.letters(&["groups"]).out.contains("PARKED"));
    assert!(stage.letters(&["list"]).out.contains("3*"));
    assert_eq!(count(&["--where", ".user.id >= 2"]), 3);
    assert_eq!(count(&["--from", "1h"]), 5);
    assert_eq!(count(&["--to", "1h"]), 0);
    assert_eq!(
        count(&["--from", "2026-01-01", "--to", "2999-01-01T00:00:00Z"]),
        5
    );

    let returned = stage.letters(&["return", "--all"]).out;
    assert!(
        returned.starts_with("4 letters returned\n1 letter parked"),
        "{returned}"
    );
    let returned = stage.letters(&["return", "--parked"]).out;
    assert_eq!(returned, "1 letter returned\n");
    stage.logstash.sink().wait_for(0..5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_returned_to_another_queue() {
    let (own, other) = (Logstash::start().await, Logstash::start().await);
    let more = format!(
        "[queues.other.output]\nprotocol = \"json_lines\"\nhosts = [\"{}\"]",
        other.address()
    );
    let setup = Setup::new(own.address(), &more);
    let gateway = start(&setup).await;
    let stage = Stage {
        logstash: own,
        setup,
        gateway,
    };
    let events: Vec<_> = (0..3).map(refused).collect();
    refuse(&stage.setup, &events).await;
    let returned = stage.letters(&["return", "--all", "--to-queue", "other"]);
    assert_eq!(returned.out, "3 letters returned to queue other\n");
    other.sink().wait_for(0..3).await;
    assert_eq!(stage.logstash.sink().distinct(), 0);
    let books = stage.books().await;
    assert_eq!(
        (&books["sent_elsewhere"], &books["unaccounted"]),
        (&json!(3), &json!(0))
    );
    let log = stage.setup.log();
    assert!(log.contains("dead letters were returned"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_argument_is_told_before_anything_happens() {
    let stage = Stage::with(0..2).await;
    for (args, said) in [
        (
            &["repair", ".user.id |=", "--yes", "--all"][..],
            "expected a term",
        ),
        (&["list", "--where", ".n +"], "expected a term"),
        (
            &["return", "--all", "--to-queue", "nowhere"],
            "there are: logstash",
        ),
        (&["list", "--reason", "maping_conflict"], "mapping_conflict"),
        (&["list", "--source", "kafka"], "logstash"),
        (&["list", "--from", "yesterday"], "2026-11-21"),
        (&["list", "--queue", "No Queue"], "not a queue name"),
        (&["import", "/nowhere/letters.ndjson"], "cannot read"),
    ] {
        let refused = stage.letters(args);
        assert_eq!(
            refused.code,
            Some(2),
            "{args:?}: {}{}",
            refused.out,
            refused.err
        );
        assert!(refused.err.contains(said), "no {said:?} in {}", refused.err);
    }
    let absent = stage.letters(&["show", "nobody"]);
    assert_eq!(absent.code, Some(1));
    assert!(
        absent.err.contains("no dead letter of this id"),
        "{}",
        absent.err
    );
    assert_eq!(held(&stage.setup), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_which_letters_it_fails_is_told_and_the_others_are_done() {
    let stage = Stage::with(0..3).await;
    let mut odd = refused(3);
    odd["user"] = json!("nobody");
    refuse(&stage.setup, &[odd]).await;
    let done = stage.letters(&["repair", TO_TEXT, "--yes", "--all"]);
    assert_eq!(done.code, Some(1));
    assert!(
        done.out
            .starts_with("3 letters repaired\n1 letter could not be repaired:\n  id-3  "),
        "{}",
        done.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_in_an_event_acts_on_the_terminal() {
    let stage = Stage::start().await;
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J<script>alert(1)</script>\u{202e}\u{9b}31m";
    let mut event = refused(1);
    event[evil] = json!(evil);
    event["_gateway_dlq"]["id"] = json!(evil);
    refuse(&stage.setup, &[event]).await;
    let broken = format!("{{\"a\": {evil}\n{}\n", "[".repeat(1 << 20));
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson",
        stage.setup.http
    );
    http::ask(stage.setup.http, &head, &broken);
    eventually("filed", || held(&stage.setup) == 3).await;
    let ids: Vec<_> = stage
        .json(&["list"])
        .iter()
        .map(|l| l["id"].as_str().expect("an id").to_owned())
        .collect();
    assert!(ids.contains(&evil.to_owned()), "{ids:?}");
    let mut told = Vec::new();
    for id in &ids {
        told.push(stage.letters(&["show", id]));
        told.push(stage.letters(&["repair", ".x = 1", "--id", id]));
        told.push(stage.letters(&["return", "--dry-run", "--id", id]));
    }
    for args in [
        &["list"][..],
        &["groups"],
        &["repair", "error(.)"],
        &["repair", "."],
        &["discard"],
    ] {
        told.push(stage.letters(args));
    }
    for ended in told {
        let text = ended.out + &ended.err;
        let raw = text
            .chars()
            .find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(
            raw,
            None,
            "{}",
            text.chars().take(2000).collect::<String>().escape_debug()
        );
    }
    // JSON keeps them, as data.
    assert!(
        stage
            .letters(&["show", evil, "--json"])
            .out
            .contains("\\u001b]0;owned")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_terminals_and_for_those_who_ask() {
    let stage = Stage::with(0..1).await;
    let url = format!("http://{}", stage.setup.admin);
    let coloured = |name: &str, value: &str| {
        let mut command = stashgate(&["dead-letters", "repair", TO_TEXT, "--url", &url]);
        run(command.env_remove("NO_COLOR").env(name, value))
            .out
            .contains("\u{1b}[32m")
    };
    assert!(coloured("CLICOLOR_FORCE", "1"));
    assert!(!coloured("CLICOLOR", "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_go_out_into_a_file_and_come_in_again_changed() {
    let stage = Stage::with(0..1_200).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let file = path("letters.ndjson");
    let written = stage.letters(&["export", &file]);
    assert_eq!(written.out, "1,200 letters written\n", "{}", written.err);
    let again = stage.letters(&["export", &file]);
    assert_eq!(again.code, Some(4));
    assert!(again.err.contains("there already"), "{}", again.err);
    let text = fs::read_to_string(&file).expect("read");
    assert_eq!(stage.letters(&["export", "-"]).out, text);

    let taken = stage.letters(&["export", &path("taken"), "--take", "--field", "user.id"]);
    assert!(
        taken.out.contains("1,200 letters taken out"),
        "{}",
        taken.out
    );
    assert_eq!(held(&stage.setup), 0);
    assert_eq!(fs::read_to_string(path("taken")).expect("read"), text);
    assert_eq!(
        fs::read_dir(folder.path()).expect("a folder").count(),
        2,
        "nothing else is left"
    );

    fs::write(&file, text.replace("\"id\":7}", "\"id\":\"seven\"}")).expect("written");
    assert_eq!(
        stage.letters(&["import", &file]).out,
        "1,200 letters imported\n"
    );
    let twice = stage.letters(&["import", &file]).out;
    assert_eq!(twice, "0 letters imported, 1,200 were there as they are\n");
    let shown = &stage.json(&["show", "id-7"])[0];
    assert_eq!(shown["event"]["user"]["id"], "seven");
    let bad = path("bad");
    fs::write(
        &bad,
        format!(
            "{}\n{{\"queue\":1}}\n",
            text.lines().next().expect("a line")
        ),
    )
    .expect("written");
    let refused = stage.letters(&["import", &bad]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("line 2"), "{}", refused.err);
    let books = stage.books().await;
    assert_eq!(books["unaccounted"], 0, "{books}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_no_json_is_repaired_by_hand() {
    let stage = Stage::start().await;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson",
        stage.setup.http
    );
    http::ask(stage.setup.http, &head, "{\"n\" 0}\n");
    eventually("filed", || held(&stage.setup) == 1).await;
    let refused = stage.letters(&["return", "--all"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.out.contains("repair it first"), "{}", refused.out);
    let line = stage.letters(&["export", "-"]).out;
    let better = line.replace(r#""event_text":"{\"n\" 0}""#, r#""event":{"n":0}"#);
    assert_ne!(better, line);
    let url = format!("http://{}", stage.setup.admin);
    let mut import = stashgate(&["dead-letters", "import", "-", "--url", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starts");
    import
        .stdin
        .take()
        .expect("a pipe")
        .write_all(better.as_bytes())
        .expect("written");
    assert!(import.wait().expect("ends").success());
    assert_eq!(
        stage.letters(&["return", "--all"]).out,
        "1 letter returned\n"
    );
    stage.logstash.sink().wait_for(0..1).await;
}

#[test]
fn the_help_teaches_by_examples() {
    let help = run(&mut stashgate(&["dead-letters", "--help"])).out;
    for command in [
        "groups", "list", "show", "repair", "return", "discard", "export", "import",
    ] {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "no {command} in {help}"
        );
        let own = run(&mut stashgate(&["dead-letters", command, "--help"])).out;
        // What else there is does not stand below the heading of the filter.
        let which = own
            .split_once("\nWhich letters")
            .map_or("", |(_, which)| which);
        assert!(
            !which.contains("--url <") && !which.contains("-y, --yes"),
            "{own}"
        );
        assert!(
            own.contains("Example") && own.contains(&format!("dead-letters {command}")),
            "{own}"
        );
    }
}
