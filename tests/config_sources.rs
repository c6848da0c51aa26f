//! Where settings come from, and what is said about wrong ones.

use std::fs;

use stashgate::config::{Config, ConfigError, Sources};

fn load(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("stashgate.toml");
    fs::write(&path, file).expect("written");
    let own = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
    Config::load(&Sources {
        file: Some(path),
        environment: environment.iter().map(own).collect(),
        flags: flags.iter().map(|flag| flag.to_string()).collect(),
    })
}

/// What is said, without the folder of the file.
fn complaint(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> String {
    let error = load(file, environment, flags).expect_err("refused");
    let lines = error.0.iter().map(|problem| {
        let text = problem.to_string();
        match text.rfind("stashgate.toml") {
            Some(at) => text[at..].to_owned(),
            None => text,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn with_nothing_configured_the_defaults_hold() {
    let config = Config::load(&Sources::default()).expect("loads");
    assert_eq!(config.queues.len(), 1);
    assert_eq!(config.receivers.tcp["default"].listen.port(), 7173);
}

#[test]
fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    let file = "[limits]\nmax_batch_events = 1\nmax_connections = 1\nmax_event_bytes = 10";
    let environment = [
        ("STASHGATE__LIMITS__MAX_BATCH_EVENTS", "2"),
        ("STASHGATE__LIMITS__MAX_CONNECTIONS", "2"),
    ];
    let config = load(file, &environment, &["limits.max_connections=3"]).expect("loads");
    assert_eq!(config.limits.max_event_bytes.0, 10);
    assert_eq!(config.limits.max_batch_events, 2);
    assert_eq!(config.limits.max_connections, 3);
}

#[test]
fn the_environment_takes_lists_with_and_without_brackets_and_text_without_quotes() {
    for hosts in ["a:1, b:2", r#"["a:1", "b:2"]"#] {
        let environment = [
            ("STASHGATE__QUEUES__AUDIT__OUTPUT__HOSTS", hosts),
            ("STASHGATE__QUEUES__AUDIT__OUTPUT__PROTOCOL", "json_lines"),
            ("STASHGATE__RECEIVERS__TCP__APPS__QUEUE", "audit"),
            ("STASHGATE__ADMIN__TOKEN", "1234567890123456"),
            ("STASHGATE__SPOOL__MAX_BYTES", "1073741824"),
            (
                "STASHGATE_TOKEN",
                "belongs to the commands, not to the settings",
            ),
        ];
        let config = load("", &environment, &[]).expect("loads");
        let (name, queue) = config.queues.first_key_value().expect("one");
        assert_eq!((name.as_str(), config.queues.len()), ("audit", 1));
        assert_eq!(queue.output.hosts, ["a:1", "b:2"]);
        assert_eq!(
            config.receivers.tcp.len(),
            1,
            "a named listener replaces the default one"
        );
        assert_eq!(config.spool.max_bytes.0, 1 << 30);
    }
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_key() {
    assert_eq!(
        complaint(
            "data_dir = \"x\"\n\n[limits]\nmax_batch_event = 1\n",
            &[],
            &[]
        ),
        "stashgate.toml:4: there is no setting `limits.max_batch_event`; the nearest one is `limits.max_batch_events`"
    );
    assert_eq!(
        complaint("[reciever.grpc]\nlisten = \"127.0.0.1:1\"", &[], &[]),
        "stashgate.toml:1: there is no setting `reciever`; the nearest one is `receivers`"
    );
    assert_eq!(
        complaint(
            "",
            &[("STASHGATE__QUEUES__LOGSTASH__OUTPUT__HOST", "a:1")],
            &[]
        ),
        "environment variable STASHGATE__QUEUES__LOGSTASH__OUTPUT__HOST: there is no setting \
         `STASHGATE__QUEUES__LOGSTASH__OUTPUT__HOST`; the nearest one is `STASHGATE__QUEUES__LOGSTASH__OUTPUT__HOSTS`"
    );
    assert_eq!(
        complaint("", &[], &["spool.sync=os"]),
        "--set spool.sync: there is no setting `spool.sync`; the nearest one is `spool.journal.sync`"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_place_and_what_is_wanted() {
    let said = complaint("[limits]\nmax_batch_events = \"many\"", &[], &[]);
    assert!(
        said.starts_with("stashgate.toml:2: limits.max_batch_events: invalid type"),
        "{said}"
    );
    let said = complaint("[admin]\nlisten = \"localhost\"", &[], &[]);
    assert!(
        said.contains("write IP:PORT, such as \"127.0.0.1:7171\""),
        "{said}"
    );
    let said = complaint("[limits]\nmax_event_bytes = \"much\"", &[], &[]);
    assert!(said.contains("no size such as \"8MiB\""), "{said}");
    let said = complaint("[archive]\nretention = \"long\"", &[], &[]);
    assert!(said.contains("no duration such as \"7d\""), "{said}");
    let said = complaint("admin = 3", &[], &[]);
    assert!(
        said.starts_with("stashgate.toml:1: admin: invalid type"),
        "{said}"
    );
    let said = complaint("", &[("STASHGATE__LIMITS", "3")], &[]);
    assert!(said.contains("this is a section"), "{said}");
    let said = complaint("data_dir = 'x'\na = ", &[], &[]);
    assert!(
        said.starts_with("stashgate.toml:2: this is not valid TOML"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let sources = Sources {
        file: Some("/nonexistent/stashgate.toml".into()),
        ..Sources::default()
    };
    let said = Config::load(&sources).expect_err("refused").to_string();
    assert!(
        said.contains("cannot read /nonexistent/stashgate.toml"),
        "{said}"
    );
}

#[test]
fn a_secret_is_in_no_message_and_no_printed_setting() {
    let token = "correct-horse-battery-staple";
    let flag = format!("admin.token={token}");
    let config = load("", &[("STASHGATE__ADMIN__TOKEN", token)], &[&flag]).expect("loads");
    let printed = toml::to_string(&config).expect("printed") + &format!("{config:?}");
    assert!(printed.contains("(hidden)") && !printed.contains(token));
    for wrong in [
        format!("token = {token:?} x"),
        "token = 1234567890123456".into(),
    ] {
        let said = complaint(&format!("[admin]\n{wrong}"), &[], &[]);
        assert!(
            !said.contains(token) && !said.contains("1234567890"),
            "{said}"
        );
    }
    let wrong = format!("admin.tokn={token}");
    assert!(!complaint("", &[("STASHGATE__ADMIN__TOKN", token)], &[&wrong]).contains(token));
    let flag = format!("admin.token={}\u{e9}", token);
    assert!(!complaint("", &[], &[&flag]).contains(token));
}
