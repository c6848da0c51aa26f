//! Settings that do not fit together are refused, each with what to do.

use stashgate::config::{Config, Sources};

/// What is said about `flags`, on top of the defaults.
fn complaint(flags: &[&str]) -> String {
    let sources = Sources {
        flags: flags.iter().map(|flag| flag.to_string()).collect(),
        ..Sources::default()
    };
    match Config::load(&sources) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

fn assert_refused(flags: &[&str], said: &str) {
    let complaint = complaint(flags);
    assert!(complaint.contains(said), "{flags:?} gives: {complaint}");
}

const JSON_LINES: &str = "queues.logstash.output.protocol=json_lines";

#[test]
fn two_listeners_on_one_port_are_refused() {
    assert_refused(
        &["receivers.http.listen=0.0.0.0:7171"],
        "clashes with receivers.grpc.listen = \"127.0.0.1:7171\"; give one of them another port",
    );
    let switched_off = [
        "receivers.http.listen=127.0.0.1:7171",
        "receivers.grpc.enabled=false",
    ];
    assert_eq!(complaint(&switched_off), "");
    let any_port = [
        "receivers.http.listen=127.0.0.1:0",
        "receivers.grpc.listen=127.0.0.1:0",
    ];
    assert_eq!(complaint(&any_port), "");
}

#[test]
fn hosts_need_a_protocol_a_port_and_a_connection() {
    assert_refused(
        &["queues.logstash.output.hosts=a:1"],
        "queues.logstash.output.protocol: name what the hosts speak",
    );
    assert_refused(
        &["queues.logstash.output.hosts=", JSON_LINES],
        "name at least one Logstash",
    );
    assert_refused(
        &[
            "queues.logstash.output.hosts=logstash.example.com",
            JSON_LINES,
        ],
        "\"logstash.example.com\" is not HOST:PORT",
    );
    assert_refused(
        &["queues.logstash.output.connections=0"],
        "it is 1 to 256 for each address",
    );
    assert_eq!(
        complaint(&["queues.logstash.output.hosts=a:1,[::1]:2", JSON_LINES]),
        ""
    );
}

#[test]
fn an_origin_that_no_browser_sends_is_refused() {
    for origin in [
        "app.example.com",
        "https://b\u{fc}cher.example",
        "https://a b",
    ] {
        assert_refused(
            &[&format!("receivers.http.cors_origins={origin}")],
            "write \"https://app.example.com\" without a path, or \"*\"",
        );
    }
    let good = "receivers.http.cors_origins=https://a.example:8443,*";
    assert_eq!(complaint(&[good]), "");
}

#[test]
fn limits_that_contradict_each_other_are_refused() {
    assert_refused(
        &["limits.max_event_bytes=9MiB"],
        "limits.max_event_bytes: it is at least 1 and at most",
    );
    assert_refused(
        &["limits.max_event_bytes=0"],
        "limits.max_event_bytes: it is at least 1",
    );
    assert_refused(&["limits.max_batch_events=1048577"], "it is 1 to 1048576");
    assert_refused(&["limits.max_batch_events=0"], "it is 1 to 1048576");
    assert_refused(
        &["limits.max_batch_bytes=2GiB"],
        "limits.max_batch_bytes: it is at most 1024MiB",
    );
    assert_refused(
        &["limits.max_in_flight_bytes=1MiB"],
        "or the largest batch never gets room",
    );
    assert_refused(
        &["limits.max_connections=0"],
        "limits.max_connections: it is at least 1",
    );
    assert_refused(
        &["spool.max_bytes=1MiB"],
        "spool.max_bytes: it is at least limits.max_batch_bytes",
    );
    assert_refused(
        &["queues.logstash.max_bytes=1MiB"],
        "queues.logstash.max_bytes: it is at least",
    );
    assert_refused(
        &["spool.journal.segment_bytes=1MiB"],
        "spool.journal.segment_bytes: it is at least",
    );
}

#[test]
fn a_listener_needs_a_queue_that_exists() {
    assert_refused(
        &["queues.audit.max_bytes=1GiB"],
        "receivers.tcp.default.queue: there is no queue `logstash`; name one of: audit; or add [queues.logstash]",
    );
    let without = [
        "queues.audit.max_bytes=1GiB",
        "receivers.tcp.default.enabled=false",
    ];
    assert_eq!(complaint(&without), "");
}

#[test]
fn an_admin_address_off_loopback_needs_a_token_worth_the_name() {
    assert_refused(
        &["admin.listen=0.0.0.0:7170"],
        "admin.token: a token is needed",
    );
    assert_refused(
        &["admin.listen=0.0.0.0:7170", "admin.token=short"],
        "the token is shorter than 16 characters",
    );
    assert_refused(
        &["admin.token=with blanks in the middle"],
        "printable ASCII without blanks",
    );
    assert_eq!(
        complaint(&["admin.listen=0.0.0.0:7170", "admin.token=0123456789abcdef"]),
        ""
    );
}

#[test]
fn an_origin_is_a_scheme_and_a_host() {
    assert_refused(
        &["receivers.http.cors_origins=app.example.com"],
        "is no origin",
    );
    let good = ["receivers.http.cors_origins=https://app.example.com,http://localhost:3000"];
    assert_eq!(complaint(&good), "");
    assert_eq!(complaint(&["receivers.http.cors_origins=*"]), "");
}
