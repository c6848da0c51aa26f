//! `stashgate dead-letters` when something is not as it should be: a gateway that dies
//! or is not there, a token that is wrong, an expression without end.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
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

use command::{run, stashgate};
use desk::{Stage, letters_of, start};
use gateway::Setup;
use letters::held;
use logstash::Logstash;

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_without_end_is_ended_and_changes_nothing() {
    let stage = Stage::with(0..20).await;
    for endless in ["def f: f; f", "[range(1e18)]", "last(repeat(1))"] {
        let ended = stage.letters(&["repair", endless, "--yes", "--all"]);
        assert_eq!(ended.code, Some(2), "{endless}: {}{}", ended.out, ended.err);
        assert!(
            ended.err.contains("leave these events out"),
            "{}",
            ended.err
        );
    }
    assert_eq!(stage.json(&["list", "--where", ".user.id == 3"]).len(), 1);
    let revisions = stage.json(&["list"]).into_iter();
    assert!(revisions.into_iter().all(|letter| letter["revision"] == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_waits_for_a_gateway_that_was_killed_and_goes_on() {
    let stage = Stage::with(0..6_000).await;
    let url = format!("http://{}", stage.setup.admin);
    let command = stashgate(&["dead-letters", "return", "--all", "--json", "--url", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let books = async || stage.books().await["returned"].as_u64();
    while books().await == Some(0) {}
    stage.gateway.kill();
    let _gateway = start(&stage.setup).await;
    let ended = tokio::task::spawn_blocking(move || command.wait_with_output()).await;
    let ended = ended.expect("waited").expect("ended");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("trying again"), "it was half-way: {said}");
    let sum: serde_json::Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    let told = ["done", "unanswered"].map(|name| sum[name].as_u64().expect("a number"));
    // The call that was in hand may be done, and has no answer.
    assert!((told[0]..=told[0] + told[1]).contains(&6_000), "{sum}");
    stage.logstash.sink().wait_for(0..6_000).await;
    assert_eq!((stage.logstash.sink().faults(), held(&stage.setup)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_in_the_first_call_is_waited_for() {
    let stage = Stage::with(0..10).await;
    assert_eq!(stage.gateway.terminate().await, Some(0));
    let dying = TcpListener::bind(stage.setup.admin).expect("the address is free");
    let url = format!("http://{}", stage.setup.admin);
    // With a time, the letters are not counted before: the first call is the return.
    let command = stashgate(&[
        "dead-letters",
        "return",
        "--from",
        "2020-01-01",
        "--url",
        &url,
    ])
    .stdout(Stdio::piped())
    .stderr(Stdio::piped())
    .spawn()
    .expect("starts");
    let (mut taken, _) = dying.accept().expect("the command calls");
    taken.read_exact(&mut [0; 4]).expect("the head of the call");
    drop((taken, dying));
    let _gateway = start(&stage.setup).await;
    let ended = tokio::task::spawn_blocking(move || command.wait_with_output()).await;
    let ended = ended.expect("waited").expect("ended");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("trying again"), "{said}");
    stage.logstash.sink().wait_for(0..10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_that_was_broken_off_with_its_gateway_is_run_again() {
    let stage = Stage::with(0..6_000).await;
    let url = format!("http://{}", stage.setup.admin);
    let mut command = stashgate(&["dead-letters", "return", "--all", "--url", &url])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    while stage.books().await["returned"] == 0 {}
    stage.gateway.kill();
    command.kill().expect("it runs");
    command.wait().expect("it ends");
    let _gateway = start(&stage.setup).await;
    let left = held(&stage.setup);
    assert!(left > 0 && left < 6_000, "it was half-way: {left}");
    let again = letters_of(&stage.setup, &["return", "--all"]);
    assert_eq!(again.code, Some(0), "{}", again.err);
    stage.logstash.sink().wait_for(0..6_000).await;
    assert_eq!((stage.logstash.sink().faults(), held(&stage.setup)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_answered_or_brings_no_token_gets_a_code_of_its_own() {
    let nobody = run(&mut stashgate(&[
        "dead-letters",
        "groups",
        "--url",
        "http://127.0.0.1:1",
    ]));
    assert_eq!(nobody.code, Some(5));
    assert!(nobody.err.contains("Connection refused"), "{}", nobody.err);
    let logstash = Logstash::start().await;
    let setup = Setup::new(logstash.address(), "");
    let config = fs::read_to_string(setup.config_file()).expect("settings");
    let config = config.replace("[admin]\n", "[admin]\ntoken = \"correct-horse-battery\"\n");
    fs::write(setup.config_file(), config).expect("written");
    let _gateway = start(&setup).await;
    for token in [&[][..], &["--token", "wrong-horse-battery-1"]] {
        let refused = letters_of(&setup, &[&["return", "--all"], token].concat());
        assert_eq!(refused.code, Some(5));
        assert!(refused.err.contains("--token"), "{}", refused.err);
    }
    let right = letters_of(&setup, &["groups", "--token", "correct-horse-battery"]);
    assert_eq!(right.out, "there are no dead letters\n");
}
