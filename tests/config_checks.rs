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
fn the_lumberjack_receiver_needs_a_queue_that_exists_once_it_is_switched_on() {
    let queue = "receivers.lumberjack.queue=beats";
    assert_eq!(complaint(&[queue]), "");
    assert_refused(
        &[queue, "receivers.lumberjack.enabled=true"],
        "receivers.lumberjack.queue: there is no queue `beats`; name one of: logstash; or add [queues.beats]",
    );
    assert_refused(
        &[
            "receivers.lumberjack.enabled=true",
            "receivers.lumberjack.listen=127.0.0.1:7173",
        ],
        "127.0.0.1:7173 clashes with receivers.lumberjack.listen",
    );
}

#[test]
fn compression_is_auto_or_a_level_of_zlib() {
    let setting = |value: &str| format!("queues.logstash.output.compression={value}");
    for good in ["auto", "0", "9", "\"3\""] {
        assert_eq!(complaint(&[&setting(good)]), "", "{good}");
    }
    for bad in ["10", "-1", "fast", "true"] {
        assert_refused(&[&setting(bad)], "it is \"auto\" or a level from 0 to 9");
    }
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

/// What is said about `flags` with a spool in Redis.
fn assert_redis_refused(flags: &[&str], said: &str) {
    let flags = [&["spool.kind=redis"], flags].concat();
    assert_refused(&flags, said);
    assert_eq!(
        complaint(&flags[1..]),
        "",
        "nobody asks while Redis is not used"
    );
}

fn assert_redis_taken(flags: &[&str]) {
    assert_eq!(
        complaint(&[&["spool.kind=redis"], flags].concat()),
        "",
        "{flags:?}"
    );
}

#[test]
fn a_redis_url_that_is_none_is_refused_and_not_shown() {
    for url in [
        "localhost:6379",
        "http://u:s3cret@a",
        "redis://u:s3/cret@a",
        "rediss://u:s3cret@a#insecure",
        "redis+unix:///run/redis.sock?pass=s3cret",
        "",
    ] {
        let flags = [format!("spool.redis.url={url}")];
        assert_redis_refused(
            &[&flags[0]],
            "spool.redis.url: it is no URL of a Redis; write redis://HOST:PORT",
        );
        let said = complaint(&["spool.kind=redis", &flags[0]]);
        assert!(!said.contains("s3"), "{said}");
    }
    for url in ["redis://a", "rediss://u:p%40@a:1/2"] {
        assert_redis_taken(&[&format!("spool.redis.url={url}")]);
    }
}

#[test]
fn the_password_of_redis_is_given_once() {
    assert_redis_refused(
        &["spool.redis.url=redis://u:p@a", "spool.redis.password=p"],
        "give them in one place",
    );
    assert_redis_refused(&["spool.redis.user=u"], "a user needs a password");
    assert_redis_taken(&["spool.redis.user=u", "spool.redis.password=p"]);
}

#[test]
fn sentinel_and_cluster_do_not_mix_and_each_is_complete() {
    let (sentinels, cluster) = (
        "spool.redis.sentinels=a:1,b:2",
        "spool.redis.cluster_nodes=c:3",
    );
    let master = "spool.redis.sentinel_master=mymaster";
    assert_redis_refused(
        &[sentinels, master, cluster],
        "leave out sentinels or cluster_nodes",
    );
    assert_redis_refused(&[sentinels], "sentinels and sentinel_master go together");
    assert_redis_refused(&[master], "sentinels and sentinel_master go together");
    assert_redis_refused(&["spool.redis.cluster_nodes=c"], "\"c\" is not HOST:PORT");
    assert_redis_refused(
        &["spool.redis.url=redis://a/1", cluster],
        "has only database 0",
    );
    assert_redis_taken(&[sentinels, master]);
    assert_redis_taken(&[cluster, "spool.redis.shards=4"]);
}

#[test]
fn certificates_need_tls_and_a_key() {
    let tls = "spool.redis.url=rediss://a";
    assert_redis_refused(&["spool.redis.ca_file=ca.pem"], "write rediss:// there");
    let certificate = "spool.redis.cert_file=cert.pem";
    assert_redis_refused(&[tls, certificate], "cert_file and key_file go together");
    assert_redis_taken(&[tls, certificate, "spool.redis.key_file=key.pem"]);
}

#[test]
fn figures_for_redis_have_bounds_that_are_said() {
    assert_redis_refused(
        &["spool.redis.min_replicas=17"],
        "no more than the master has replicas",
    );
    assert_redis_refused(&["spool.redis.heartbeat=500ms"], "it is \"1s\" to \"1h\"");
    assert_redis_refused(&["spool.redis.pool_size=1"], "it is 2 to 1000");
    assert_redis_refused(&["spool.redis.pipeline_depth=0"], "it is 1 to 16");
    assert_redis_refused(&["spool.redis.pipeline_depth=17"], "it is 1 to 16");
    assert_redis_refused(&["spool.redis.shards=0"], "it is 1 to 64");
}

#[test]
fn there_is_no_order_across_shards() {
    let flags = [
        "spool.redis.shards=2",
        "queues.logstash.output.ordered=true",
    ];
    assert_redis_refused(
        &flags,
        "queues.logstash.output.ordered = true asks for it; set shards = 1",
    );
    assert_redis_taken(&flags[1..]);
}

#[test]
fn a_spool_in_the_journal_has_no_archive_in_redis() {
    assert_refused(
        &["archive.place=redis"],
        "archive.place: the batches wait in the journal",
    );
    assert_redis_taken(&["archive.place=off"]);
    assert_redis_taken(&["archive.place=journal"]);
    assert_eq!(complaint(&["archive.place=off"]), "");
}

#[test]
fn tls_needs_files_that_hold_what_they_should_and_a_confirmation_that_proves_something() {
    let on = "queues.logstash.output.tls.enabled=true";
    let written = "queues.logstash.output.confirm=written";
    let tls = |key: &str, value: &str| format!("queues.logstash.output.tls.{key}={value}");
    assert_refused(
        &[on, written, &tls("ca_file", "/not/there.pem")],
        "queues.logstash.output.tls.ca_file: cannot read /not/there.pem",
    );
    let ca = tls("ca_file", CA);
    assert_refused(
        &[on, written, &ca, &tls("cert_file", CA)],
        "name both, or none",
    );
    assert_refused(
        &[on, written, &ca, &tls("server_name", "a b")],
        "write a DNS name",
    );
    let hosts = "queues.logstash.output.hosts=a~b:5000";
    assert_refused(&[on, written, &ca, JSON_LINES, hosts], "tls.server_name");
    assert_refused(
        &[on, &ca],
        "queues.logstash.output.confirm: over TLS nobody has shown",
    );
    assert_eq!(complaint(&[on, written, &ca]), "");
}

const CA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/ca.pem");

#[test]
fn credentials_of_http_are_whole_and_fit_into_a_header() {
    let with = |settings: &[&str]| -> Vec<String> {
        let full = |s: &&str| format!("queues.logstash.output.http.{s}");
        settings.iter().map(full).collect()
    };
    let refused = |settings: &[&str], said: &str| {
        let flags = with(settings);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        assert_refused(&flags, said);
        let shown = complaint(&flags);
        assert!(!shown.contains("s3cret"), "{shown}");
    };
    refused(&["path=in"], "http.path: it begins with /");
    refused(&["path=/a b"], "http.path: it begins with /");
    refused(&["user=u"], "user and password belong together");
    refused(&["user=u:v", "password=s3cret"], "no colon");
    refused(
        &["token=s3cret\r\nX: y"],
        "http.token: it holds only printable",
    );
    refused(
        &["token=s3cret", "user=u", "password=s3cret"],
        "set a token, or user",
    );
    let good = with(&["path=/in?x=1", "user=u", "password=s3cret"]);
    assert_eq!(
        complaint(&good.iter().map(String::as_str).collect::<Vec<_>>()),
        ""
    );
}

#[test]
fn a_list_of_dead_letters_is_in_the_redis_of_the_spool_and_no_key_of_ours() {
    let list = |name: &str| format!("dead_letters.redis_list={name}");
    assert_redis_taken(&[&list("logstash-dead-letters")]);
    assert_refused(&[&list("dead")], "set spool.kind = \"redis\"");
    for ours in [
        "logstash",
        "logstash.3",
        "{logstash}:ledger",
        "{stashgate}:letters:events",
        "stashgate:queues",
    ] {
        let flags = ["spool.kind=redis", &list(ours)];
        assert_refused(&flags, "it is a key of the gateway's own");
    }
    assert_refused(&["spool.kind=redis", &list("")], "it is the name of a list");
}
