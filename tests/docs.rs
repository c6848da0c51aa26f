//! Every command in the README and the pages is run by a test, or stands here with the
//! reason why not. A new one that is neither makes a test fail.

#[path = "support/beats.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod beats;
#[path = "support/command.rs"]
mod command;
#[path = "support/elastic.rs"]
mod elastic;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;
#[path = "support/pages.rs"]
mod pages;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/recipe.rs"]
mod recipe;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use command::{run, stashgate};
use gateway::eventually;
use pages::{Typed, blocks, commands, pages, section};
use peer::{installs, limited, workshop};
use recipe::Site;
use stashgate::config::{Config, Sources};

/// Where commands are run by `section("PAGE", "HEADING")`.
const RUNNERS: [&str; 4] = [
    include_str!("docs.rs"),
    include_str!("docs_dead_letters.rs"),
    include_str!("docs_examples.rs"),
    include_str!("operations.rs"),
];

const GRPCURL: &str = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3";

/// What a command begins with, and why no test types it.
const NOT_RUN: [(&str, &str); 3] = [
    (
        "make ",
        "runs for minutes, or for ever; that there is such a target is tested here",
    ),
    (
        "cargo ",
        "builds or measures for minutes; that what it names is there is tested here",
    ),
    (
        "docker ",
        "there is no Docker engine where tests run; tests/docker_stack.rs and tests/peers_docker.rs try what can be tried without",
    ),
];

/// Blocks that are no commands and no settings, by how they begin.
const SHOWN: [&str; 12] = [
    // Tried by tests/redis_acl.rs.
    "ACL SETUSER",
    "services --- gRPC",
    "accepted = confirmed",
    "LETTERS  REASON",
    "logstash  0192f3c1a2b3c4d5",
    "let client",
    "handler = ",
    "const LogstashTransport",
    "<appender",
    "global(maxMessageSize",
    "client --1-->",
    "<data_dir>/journal/lock",
];

/// Fences of these languages are no commands: tests/logstash_samples.rs reads the filters.
const OTHER: [&str; 2] = ["jq", "logstash"];

/// Whether a block of Logstash's settings begins so: `input { …`.
fn is_logstashs(first: &str) -> bool {
    let plugin = first.split_once('{').map(|(plugin, _)| plugin.trim());
    plugin.is_some_and(|plugin| plugin.chars().all(|c| c.is_ascii_lowercase()))
}

fn is_exempt(command: &Typed) -> bool {
    NOT_RUN
        .iter()
        .any(|(begin, _)| command.text.starts_with(begin))
}

/// What is typed of a section.
fn typed(page: &str, heading: &str) -> Vec<Typed> {
    let mut commands = section(page, heading);
    commands.retain(|command| !is_exempt(command));
    commands
}

#[test]
fn every_command_of_the_pages_is_run_or_says_why_not() {
    let dense = |text: &str| text.split_whitespace().collect::<String>();
    let runners = RUNNERS.map(dense);
    let mut unknown = BTreeSet::new();
    for command in pages().iter().flat_map(|page| commands(page)) {
        let place = format!("\"{}\", \"{}\"", command.page, command.heading);
        let is_run = runners.iter().any(|source| source.contains(&dense(&place)));
        if !is_run && !is_exempt(&command) {
            unknown.insert((place, command.text));
        }
    }
    assert_eq!(unknown, BTreeSet::new(), "nothing runs these");
}

#[test]
fn no_exemption_is_left_that_no_page_needs() {
    let pages = pages();
    let typed: Vec<_> = pages.iter().flat_map(|page| commands(page)).collect();
    for (begin, _) in NOT_RUN {
        let is_needed = typed.iter().any(|command| command.text.starts_with(begin));
        assert!(is_needed, "{begin}");
    }
}

#[test]
fn every_other_block_is_settings_that_are_taken_or_is_only_shown() {
    for page in pages() {
        for block in blocks(&page).iter().filter(|block| !block.is_shell()) {
            let first = block.first();
            let is_other = OTHER.contains(&block.language.as_str());
            if is_other || is_logstashs(first) || SHOWN.iter().any(|begin| first.starts_with(begin))
            {
                continue;
            }
            let file = tempfile::NamedTempFile::new().expect("a file");
            fs::write(file.path(), block.lines.join("\n")).expect("written");
            let sources = Sources {
                file: Some(file.path().to_owned()),
                ..Sources::default()
            };
            let taken = Config::load(&sources);
            assert!(
                taken.is_ok(),
                "{page}: {first}: {}",
                taken.expect_err("seen")
            );
        }
    }
}

/// The benches, tests and profiles that a call of cargo names are there.
fn assert_has(manifest: &str, call: &str) {
    let words: Vec<_> = call.split_whitespace().collect();
    for pair in words.windows(2) {
        let is_there = match pair[0] {
            "--bench" => manifest.contains(&format!("name = \"{}\"", pair[1])),
            "--test" => fs::exists(format!("tests/{}.rs", pair[1])).expect("seen"),
            "--profile" if pair[1] == "dev" => true,
            "--profile" => manifest.contains(&format!("[profile.{}]", pair[1])),
            _ => true,
        };
        assert!(is_there, "{call}: {}", pair[1]);
    }
}

#[test]
fn what_the_pages_tell_to_make_can_be_made() {
    let makefile = include_str!("../Makefile");
    let manifest = include_str!("../Cargo.toml");
    for command in pages().iter().flat_map(|page| commands(page)) {
        let mut words = command.text.split_whitespace();
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("make"), Some(target), ..) => {
                assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
            }
            (Some("cargo"), ..) => assert_has(manifest, &command.text),
            _ => {}
        }
    }
}

#[test]
fn the_unit_for_systemd_is_one() {
    let unit = include_str!("../docs/examples/stashgate.service");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stashgate.service");
    let program = "/usr/local/bin/stashgate";
    assert!(unit.contains(&format!("ExecStart={program} run --config ")));
    let here = unit.replace(program, env!("CARGO_BIN_EXE_stashgate"));
    fs::write(&file, here).expect("written");
    let mut verify = std::process::Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&file);
    let Ok(said) = verify.output() else {
        eprintln!("skipped: there is no systemd-analyze here");
        return;
    };
    // Of other units on the machine it complains, too.
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(!said.contains("stashgate.service"), "{said}");
}

#[test]
fn every_subcommand_that_a_page_names_exists() {
    let help = run(&mut stashgate(&["--help"])).out;
    let mut named = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for after in text.split("`stashgate ").skip(1) {
            let word = after
                .split(|c: char| !c.is_ascii_lowercase() && c != '-')
                .next();
            let word = word.unwrap_or_default();
            assert!(help.contains(&format!("\n  {word} ")), "{page}: {word}");
            named += 1;
        }
    }
    assert!(named > 10, "the pages name {named}");
}

/// What a link to a heading is called: as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_heading_that_a_link_names_exists() {
    let mut named = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let folder = Path::new(&page).parent().expect("a folder");
        let links = text.split("](").skip(1).filter_map(|l| l.split(')').next());
        let links = links.filter(|link| !link.contains("://"));
        for (file, heading) in links.filter_map(|link| link.split_once('#')) {
            let there = match file {
                "" => text.clone(),
                file => fs::read_to_string(folder.join(file)).expect("a page"),
            };
            let mut headings = there.lines().filter(|line| line.starts_with('#'));
            let is_there = headings.any(|line| anchor(line) == heading);
            assert!(is_there, "{page}: {file}#{heading}");
            named += 1;
        }
    }
    assert!(named > 10, "the pages name {named}");
}

#[test]
fn every_test_that_a_page_names_exists() {
    let mut named = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for after in text.split("`tests/").skip(1) {
            let name = after.split('`').next().unwrap_or_default();
            assert!(
                fs::exists(format!("tests/{name}")).expect("seen"),
                "{page}: {name}"
            );
            named += 1;
        }
    }
    assert!(named > 10, "the pages name {named}");
}

/// Waits until so many events are confirmed.
async fn confirmed(site: &Site, events: u64) {
    confirmed_in(site, "logstash", events).await;
}

async fn confirmed_in(site: &Site, queue: &str, events: u64) {
    let confirmed = || {
        let status = http::get(site.setup.admin, "/api/v1/status").body;
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        let queues = status["queues"].as_array().expect("queues");
        let mut named = queues.iter().filter(|its| its["queue"] == queue);
        named.any(|its| its["ledger"]["confirmed"] == events)
    };
    eventually("all is confirmed", confirmed).await;
}

/// grpcurl, after installing it if need be. `None`, with a message: it cannot be had here.
fn grpcurl() -> Option<PathBuf> {
    let folder = workshop("grpcurl");
    let program = folder.join("grpcurl");
    let mut go = limited("go");
    go.args(["install", GRPCURL]);
    go.env("GOTOOLCHAIN", "local").env("GOBIN", folder);
    (program.exists() || installs("grpcurl", &mut go)).then_some(program)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quick_start_works_as_written() {
    let mut site = Site::start("").await;
    fs::write(site.path("events.ndjson"), "{\"n\":1}\n{\"n\":2}\n").expect("written");
    let mut commands = typed("README.md", "Quick start");
    // Two and one by HTTP, one by TCP, one by gRPC, and two from the file.
    let mut events = 7;
    match grpcurl() {
        Some(program) => site.finds("grpcurl", &program.display().to_string()),
        None => {
            commands.retain(|command| !command.text.starts_with("grpcurl"));
            events -= 1;
        }
    }
    let said = site.type_all(&commands).await;
    assert!(said[0].contains("\"accepted\":2"), "{said:?}");
    assert_eq!(said[1], "{\"result\":\"ok\"}");
    confirmed(&site, events).await;
    let held = said.iter().position(|said| said.starts_with("held: "));
    assert_eq!(held, Some(said.len() - 2), "{said:?}");
    assert_eq!(said[said.len() - 1], "nothing is held\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_for_clients_works_as_written() {
    let mut site = Site::new("").await;
    site.add_queue("web");
    site.start_gateway().await;
    let lines = "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n";
    fs::write(site.path("events.ndjson"), lines).expect("written");
    let gzip = Typed {
        text: "gzip events.ndjson".to_owned(),
        ..section("docs/clients.md", "curl")[0].clone()
    };
    site.types(&gzip).await;
    site.type_all(&typed("docs/clients.md", "curl")).await;
    let [file, pipe] = &typed("docs/clients.md", "A file or a pipe")[..] else {
        panic!("a file and a pipe");
    };
    site.types(file).await;
    confirmed(&site, 5).await;
    fs::write(site.path("app.log"), "{\"n\":4}\n{\"n\":5}\n").expect("written");
    let _follows = site.begins(pipe);
    site.logstash.sink().wait_for(4..6).await;
    let log = fs::OpenOptions::new()
        .append(true)
        .open(site.path("app.log"));
    writeln!(log.expect("there"), "{{\"n\":6}}").expect("written");
    site.logstash.sink().wait_for(4..7).await;
    confirmed_in(&site, "web", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_stack_makes_secrets_that_nobody_else_reads() {
    let mut site = Site::start("").await;
    fs::create_dir(site.path("docker")).expect("made");
    let commands = typed("docker/README.md", "The whole stack");
    site.type_all(&commands).await;
    confirmed(&site, 1).await;
    let secrets = fs::read_to_string(site.path("docker/.env")).expect("written");
    let example = include_str!("../docker/.env.example");
    for name in example.lines().filter(|line| line.ends_with('=')) {
        let value = secrets.lines().find_map(|line| line.strip_prefix(name));
        assert!(value.is_some_and(|value| value.len() == 48), "{name}");
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(site.path("docker/.env"))
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_replays_works_as_written() {
    let mut site = Site::start("").await;
    for n in 0..8 {
        http::post(site.setup.http, &http::events(n..n + 1));
    }
    confirmed(&site, 8).await;
    let said = site.type_all(&typed("docs/replay.md", "A day")).await;
    assert!(said[0].contains("8 events in 8 batches"), "{said:?}");
    assert!(
        said[2].contains("8 events are in queue logstash"),
        "{said:?}"
    );
    confirmed(&site, 8 * 3).await;
    let said = site
        .type_all(&typed("docs/replay.md", "While it runs"))
        .await;
    assert!(said[0].contains("picked by the expression: 7"), "{said:?}");
    assert!(said[1].contains("replay 3 of logstash"), "{said:?}");
    let said = site.type_all(&typed("docs/replay.md", "Over HTTP")).await;
    let states = ["waiting", "paused", "paused", "cancelled"];
    for (said, state) in said.iter().zip(states) {
        assert!(said.contains(&format!("\"state\":\"{state}\"")), "{said}");
    }
    assert_eq!(said.len(), states.len());
}
